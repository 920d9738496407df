"""An open device file of a machine in this process: a `MappableFile` that blocks."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Self, TypeVar, final

from memhub.arguments import take_seconds, take_text
from memhub.core.caches.requests import Fence, FlushLines
from memhub.core.deciding.explain_many import ExplainMany
from memhub.core.deciding.kernel_requests import CallKernel
from memhub.core.memory.physical import NeedsDevice
from memhub.core.requests import (
    AwaitFree,
    ClaimRange,
    Explain,
    GetRanges,
    Pread,
    Pwrite,
    Read,
    RefuseIoctl,
    ReleaseRange,
    RenewClaim,
    Seek,
    SetRange,
    Write,
)
from memhub.engine.pending import Pending
from memhub.errors import NotSupported
from memhub.faces.choice import face_of
from memhub.faces.freebsd import EVERY_SLOT, IoctlReply, remove_request, update_request
from memhub.faults.hub_rules import Delayed
from memhub.handles.late_requests import move_bytes
from memhub.service import wire
from memhub.service.mapped import MappedMemory
from memhub.service.server.mapping import map_memory
from memhub.service.server.rights import Peer
from memhub.service.spans import find_pieces, map_pieces

if TYPE_CHECKING:
    import mmap

    import numpy as np
    import numpy.typing as npt

    from memhub.abi import Buffer, RangeDesc
    from memhub.core.claims import Claim
    from memhub.core.replies import Explanation, SetOutcome
    from memhub.core.requests import Request, WaitingRequest
    from memhub.engine.engine import Engine
    from memhub.handles.handle import Handle
    from memhub.service.local.passing_time import PassingTime

R = TypeVar("R")


@final
class LocalHandle:
    """An open `/dev/mem` or `/dev/kmem`; made by `LocalClient.open`.

    Arguments, replies and errors of its methods are those of `AsyncDeviceFile`; each blocks
    until it is done.
    """

    def __init__(
        self,
        engine: Engine,
        handle: Handle,
        lock: threading.RLock,
        time: PassingTime,
    ) -> None:
        self._engine = engine
        self._handle = handle
        self._number = handle.number
        self._lock = lock
        self._time = time
        self._maps: dict[int, MappedMemory] = {}
        self._ask_ioctl, self._encode = face_of(handle.file.caller.device)

    def __repr__(self) -> str:
        return f"<Local{repr(self._handle)[1:]}"

    @property
    def path(self) -> str:
        """The name of the machine and of its device, as `NAME:/dev/mem`."""
        return self._handle.path

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._handle.closed

    def close(self) -> None:
        """Close; what another thread waits for in it ends with EBADF. Twice is once."""
        with self._lock:
            while self._maps:
                self._maps.popitem()[1].close()

            self._handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Memory

    def read(self, length: int) -> bytes:
        """Read at the handle's offset, and move it on."""
        return self._move_bytes(Read(self._number, length))

    def pread(self, length: int, offset: int) -> bytes:
        """Read at `offset`, an unsigned 64-bit number; the handle's own does not move."""
        return self._move_bytes(Pread(self._number, length, offset))

    def write(self, data: Buffer) -> int:
        """Write at the handle's offset, and move it on; bytes written."""
        return self._move_bytes(Write(self._number, data))

    def pwrite(self, data: Buffer, offset: int) -> int:
        """Write at `offset`, an unsigned 64-bit number; the handle's own does not move."""
        return self._move_bytes(Pwrite(self._number, data, offset))

    def _move_bytes(self, request: Request[R]) -> R:
        try:
            return self._submit(request)
        except NeedsDevice as error:
            if error.window.placed is None:
                raise NotSupported(f"a device model cannot be awaited here: {error}") from error

            return self._await_device(request, error)

    def _await_device(self, request: Request[R], late: NeedsDevice) -> R:
        """Answer a transfer that reaches a declared device; others wait meanwhile."""
        from anyio.from_thread import start_blocking_portal  # here, since few need it

        with self._lock, start_blocking_portal() as portal:
            answer: R = portal.call(move_bytes, self._engine, request, late)

        return answer

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the handle's offset; the new one."""
        return self._submit(Seek(self._number, offset, whence))

    def map(self, *, write: bool = False) -> MappedMemory:
        """The machine's RAM, mapped; it is closed with the handle."""
        return self._map_file(wire.MAP_READ | (wire.MAP_WRITE if write else 0))

    def map_rom(self) -> MappedMemory:
        """What is not RAM; it is closed with the handle."""
        return self._map_file(wire.MAP_ROM)

    def map_span(self, base: int, length: int, *, write: bool = False) -> mmap.mmap:
        """A stretch of addresses, whatever lies there; the caller closes it."""
        return map_pieces(find_pieces(self, base, length, write=write), length, writable=write)

    def _map_file(self, rights: int) -> MappedMemory:
        with self._lock:
            found = self._maps.get(rights)
            if found is None:
                self._engine.files.machine_of(self._number)  # raises if the handle is closed
                peer = Peer(pid=os.getpid(), uid=os.getuid())
                it = wire.Map(0, self._number, rights)
                mapped, fd = map_memory(self._engine, self._handle, peer, it)
                writable = bool(rights & wire.MAP_WRITE)
                found = MappedMemory(fd, tuple(mapped.rows), writable=writable)
                self._maps[rights] = found

            return found

    # Ranges

    def ioctl(
        self,
        request: int,
        op: Buffer,
        descs: Buffer | None = None,
        *,
        wait: float | None = None,
        fence: int | None = None,
    ) -> IoctlReply:
        """Make an ioctl in the device's own binary layout."""
        model = self._handle.file.model
        asked = self._ask_ioctl(model, self._number, request, op, descs, wait, fence)
        if isinstance(asked, SetRange):
            self._answer_request(asked)
            return IoctlReply(bytes(op), b"")

        return self._encode(model, op, self._submit(asked))  # type: ignore[no-any-return]

    def ranges(self) -> tuple[RangeDesc, ...]:
        """The whole table as this process sees it; others' slots show MDF_BUSY."""
        return self._handle.file.model.unpack_table(self._read_image())

    def range_array(self) -> npt.NDArray[np.void]:
        """The whole table as a structured array; see `DataModel.dtype`."""
        return self._handle.file.model.array(self._read_image())

    def _read_image(self) -> bytes:
        return self._submit(GetRanges(self._number, EVERY_SLOT))[1]

    def set_range(
        self,
        base: int,
        length: int,
        attribute: int | str,
        *,
        owner: str | bytes = "user",
        force: bool = False,
        wait: float | None = None,
        fence: int | None = None,
        lease: float | None = None,
    ) -> SetOutcome:
        """MEMRANGE_SET with MEMRANGE_SET_UPDATE."""
        request = update_request(
            self._handle.file.model,
            self._number,
            base,
            length,
            attribute,
            owner,
            force=force,
            wait=wait,
            fence=fence,
            lease=lease,
        )

        return self._set_request(request)

    def remove_range(
        self, base: int, length: int, *, wait: float | None = None, fence: int | None = None
    ) -> SetOutcome:
        """MEMRANGE_SET with MEMRANGE_SET_REMOVE."""
        model = self._handle.file.model

        return self._set_request(
            remove_request(model, self._number, base, length, wait=wait, fence=fence)
        )

    def _set_request(self, request: SetRange | RefuseIoctl) -> SetOutcome:
        if isinstance(request, RefuseIoctl):
            return self._submit(request)

        return self._answer_request(request)

    def explain(self, address: int) -> Explanation:
        """Which memory type an address has, and why."""
        return self._submit(Explain(self._number, address))

    def explain_array(self, addresses: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Which memory types many addresses have, in one look-up."""
        return self._submit(ExplainMany(self._number, addresses))

    # Claims

    def claim(
        self, base: int, length: int, *, lease: float | None = None, wait: float | None = None
    ) -> Claim:
        """Claim a stretch of addresses for this process."""
        return self._answer_request(ClaimRange(self._number, base, length, lease, wait))

    def release(self, base: int, length: int, *, fence: int | None = None) -> None:
        """Give back this process's claims inside a range."""
        self._submit(ReleaseRange(self._number, base, length, fence))

    def renew(self, fence: int, lease: float | None) -> Claim:
        """Let a claim run for `lease` more seconds from now; None lets it last."""
        return self._submit(RenewClaim(self._number, fence, lease))

    def wait_free(self, base: int, length: int, wait: float) -> None:
        """Wait until nobody else holds a byte of a range, and claim nothing."""
        self._answer_request(AwaitFree(self._number, base, length, take_seconds("wait", wait)))

    # Caches

    def flush(self, base: int, length: int) -> None:
        """Let the bus see the lines of a span, and keep none of them (clflush)."""
        self._submit(FlushLines(self._number, base, length))

    def writeback(self, base: int, length: int) -> None:
        """Let the bus see the lines of a span, and keep them (clwb)."""
        self._submit(FlushLines(self._number, base, length, keep=True))

    def fence(self) -> None:
        """Let the bus see the combining buffers of this process (sfence)."""
        self._submit(Fence(self._number))

    def call_kernel(self, op: str, /, **args: Any) -> Any:  # noqa: ANN401 - as it answers
        """Make a system call of the machine's kernel that needs no file, as NetBSD's `set`."""
        return self._submit(CallKernel(self._number, take_text("op", op), args, system=True))

    # Waiting

    def _submit(self, request: Request[R]) -> R:
        try:
            with self._lock:
                return self._engine.submit(request)
        except Delayed as late:
            self._time.sleep_for(late)
            with self._lock, late.passing():
                return self._engine.submit(request)

    def _answer_request(self, request: WaitingRequest[R]) -> R:
        answer: R | Pending[R] = self._submit(request)

        return self._wait_pending(answer) if isinstance(answer, Pending) else answer

    def _wait_pending(self, pending: Pending[R]) -> R:
        """Wait for what another thread, or the clock, makes of a request."""
        woken = threading.Event()
        with self._lock:
            pending.wake = woken.set

        try:
            while not self._wait_once(pending, woken):
                pass
        except BaseException:
            with self._lock:
                self._engine.abandon(pending)

            raise

        return pending.result()

    def _wait_once(self, pending: Pending[R], woken: threading.Event) -> bool:
        """Wait once; whether the answer is there."""
        self._time.wait_for(pending, woken)
        with self._lock:
            self._engine.tick()
            return pending.done
