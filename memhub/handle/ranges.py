"""Range ioctls, binary and in Python's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
from anyio.lowlevel import checkpoint

from memhub.abi import (
    MDF_FORCE,
    MEMRANGE_SET_REMOVE,
    MEMRANGE_SET_UPDATE,
    RangeDesc,
    owner_bytes,
)
from memhub.core.claims.waiting import Ticket
from memhub.core.ranges.commits import Commit, SetRequest
from memhub.dispatch.files import check
from memhub.dispatch.ranges import IoctlReply
from memhub.errors import InvalidArgument
from memhub.handle.base import BaseHandle

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from memhub.abi import Buffer
    from memhub.core.requests import Outcome

#: More slots than any machine has: INT_MAX in `mo_arg[0]`.
_EVERY: Final = 0x7FFFFFFF


class RangeFace(BaseHandle):
    """The memory range attributes behind a device file."""

    async def ioctl(
        self,
        request: int,
        op: Buffer,
        descs: Buffer | None = None,
        *,
        wait: float | None = None,
    ) -> IoctlReply:
        """Make an ioctl in the device's own binary layout.

        Args:
            request: MEMRANGE_GET or MEMRANGE_SET, as FreeBSD or Linux encodes it.
            op: `struct mem_range_op`; what is in `mo_desc` is not looked at.
            descs: what `mo_desc` points to: the descriptor of a SET; for a GET the room there
                is, or None for as much as it takes.
            wait: for a SET, seconds to wait while it is BUSY; None answers EBUSY at once.

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
        ranges = self._dispatch.ranges
        if not ranges.is_set(self._file, request):
            room = None if descs is None else len(descs)

            return ranges.ioctl_get(self._file, request, op, room)

        asked = ranges.decode_set(self._file, request, op, descs or b"")
        if wait is None and self._file.machine.commit_latency <= 0:
            ranges.set(asked)
        else:
            await self._set(asked, wait)

        return IoctlReply(bytes(op), b"")

    def ioctl_nowait(self, request: int, op: Buffer, descs: Buffer | None = None) -> IoctlReply:
        """`ioctl` without a checkpoint and without a wait.

        Raises:
            anyio.WouldBlock: a SET on a machine whose commits take time.
        """
        ranges = self._dispatch.ranges
        if not ranges.is_set(self._file, request):
            room = None if descs is None else len(descs)

            return ranges.ioctl_get(self._file, request, op, room)

        if self._file.machine.commit_latency > 0:
            raise anyio.WouldBlock

        ranges.set(ranges.decode_set(self._file, request, op, descs or b""))

        return IoctlReply(bytes(op), b"")

    async def ranges(self) -> tuple[RangeDesc, ...]:
        """The whole table as this process sees it; others' slots show MDF_BUSY.

        Raises:
            NotSupported: EOPNOTSUPP.
            NoRanges: ENXIO.
        """
        await checkpoint()
        _, image = self._dispatch.ranges.get(self._file, _EVERY)

        return self._file.model.unpack_table(image)

    async def range_array(self) -> npt.NDArray[np.void]:
        """The whole table as a structured array of shape `(slots,)`; see `DataModel.dtype`."""
        await checkpoint()
        _, image = self._dispatch.ranges.get(self._file, _EVERY)

        return self._file.model.array(image)

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
    ) -> Outcome:
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
        flags = attribute | (MDF_FORCE if force else 0)
        await checkpoint()
        desc = self._desc(base, length, flags, owner)
        request = SetRequest(self._file, MEMRANGE_SET_UPDATE, desc, fence, lease)

        return await self._set(request, wait)

    async def remove_range(
        self, base: int, length: int, *, wait: float | None = None, fence: int | None = None
    ) -> Outcome:
        """MEMRANGE_SET with MEMRANGE_SET_REMOVE; arguments are those of `set_range`.

        Raises:
            NoSuchRange: ENOENT; no slot holds just this range.
            NotPermitted: EPERM; a fixed slot.
            RangeBusy: EBUSY; the obstacles say whose it is.
        """
        await checkpoint()
        desc = self._desc(base, length, 0, "")
        request = SetRequest(self._file, MEMRANGE_SET_REMOVE, desc, fence)

        return await self._set(request, wait)

    async def _set(self, request: SetRequest, wait: float | None) -> Outcome:
        machine, ranges = request.file.machine, self._dispatch.ranges
        if wait is None and machine.commit_latency <= 0:
            return ranges.set(request)

        step = ranges.begin(request, wait)
        if isinstance(step, Ticket):
            outcome = await self._wait(step)
            if not isinstance(outcome.reply, Commit):
                return outcome

            step = outcome.reply

        if isinstance(step, Commit):
            return await self._finish(step, machine.commit_latency)

        return step

    async def _finish(self, commit: Commit, latency: float) -> Outcome:
        due = commit.began + round(latency * 1e9)
        try:
            await self._dispatch.context.clock.sleep_until(due)
        except BaseException:
            self._dispatch.ranges.abort(commit)
            raise

        return self._dispatch.ranges.finish(commit)

    def _desc(self, base: int, length: int, flags: int, owner: str) -> RangeDesc:
        """The descriptor; what does not fit one is refused, and recorded, like a bad buffer."""
        try:
            return RangeDesc(base, length, flags, owner_bytes(owner))
        except ValueError as error:
            file, ranges = self._file, self._dispatch.ranges
            check(file)
            began = self._dispatch.context.clock.now().mono_ns
            refusal = InvalidArgument(str(error))
            raise ranges.refuse(file, file.model.set[0], began, refusal) from error
