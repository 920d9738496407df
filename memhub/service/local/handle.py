"""An open device file of a machine in this process, with the blocking client's methods."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final, NamedTuple, Self, cast, final

from memhub.abi import (
    MDF_FORCE,
    MEMRANGE_SET_REMOVE,
    MEMRANGE_SET_UPDATE,
    RangeDesc,
    owner_bytes,
)
from memhub.core.claims.waiting import Ticket
from memhub.core.ranges.commits import Commit, SetRequest
from memhub.dispatch.ranges import IoctlReply
from memhub.errors import InvalidArgument
from memhub.service.server.mapping import check_map, open_memory, table
from memhub.service.wire.requests import MAP_READ, MAP_WRITE

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.abi import Buffer
    from memhub.core.claims.claim import Claim
    from memhub.core.requests import Outcome
    from memhub.dispatch import Dispatcher
    from memhub.handle import Handle

#: More slots than any machine has: INT_MAX in `mo_arg[0]`.
_EVERY: Final = 0x7FFFFFFF


class SharedMemory(NamedTuple):
    """A machine's memory as a file.

    Attributes:
        fd: the file; read-only unless it was asked for to be written.
        rows: what lies in it: physical base, length, offset in the file, kind.
    """

    fd: int
    rows: tuple[tuple[int, int, int, str], ...]


@final
class LocalHandle:
    """An open `/dev/mem` or `/dev/kmem`; made by `LocalClient.open`.

    Each method does what that of `Handle` with its name does, and blocks until it is done.
    """

    def __init__(
        self,
        dispatch: Dispatcher,
        handle: Handle,
        lock: threading.RLock,
        sleep: Callable[[float], None],
    ) -> None:
        self._dispatch = dispatch
        self._handle = handle
        self._file = handle.file
        self._lock = lock
        self._sleep = sleep
        self._files: dict[bool, int] = {}

    def __repr__(self) -> str:
        return f"<Local{repr(self._handle)[1:]}"

    @property
    def path(self) -> str:
        """`NAME:/dev/mem`."""
        return self._handle.path

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._handle.closed

    def close(self) -> None:
        """Close; what another thread waits for in it ends with EBADF. Twice is once."""
        with self._lock:
            while self._files:
                os.close(self._files.popitem()[1])

            self._handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Memory

    def read(self, length: int) -> bytes:
        """Read at the handle's offset, and move it on."""
        with self._lock:
            return self._handle.read_nowait(length)

    def pread(self, length: int, offset: int) -> bytes:
        """Read at `offset`, an unsigned 64-bit number; the handle's own does not move."""
        with self._lock:
            return self._handle.pread_nowait(length, offset)

    def write(self, data: Buffer) -> int:
        """Write at the handle's offset, and move it on; bytes written."""
        with self._lock:
            return self._handle.write_nowait(data)

    def pwrite(self, data: Buffer, offset: int) -> int:
        """Write at `offset`, an unsigned 64-bit number; the handle's own does not move."""
        with self._lock:
            return self._handle.pwrite_nowait(data, offset)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the handle's offset; the new one."""
        with self._lock:
            return self._handle.seek_nowait(offset, whence)

    def map(self, *, write: bool = False) -> SharedMemory:
        """The machine's memory as a file to mmap; it is closed with the handle.

        Args:
            write: for writing too.

        Raises:
            NotSupported: EOPNOTSUPP; `/dev/kmem`, or a machine without memory.
            NotPermitted: EPERM; the handle or the machine does not allow it.
        """
        machine = self._file.machine
        with self._lock:
            check_map(self._file, MAP_READ | (MAP_WRITE if write else 0), local=True)
            fd = self._files.get(write)
            if fd is None:
                fd = self._files[write] = open_memory(machine, writable=write)

            return SharedMemory(fd, tuple(table(machine)))

    # Ranges

    def ioctl(
        self,
        request: int,
        op: Buffer,
        descs: Buffer | None = None,
        *,
        wait: float | None = None,
    ) -> IoctlReply:
        """Make an ioctl in the device's own binary layout; see `Handle.ioctl`."""
        ranges = self._dispatch.ranges
        with self._lock:
            if not ranges.is_set(self._file, request):
                room = None if descs is None else len(descs)
                return ranges.ioctl_get(self._file, request, op, room)

            wanted = ranges.decode_set(self._file, request, op, descs or b"")

        self._set(wanted, wait)

        return IoctlReply(bytes(op), b"")

    def ranges(self) -> tuple[RangeDesc, ...]:
        """The whole table as this process sees it; others' slots show MDF_BUSY."""
        with self._lock:
            _, image = self._dispatch.ranges.get(self._file, _EVERY)

        return self._file.model.unpack_table(image)

    def set_range(
        self,
        base: int,
        length: int,
        attribute: int,
        *,
        owner: str = "user",
        force: bool = False,
        wait: float | None = None,
        fence: int | None = None,
        lease: float | None = None,
    ) -> Outcome:
        """MEMRANGE_SET with MEMRANGE_SET_UPDATE; see `Handle.set_range`."""
        desc = _desc(base, length, attribute | (MDF_FORCE if force else 0), owner)

        return self._set(SetRequest(self._file, MEMRANGE_SET_UPDATE, desc, fence, lease), wait)

    def remove_range(
        self, base: int, length: int, *, wait: float | None = None, fence: int | None = None
    ) -> Outcome:
        """MEMRANGE_SET with MEMRANGE_SET_REMOVE; see `Handle.remove_range`."""
        desc = _desc(base, length, 0, "")

        return self._set(SetRequest(self._file, MEMRANGE_SET_REMOVE, desc, fence), wait)

    def _set(self, request: SetRequest, wait: float | None) -> Outcome:
        ranges, latency = self._dispatch.ranges, self._file.machine.commit_latency
        with self._lock:
            if wait is None and latency <= 0:
                return ranges.set(request)

            step = ranges.begin(request, wait)

        if isinstance(step, Ticket):
            outcome = self._wait(step)
            if not isinstance(outcome.reply, Commit):
                return outcome

            step = outcome.reply

        return self._finish(step, latency) if isinstance(step, Commit) else step

    def _finish(self, commit: Commit, latency: float) -> Outcome:
        clock = self._dispatch.context.clock
        left = commit.began + round(latency * 1e9) - clock.now().mono_ns
        try:
            self._sleep(max(0, left) / 1e9)
        except BaseException:
            with self._lock:
                self._dispatch.ranges.abort(commit)

            raise

        with self._lock:
            return self._dispatch.ranges.finish(commit)

    # Claims

    def claim(
        self, base: int, length: int, *, lease: float | None = None, wait: float | None = None
    ) -> Claim:
        """Claim a stretch of addresses for this process; see `Handle.claim`."""
        done = self._locked(self._dispatch.claims.claim, base, length, lease, wait)

        return cast("Claim", done.reply)

    def release(self, base: int, length: int) -> None:
        """Give back this process's claims inside a range; see `Handle.release`."""
        self._locked(self._dispatch.claims.release, base, length)

    def renew(self, fence: int, lease: float | None) -> Claim:
        """Let a claim run for `lease` more seconds from now; None lets it last."""
        return cast("Claim", self._locked(self._dispatch.claims.renew, fence, lease).reply)

    def wait_free(self, base: int, length: int, wait: float) -> None:
        """Wait until nobody else holds a byte of a range, and claim nothing."""
        self._locked(self._dispatch.claims.wait_free, base, length, wait)

    def _locked(self, ask: Callable[..., Outcome | Ticket], *arguments: float | None) -> Outcome:
        with self._lock:
            done = ask(self._file, *arguments)

        return self._wait(done) if isinstance(done, Ticket) else done

    # Waiting

    def _wait(self, ticket: Ticket) -> Outcome:
        """Wait for what another thread, or the clock, makes of a ticket."""
        context, woken = self._dispatch.context, threading.Event()
        with self._lock:
            ticket.wake = woken.set
            if ticket.outcome is not None:
                woken.set()

        try:
            while not woken.wait(self._until_due()):
                with self._lock:
                    context.tick()

        except BaseException:
            self._give_up(ticket)
            raise

        outcome = cast("Outcome", ticket.outcome)
        if outcome.error is not None:
            raise outcome.error

        return outcome

    def _until_due(self) -> float | None:
        context = self._dispatch.context
        with self._lock:
            due = context.next_deadline
            return None if due is None else max(0, due - context.clock.now().mono_ns) / 1e9

    def _give_up(self, ticket: Ticket) -> None:
        with self._lock:
            if ticket.outcome is None:
                self._dispatch.context.forsake(self._file.machine, ticket)
            elif isinstance(ticket.outcome.reply, Commit):
                self._dispatch.ranges.abort(ticket.outcome.reply)


def _desc(base: int, length: int, flags: int, owner: str) -> RangeDesc:
    try:
        return RangeDesc(base, length, flags, owner_bytes(owner))
    except ValueError as error:
        raise InvalidArgument(str(error)) from error
