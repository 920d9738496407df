"""The asynchronous face of an open device file.

Each method awaits a checkpoint first and then does its work in one go (`Engine.submit`), so that
a cancelled caller has either changed nothing or changed it whole, with its record. The
`*_nowait` methods are the same without the checkpoint.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Self, TypeVar, final

import anyio
from anyio.lowlevel import checkpoint

from memhub.core.memory.physical import NeedsDevice
from memhub.core.requests import (
    AwaitFree,
    ClaimRange,
    Explain,
    GetRanges,
    Read,
    RefuseIoctl,
    ReleaseRange,
    RenewClaim,
    Seek,
    SetRange,
    Write,
)
from memhub.devices import read_devices, write_devices
from memhub.escape import escape_controls
from memhub.faces.freebsd import (
    EVERY_SLOT,
    IoctlReply,
    decode_ioctl,
    encode_get,
    remove_request,
    update_request,
)
from memhub.pending import Pending

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    import numpy as np
    import numpy.typing as npt

    from memhub.abi import Buffer, RangeDesc
    from memhub.core.claims import Claim
    from memhub.core.files import OpenFile, Principal
    from memhub.core.machine import Machine
    from memhub.core.replies import Explanation, SetOutcome
    from memhub.core.requests import Request, WaitingRequest
    from memhub.engine import Engine

R = TypeVar("R")


@final
class Handle:
    """An open `/dev/mem` or `/dev/kmem`; made by `Hub.open` and `Process.open`.

    Close it, or use it in `async with` or `with`. A handle that is dropped unclosed is closed
    when it is collected, with a ResourceWarning.

    Attributes:
        number: the hub's number for it.
        file: what the hub knows of this open.
        machine: the machine.
    """

    def __init__(self, engine: Engine, number: int, on_close: Callable[[int], None]) -> None:
        self._engine = engine
        self._on_close = on_close
        self.number = number
        self.file: OpenFile = engine.file(number)
        self.machine: Machine = engine.machine_of(number)

    def __repr__(self) -> str:
        state = " closed" if self.closed else ""

        return escape_controls(
            f"<Handle {self.number} on {self.path} of {self.process.name}{state}>"
        )

    @property
    def path(self) -> str:
        """`NAME:/dev/mem`."""
        return self.file.caller.path

    @property
    def process(self) -> Principal:
        """Who opened it."""
        return self.file.caller.process

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return not self._engine.is_open(self.number)

    # Closing

    def close(self, cause: str = "close") -> None:
        """Close at once; nothing in it waits. Closing twice does nothing.

        Args:
            cause: for the log.

        Raises:
            LogFailed: EIO; it is closed, but what it held ends only when the log works again.
        """
        if not self.closed:
            try:
                self._engine.close(self.number, cause)
            finally:
                self._on_close(self.number)

    async def aclose(self) -> None:
        """Close; done before the first await, so that no cancellation can prevent it."""
        self.close()
        await checkpoint()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(close_cause(kind))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close(close_cause(kind))

    def __del__(self) -> None:
        number = getattr(self, "number", None)
        if number is not None and self._engine.is_open(number):
            try:
                text = f"{self!r} was never closed"
                warnings.warn(text, ResourceWarning, source=self, stacklevel=2)
            finally:
                self._engine.abandon_file(number)
                self._on_close(number)

    # Memory

    async def read(self, length: int) -> bytes:
        """Read at the handle's offset, and move it on.

        Args:
            length: bytes.

        Returns:
            the bytes; fewer where the architecture answers a short count.

        Raises:
            BadHandle: EBADF; closed, or not opened for reading.
            BadAddress: EFAULT; by the architecture's transfer rules (`memrw`); `moved` says how
                far it came.
        """
        await checkpoint()
        try:
            return self._engine.submit(Read(self.number, length))
        except NeedsDevice:
            return await read_devices(self._engine, self.number, length, None)

    async def pread(self, length: int, offset: int) -> bytes:
        """Read at `offset`, an unsigned 64-bit number; the handle's own does not move."""
        await checkpoint()
        try:
            return self._engine.submit(Read(self.number, length, offset))
        except NeedsDevice:
            return await read_devices(self._engine, self.number, length, offset)

    async def write(self, data: Buffer) -> int:
        """Write at the handle's offset, and move it on.

        Args:
            data: the bytes.

        Returns:
            bytes written; fewer where the architecture answers a short count.

        Raises:
            BadHandle: EBADF; closed, or not opened for writing.
            BadAddress: EFAULT; unreachable, or write-protected where the machine faults.
        """
        await checkpoint()
        try:
            return self._engine.submit(Write(self.number, data))
        except NeedsDevice:
            return await write_devices(self._engine, self.number, data, None)

    async def pwrite(self, data: Buffer, offset: int) -> int:
        """Write at `offset`, an unsigned 64-bit number; the handle's own does not move."""
        await checkpoint()
        try:
            return self._engine.submit(Write(self.number, data, offset))
        except NeedsDevice:
            return await write_devices(self._engine, self.number, data, offset)

    def read_nowait(self, length: int) -> bytes:
        """`read` without a checkpoint.

        Raises:
            anyio.WouldBlock: a device model answers part of it.
        """
        return self._move_nowait(Read(self.number, length))

    def pread_nowait(self, length: int, offset: int) -> bytes:
        """`pread` without a checkpoint.

        Raises:
            anyio.WouldBlock: a device model answers part of it.
        """
        return self._move_nowait(Read(self.number, length, offset))

    def write_nowait(self, data: Buffer) -> int:
        """`write` without a checkpoint.

        Raises:
            anyio.WouldBlock: a device model takes part of it.
        """
        return self._move_nowait(Write(self.number, data))

    def pwrite_nowait(self, data: Buffer, offset: int) -> int:
        """`pwrite` without a checkpoint.

        Raises:
            anyio.WouldBlock: a device model takes part of it.
        """
        return self._move_nowait(Write(self.number, data, offset))

    def _move_nowait(self, request: Request[R]) -> R:
        try:
            return self._engine.submit(request)
        except NeedsDevice as error:
            raise anyio.WouldBlock from error

    async def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the handle's offset.

        Args:
            offset: how far; sums are taken modulo 2**64, as FreeBSD takes them.
            whence: `os.SEEK_SET`, `os.SEEK_CUR`, or `os.SEEK_END`, which counts from 0: the size
                of a device is 0.

        Returns:
            the new offset.

        Raises:
            BadHandle: EBADF; closed.
            NotSupported: ENOTTY; `os.SEEK_DATA` or `os.SEEK_HOLE`.
            InvalidArgument: EINVAL; another `whence`.
        """
        await checkpoint()

        return self._engine.submit(Seek(self.number, offset, whence))

    def seek_nowait(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """`seek` without a checkpoint."""
        return self._engine.submit(Seek(self.number, offset, whence))

    # Ranges

    async def ioctl(
        self,
        request: int,
        op: Buffer,
        descs: Buffer | None = None,
        *,
        wait: float | None = None,
        fence: int | None = None,
    ) -> IoctlReply:
        """Make an ioctl in the device's own binary layout.

        Args:
            request: MEMRANGE_GET or MEMRANGE_SET, as FreeBSD or Linux encodes it.
            op: `struct mem_range_op`; what is in `mo_desc` is not looked at.
            descs: what `mo_desc` points to: the descriptor of a SET; for a GET the room there
                is, or None for as much as it takes.
            wait: for a SET, seconds to wait while it is BUSY; None answers EBUSY at once.
            fence: for a SET, the fencing number that this process believes to hold.

        Returns:
            both buffers as the ioctl leaves them.

        Raises:
            BadHandle: EBADF; closed.
            UnknownIoctl: ENOTTY; not one of mem(4)'s.
            BadAddress: EFAULT; a buffer has the wrong size.
            NotSupported: EOPNOTSUPP; no range operations, or `mo_arg[0]` is no such.
            NoRanges: ENXIO; no descriptors.
            DeviceError: what the architecture or an owner says; nothing has changed.
        """
        await checkpoint()
        asked = decode_ioctl(
            self.file.model,
            self.number,
            request,
            op,
            descs or b"",
            None if descs is None else len(descs),
            wait=wait,
            fence=fence,
        )
        if isinstance(asked, SetRange):
            await self._answer(asked)
            return IoctlReply(bytes(op), b"")

        return encode_get(self.file.model, op, self._engine.submit(asked))

    def ioctl_nowait(
        self, request: int, op: Buffer, descs: Buffer | None = None, *, fence: int | None = None
    ) -> IoctlReply:
        """`ioctl` without a checkpoint and without a wait.

        Raises:
            anyio.WouldBlock: a SET on a machine whose commits take time.
        """
        room = None if descs is None else len(descs)
        asked = decode_ioctl(
            self.file.model, self.number, request, op, descs or b"", room, fence=fence
        )
        if isinstance(asked, SetRange):
            if self.machine.commit_latency > 0:
                raise anyio.WouldBlock

            self._engine.submit(asked)
            return IoctlReply(bytes(op), b"")

        return encode_get(self.file.model, op, self._engine.submit(asked))

    async def ranges(self) -> tuple[RangeDesc, ...]:
        """The whole table as this process sees it; others' slots show MDF_BUSY.

        Raises:
            NotSupported: EOPNOTSUPP.
            NoRanges: ENXIO.
        """
        await checkpoint()
        _, image = self._engine.submit(GetRanges(self.number, EVERY_SLOT))

        return self.file.model.unpack_table(image)

    async def range_array(self) -> npt.NDArray[np.void]:
        """The whole table as a structured array of shape `(slots,)`; see `DataModel.dtype`."""
        await checkpoint()
        _, image = self._engine.submit(GetRanges(self.number, EVERY_SLOT))

        return self.file.model.array(image)

    async def set_range(
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
    ) -> SetOutcome:
        """MEMRANGE_SET with MEMRANGE_SET_UPDATE.

        Args:
            base: first byte.
            length: bytes.
            attribute: one `MDF_*` attribute.
            owner: the label, at most seven bytes of Latin-1.
            force: also over a slot of unknown type (MDF_FORCE).
            wait: seconds to wait while it is BUSY; None answers EBUSY at once.
            fence: the fencing number that this process believes to hold.
            lease: seconds after which the claim it takes ends unless renewed.

        Returns:
            what it changed: slots, descriptors before and after, the claim's fencing number.

        Raises:
            InvalidRange: EINVAL; by the architecture's rules.
            RangeBusy: EBUSY; the obstacles say whose it is.
            NoSpace: ENOSPC; the obstacles list the slots.
            AccessDenied: EACCES; a slot of unknown type, without `force`.
            TimedOut: ETIMEDOUT; still BUSY after `wait` seconds.
            WouldDeadlock: EDEADLK; the wait would close a circle.
        """
        await checkpoint()
        request = update_request(
            self.file.model,
            self.number,
            base,
            length,
            attribute,
            owner,
            force=force,
            wait=wait,
            fence=fence,
            lease=lease,
        )

        return await self._set(request)

    async def remove_range(
        self, base: int, length: int, *, wait: float | None = None, fence: int | None = None
    ) -> SetOutcome:
        """MEMRANGE_SET with MEMRANGE_SET_REMOVE; arguments are those of `set_range`.

        Raises:
            NoSuchRange: ENOENT; no slot holds just this range.
            NotPermitted: EPERM; a fixed slot.
            RangeBusy: EBUSY; the obstacles say whose it is.
        """
        await checkpoint()
        request = remove_request(self.file.model, self.number, base, length, wait=wait, fence=fence)

        return await self._set(request)

    async def _set(self, request: SetRange | RefuseIoctl) -> SetOutcome:
        if isinstance(request, RefuseIoctl):
            return self._engine.submit(request)

        return await self._answer(request)

    async def explain(self, address: int) -> Explanation:
        """Which memory type an address has, and why.

        Args:
            address: physical on `/dev/mem`, kernel virtual on `/dev/kmem`.

        Raises:
            NotSupported: EOPNOTSUPP; the machine has no range operations.
            BadAddress: EFAULT; the kernel maps nothing there.
            InvalidArgument: EINVAL; past the last physical address.
        """
        await checkpoint()

        return self._engine.submit(Explain(self.number, address))

    # Claims

    async def claim(
        self,
        base: int,
        length: int,
        *,
        lease: float | None = None,
        wait: float | None = None,
    ) -> Claim:
        """Claim a stretch of addresses for this process, without changing an attribute.

        Args:
            base: first byte.
            length: bytes.
            lease: seconds after which it ends unless renewed; None lets it last.
            wait: seconds to wait for it; None answers EBUSY at once.

        Returns:
            the claim; its `fence` is the fencing number.

        Raises:
            RangeBusy: EBUSY; a byte of it is somebody else's.
            TimedOut: ETIMEDOUT; still BUSY after `wait` seconds.
            WouldDeadlock: EDEADLK; the wait would close a circle.
            InvalidArgument: EINVAL; no such range, or no such lease.
        """
        await checkpoint()

        return await self._answer(ClaimRange(self.number, base, length, lease, wait))

    async def release(self, base: int, length: int, *, fence: int | None = None) -> None:
        """Give back this process's claims inside a range; the ranges stay programmed.

        Args:
            base: first byte.
            length: bytes.
            fence: the fencing number that this process believes to hold.

        Raises:
            NoSuchRange: ENOENT; it holds none there.
            StaleClaim: EBUSY; `fence` is not one that it holds.
        """
        await checkpoint()
        self._engine.submit(ReleaseRange(self.number, base, length, fence))

    async def renew(self, fence: int, lease: float | None) -> Claim:
        """Let a claim run for `lease` more seconds from now; None lets it last.

        Raises:
            StaleClaim: EBUSY; the claim is lost; the reason says when and why.
        """
        await checkpoint()

        return self._engine.submit(RenewClaim(self.number, fence, lease))

    async def wait_free(self, base: int, length: int, wait: float) -> None:
        """Wait until nobody else holds a byte of a range, and claim nothing.

        Raises:
            TimedOut: ETIMEDOUT; not within `wait` seconds.
            WouldDeadlock: EDEADLK; the wait would close a circle.
        """
        await checkpoint()
        await self._answer(AwaitFree(self.number, base, length, wait))

    async def _answer(self, request: WaitingRequest[R]) -> R:
        answer = self._engine.submit(request)
        if isinstance(answer, Pending):
            return await await_answer(self._engine, answer)

        return answer


async def await_answer(engine: Engine, pending: Pending[R]) -> R:
    """Wait for an answer that is still to come; a caller that is cancelled gives it up.

    Raises:
        DeviceError: the request was refused.
    """
    try:
        while not pending.done:
            if pending.due_ns is None:
                event = anyio.Event()
                pending.wake = event.set
                await event.wait()
            else:
                await engine.clock.sleep_until(engine.due_of(pending))
                engine.tick()
    except BaseException:
        engine.abandon(pending)
        raise

    return pending.result()


def close_cause(kind: type[BaseException] | None) -> str:
    """What the log says of a close that an exception, or none, brought about."""
    if kind is None:
        return "close"

    return "cancelled" if not issubclass(kind, Exception) else "error"
