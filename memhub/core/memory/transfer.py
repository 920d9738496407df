"""`read` and `write` of `/dev/mem` and `/dev/kmem`: what moves, in which order, and how it ends.

A transfer is translated into pieces, each a stretch of physical memory or of the caller's own
u-area, and the pieces move one after the other. Where the next byte cannot move, the
architecture's rules decide between a short count and an error.

`read` and `write` are the whole story when no device is involved. A span that reaches a device
window raises NeedsDevice before anything moves, and the caller takes the same transfer in
steps::

    steps = transfer.reading("mem", offset, length)
    try:
        step = next(steps)
        while True:
            step = steps.send(await step.device.read(step.offset, step.size))
    except StopIteration as end:
        data = end.value

An error of the device is thrown into the generator, which ends the transfer by the same rules.

Offsets are unsigned 64-bit numbers and never wrap: what lies past 2**64 - 1 is not mapped.

Sources: FreeBSD `sys/amd64/amd64/mem.c` and `sys/i386/i386/mem.c` (memrw); `sys/kern/
sys_generic.c` and `kern_descrip.c` for zero and oversized lengths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from memhub.abi import U64_MAX
from memhub.core.memory.physical import NeedsDevice
from memhub.core.memory.pieces import Pieces, protected
from memhub.core.memory.steps import MmioStep, Progress, fetch, store
from memhub.errors import DeviceError, InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Generator, Hashable

    from memhub.abi import Buffer
    from memhub.core.driver import TransferRules
    from memhub.core.memory.kmem import KernelMemory
    from memhub.core.memory.physical import PhysicalMemory
    from memhub.core.memory.pieces import DeviceName, Protection
    from memhub.core.spec import WpWrites

#: The longest transfer, INT_MAX bytes (FreeBSD DEVFS_IOSIZE_MAX); more is EINVAL.
IOSIZE_MAX: Final = (1 << 31) - 1

_T = TypeVar("_T")


class Transfer:
    """Reads and writes of one machine's device files.

    Args:
        memory: the physical memory.
        kernel: the kernel's address space over it.
        rules: how the architecture ends a transfer.
        wp_writes: what a write to write-protected memory does: `fault` ends the transfer there
            with EFAULT, `drop` swallows the bytes as a shadowed ROM does, `allow` writes them.
    """

    __slots__ = ("_kernel", "_memory", "_pieces", "_short_count", "_top")

    def __init__(
        self,
        memory: PhysicalMemory,
        kernel: KernelMemory,
        rules: TransferRules,
        wp_writes: WpWrites = "fault",
    ) -> None:
        self._memory = memory
        self._kernel = kernel
        self._pieces = Pieces(memory, kernel, rules, wp_writes)
        self._short_count = rules.short_count
        self._top = memory.top

    def read(self, device: DeviceName, offset: int, length: int, process: Hashable = None) -> bytes:
        """Read without waiting.

        Args:
            device: `mem` (offsets are physical addresses) or `kmem` (kernel virtual ones).
            offset: first byte, an unsigned 64-bit number.
            length: bytes.
            process: whose u-area an address in it means.

        Returns:
            the bytes; fewer than asked for where the rules answer a short count.

        Raises:
            BadAddress: the first byte cannot be read, or, without short counts, a later one;
                `moved` says how many could (EFAULT).
            InvalidArgument: an offset or length that no transfer has (EINVAL).
            NeedsDevice: a device answers part of the span; take `reading`.
        """
        if device == "mem":
            if 0 <= offset < offset + length <= self._top and length <= IOSIZE_MAX:
                return self._memory.read(offset, length)

        elif 0 < length <= IOSIZE_MAX:
            address = self._kernel.physical(offset, length)
            if address >= 0:
                return self._memory.read(address, length)

        return _run(self.reading(device, offset, length, process))

    def write(
        self,
        device: DeviceName,
        offset: int,
        data: Buffer,
        process: Hashable = None,
        protection: Protection | None = None,
    ) -> int:
        """Write without waiting.

        Args:
            device: `mem` (offsets are physical addresses) or `kmem` (kernel virtual ones).
            offset: first byte, an unsigned 64-bit number.
            data: the bytes.
            process: whose u-area an address in it means.
            protection: where memory is write-protected; None where it is nowhere.

        Returns:
            bytes moved; fewer than given where the rules answer a short count.

        Raises:
            BadAddress: the first byte cannot be written, or, without short counts, a later
                one; `moved` says how many were (EFAULT).
            InvalidArgument: an offset or length that no transfer has (EINVAL).
            NeedsDevice: a device answers part of the span; take `writing`.
        """
        length = len(data)
        address = self._whole(device, offset, length)
        if address >= 0 and (
            protection is None or protected(protection, address, address + length) is None
        ):
            return self._memory.write(address, data)

        if self._memory.windows:
            self._refuse_devices(device, offset, length, process, protection)

        return _run(self.writing(device, offset, data, process, protection))

    def reading(
        self, device: DeviceName, offset: int, length: int, process: Hashable = None
    ) -> Generator[MmioStep, bytes, bytes]:
        """Read in steps: yields the accesses that devices answer, is sent the answers.

        Arguments, result and errors are those of `read`.
        """
        if not _checked(offset, length):
            return b""

        parts: list[bytes] = []
        progress = Progress()
        try:
            for piece in self._pieces.reading(device, offset, length, process):
                yield from fetch(self._memory, piece, parts, progress)

        except DeviceError as error:
            self._end(error, progress)

        return b"".join(parts)

    def writing(
        self,
        device: DeviceName,
        offset: int,
        data: Buffer,
        process: Hashable = None,
        protection: Protection | None = None,
    ) -> Generator[MmioStep, bytes | None, int]:
        """Write in steps: yields the accesses that devices take, is sent anything when done.

        Arguments, result and errors are those of `write`.
        """
        if not _checked(offset, len(data)):
            return 0

        view = memoryview(data)
        progress = Progress()
        try:
            for piece in self._pieces.writing(device, offset, len(data), process, protection):
                yield from store(self._memory, piece, view, progress)

        except DeviceError as error:
            self._end(error, progress)

        return progress.moved

    def _whole(self, device: DeviceName, offset: int, length: int) -> int:
        """The physical address of a span that is one allowed stretch of memory, or -1."""
        if not 0 < length <= IOSIZE_MAX:
            return -1

        if device == "kmem":
            return self._kernel.physical(offset, length, write=True)

        return offset if offset >= 0 and offset + length <= self._top else -1

    def _end(self, error: DeviceError, progress: Progress) -> None:
        """Let progress make a short count of an error, or report both."""
        if progress.moved and self._short_count:
            return

        error.moved = progress.moved
        raise error

    def _refuse_devices(
        self,
        device: DeviceName,
        offset: int,
        length: int,
        process: Hashable,
        protection: Protection | None,
    ) -> None:
        """Raise NeedsDevice if a write would reach a device before it ends."""
        if not _checked(offset, length):
            return

        try:
            for piece in self._pieces.writing(device, offset, length, process, protection):
                if piece.own is None and not piece.dropped:
                    for segment in self._memory.segments(piece.address, piece.length):
                        if segment.window:
                            raise NeedsDevice(segment.window)

        except DeviceError:
            return


def _checked(offset: int, length: int) -> bool:
    """Refuse what no transfer is; False for an empty one, which ends before anything else."""
    if length == 0:
        return False

    if length < 0 or length > IOSIZE_MAX:
        raise InvalidArgument(f"length {length:#x} is not between 0 and {IOSIZE_MAX:#x}")

    if not 0 <= offset <= U64_MAX:
        raise InvalidArgument(f"offset {offset:#x} is not an unsigned 64-bit number")

    return True


def _run(steps: Generator[MmioStep, Any, _T]) -> _T:
    """Take steps to their end where no device is involved."""
    try:
        step = next(steps)
    except StopIteration as end:
        result: _T = end.value
        return result

    steps.close()
    raise NeedsDevice(step.window)
