"""What an open `/dev/mem` or `/dev/kmem` can do, wherever its machine runs.

`AsyncDeviceFile` states it, and its docstrings hold for every face; `DeviceFile` in
`blocking_device_file` is the same for callers that block. The faces are `memhub.Handle`, the
handles of the service's two clients, and `LocalHandle`. A face translates calls to requests and
answers back, and decides nothing.

What has the wrong type is a TypeError that names the argument, its value and the type. An integer
is whatever has `__index__` (True is 1), bytes are any buffer, seconds are any number. A wait of
4294967.295 seconds (49 days) or more has no limit, and no lease is longer.

Over a service every method can also raise ConnectionError: the service is gone.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol, Self

from memhub.handles.device_caches import AsyncCacheFile
from memhub.handles.device_kernel import AsyncKernelFile

if TYPE_CHECKING:
    import mmap

    import numpy as np
    import numpy.typing as npt

    from memhub.abi import Buffer, IoctlReply, RangeDesc
    from memhub.core.replies import ClaimReply, Explanation, SetOutcome, SharedMemory


class AsyncDeviceFile(AsyncCacheFile, AsyncKernelFile, Protocol):
    """An open device file; every method but `close` raises BadHandle (EBADF) once it is closed."""

    @property
    def path(self) -> str:
        """The name of the machine and of its device, as `NAME:/dev/mem`."""

    @property
    def closed(self) -> bool:
        """Whether it is closed."""

    # Closing

    def close(self) -> None:
        """Close without waiting, not even for a service's answer. Twice does nothing.

        Raises:
            LogFailed: EIO; it is closed, but what it held ends only when the log works again.
        """

    async def aclose(self) -> None:
        """Close, and return when it is done; cancellation cannot prevent it."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None: ...

    # Memory

    async def read(self, length: int) -> bytes:
        """Read at the file's offset, and move it on.

        Args:
            length: bytes.

        Returns:
            the bytes; fewer where the architecture answers a short count.

        Raises:
            BadHandle: EBADF; not opened for reading.
            BadAddress: EFAULT; by the architecture's transfer rules (`memrw`); `moved` says how
                far it came.
            InvalidArgument: EINVAL; a length below 0 or above 2^31-1, or an offset that is not
                an unsigned 64-bit number.
        """

    async def pread(self, length: int, offset: int) -> bytes:
        """Read at an offset, and leave the file's own alone; else as `read`.

        Args:
            length: bytes.
            offset: first byte, an unsigned 64-bit number.
        """

    async def write(self, data: Buffer) -> int:
        """Write at the file's offset, and move it on.

        Args:
            data: the bytes.

        Returns:
            bytes written; fewer where the architecture answers a short count.

        Raises:
            BadHandle: EBADF; not opened for writing.
            BadAddress: EFAULT; unreachable, or write-protected where the machine faults.
        """

    async def pwrite(self, data: Buffer, offset: int) -> int:
        """Write at an offset, and leave the file's own alone; else as `write`.

        Args:
            data: the bytes.
            offset: first byte, an unsigned 64-bit number.
        """

    async def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the file's offset.

        Args:
            offset: how far, a signed or unsigned 64-bit number; sums are taken modulo 2^64, as
                FreeBSD takes them.
            whence: `os.SEEK_SET`, `os.SEEK_CUR`, or `os.SEEK_END`, which counts from 0, since
                the size of a device is 0.

        Returns:
            the new offset.

        Raises:
            NotSupported: ENOTTY; `os.SEEK_DATA` or `os.SEEK_HOLE`.
            InvalidArgument: EINVAL; another `whence`, or an offset that does not fit 64 bits.
        """

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
            descs: what `mo_desc` points to: a SET's descriptor; a GET's room, or None for enough.
            wait: for a SET, seconds to wait while it is BUSY; None answers EBUSY at once.
            fence: for a SET, the fencing number that this process believes to hold.

        Returns:
            both buffers as the ioctl leaves them.

        Raises:
            UnknownIoctl: ENOTTY; not one of mem(4)'s.
            BadAddress: EFAULT; a buffer has the wrong size.
            NotSupported: EOPNOTSUPP; there are no range operations, or `mo_arg[0]` names none.
            NoRanges: ENXIO; no descriptors.
            DeviceError: what the architecture or an owner says; nothing has changed.
        """

    async def ranges(self) -> tuple[RangeDesc, ...]:
        """The whole table as this process sees it; others' slots show MDF_BUSY.

        Raises:
            NotSupported: EOPNOTSUPP; there are no range operations.
            NoRanges: ENXIO; no descriptors.
        """

    async def range_array(self) -> npt.NDArray[np.void]:
        """The table of `ranges` as a structured array of shape `(slots,)`: `DataModel.dtype`."""

    async def set_range(
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
    ) -> SetOutcome | None:
        """MEMRANGE_SET with MEMRANGE_SET_UPDATE.

        Args:
            base: first byte.
            length: bytes.
            attribute: one `MDF_*` attribute, or memcontrol(8)'s word for it: `write-combine`.
            owner: the label, at most seven characters of Latin-1; bytes are cut at seven.
            force: also over a slot of unknown type (MDF_FORCE).
            wait: seconds to wait while it is BUSY; None answers EBUSY at once.
            fence: the fencing number that this process believes to hold.
            lease: seconds after which the claim it takes ends unless renewed.

        Returns:
            what it changed: slots, descriptors before and after, the claim's fencing number.
            None over a service of an earlier version, and of more than a frame holds.

        Raises:
            InvalidRange: EINVAL; by the architecture's rules.
            InvalidArgument: EINVAL; what does not fit a descriptor, a wait or a lease.
            RangeBusy: EBUSY; the obstacles say whose it is.
            StaleClaim: EBUSY; `fence` is not one that this process holds.
            NoSpace: ENOSPC; the obstacles list the slots.
            AccessDenied: EACCES; a slot of unknown type, without `force`.
            TimedOut: ETIMEDOUT; still BUSY after `wait` seconds.
            WouldDeadlock: EDEADLK; the wait would close a circle.
            NotSupported: EOPNOTSUPP; no range operations; or a `lease` over a service of an
                earlier version: claim the range with a lease first.
        """

    async def remove_range(
        self, base: int, length: int, *, wait: float | None = None, fence: int | None = None
    ) -> SetOutcome | None:
        """MEMRANGE_SET with MEMRANGE_SET_REMOVE; arguments and reply are those of `set_range`.

        Raises:
            NoSuchRange: ENOENT; no slot holds exactly this range.
            NotPermitted: EPERM; a fixed slot.
            RangeBusy: EBUSY; the obstacles say whose it is.
        """

    async def explain(self, address: int) -> Explanation:
        """Which memory type an address has, and why.

        Args:
            address: physical on `/dev/mem`, kernel virtual on `/dev/kmem`.

        Raises:
            NotSupported: EOPNOTSUPP; the machine has no range operations.
            BadAddress: EFAULT; the kernel maps nothing there.
            InvalidArgument: EINVAL; past the last physical address.
        """

    async def explain_array(self, addresses: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Which memory types many addresses have.

        In this process it is one look-up for all of them. A service is asked once for each
        different address.

        Args:
            addresses: integers of any shape, each as `explain` takes it.

        Returns:
            codes, indexes into `memhub.core.effective.typemap.TYPE_OF_CODE`, of that shape.

        Raises:
            InvalidArgument: EINVAL; they are not unsigned 64-bit integers.
            DeviceError: what `explain` answers for the first address that it refuses.
        """

    # Claims

    async def claim(
        self, base: int, length: int, *, lease: float | None = None, wait: float | None = None
    ) -> ClaimReply:
        """Claim a stretch of addresses for this process, without changing an attribute.

        Args:
            base: first byte.
            length: bytes.
            lease: seconds after which it ends unless renewed; None lets it last.
            wait: seconds to wait for it; None answers EBUSY at once.

        Returns:
            the claim; its `fence` is the fencing number.

        Raises:
            RangeBusy: EBUSY; a byte of it is held by another process.
            TimedOut: ETIMEDOUT; still BUSY after `wait` seconds.
            WouldDeadlock: EDEADLK; the wait would close a circle.
            InvalidArgument: EINVAL; the range, the lease or the wait is malformed.
        """

    async def release(self, base: int, length: int, *, fence: int | None = None) -> None:
        """Give back this process's claims inside a range; the ranges stay programmed.

        Args:
            base: first byte.
            length: bytes.
            fence: gives back only the claim with this fencing number.

        Raises:
            NoSuchRange: ENOENT; it holds none there, or not all of that claim is there.
            StaleClaim: EBUSY; `fence` is not one that it holds.
        """

    async def renew(self, fence: int, lease: float | None) -> ClaimReply:
        """Let a claim run for `lease` more seconds from now; None lets it last.

        Raises:
            StaleClaim: EBUSY; the claim is lost; the reason says when and why.
        """

    async def wait_free(self, base: int, length: int, wait: float) -> None:
        """Wait until no other process holds a byte of a range, and claim nothing.

        Args:
            base: first byte.
            length: bytes.
            wait: seconds, or `math.inf`.

        Raises:
            TimedOut: ETIMEDOUT; not within `wait` seconds.
            WouldDeadlock: EDEADLK; the wait would close a circle.
        """


class AsyncMappableFile(AsyncDeviceFile, Protocol):
    """An open device file of a service, whose memory this process can map."""

    async def map(self, *, write: bool = False) -> SharedMemory:
        """The machine's RAM, mapped into this process.

        Accesses are neither checked nor logged; that it was granted is.

        Args:
            write: for writing too.

        Returns:
            the mapping. An asynchronous caller closes it; a blocking handle has one for each
            value of `write`, and closes it with itself.

        Raises:
            NotSupported: EOPNOTSUPP; `/dev/kmem`, a machine without RAM, or over TCP.
            NotPermitted: EPERM; the handle or the machine does not allow it.
        """

    async def map_rom(self) -> SharedMemory:
        """What is not RAM, otherwise as `map`: ROM in a file, and where else there is nothing.

        The file begins with 2^20 bytes 0xff, for open bus.
        """

    async def map_span(self, base: int, length: int, *, write: bool = False) -> mmap.mmap:
        """A stretch of physical addresses as one mapping, whatever lies there.

        RAM is the machine's own. ROM and what has nothing behind it (0xff) are the caller's own
        copy, so that what is written there reaches nobody else. Otherwise as `map`.

        Args:
            base: first byte, at the start of a page.
            length: bytes.
            write: for writing too.

        Returns:
            the mapping, which the caller closes.

        Raises:
            InvalidArgument: EINVAL; it is empty, does not begin at a page, or ends past the
                physical address width.
            DeviceError: ENODEV; a device model answers there. ENOMEM; too many pieces.
        """
