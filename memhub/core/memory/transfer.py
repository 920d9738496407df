"""`read` and `write` of `/dev/mem` and `/dev/kmem`: what moves, in which order, and how it ends.

A transfer is translated into pieces, each a stretch of physical memory or of the caller's own
u-area, and the pieces move one after the other. Where the next byte cannot move, the
architecture's rules decide between a short count and an error.

`read`, and `plan_write` with `store`, do a transfer in which no device takes part. A span that
reaches a device window raises NeedsDevice before anything moves, and the caller takes the same
transfer in steps::

    steps = transfer.reading("mem", offset, length)
    try:
        step = next(steps)
        while True:
            step = steps.send(await step.device.read(step.offset, step.size))
    except StopIteration as end:
        data = end.value

An error of the device is thrown into the generator, which ends the transfer by the same rules.

Offsets are unsigned 64-bit numbers; how many bits of them count is one of the rules.

A transfer has one buffer, or the several of a vectored call (readv(2)). Where they begin and end
matters to kernels that check a buffer as a whole.

Sources: FreeBSD `memrw` in `sys/{amd64,i386,arm64,powerpc}/*/mem.c`; `sys/kern/sys_generic.c` and
`kern_descrip.c` for zero and oversized lengths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.abi import U64_MAX
from memhub.core.instant import make_tuple
from memhub.core.memory.pieces import Piece, Pieces, WritePlan, protected
from memhub.core.memory.steps import MmioStep, Progress, fetch, run_steps, store
from memhub.errors import DeviceError, InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Generator, Hashable, Iterable, Iterator, Sequence

    from memhub.abi import Buffer
    from memhub.core.kernel import TransferRules
    from memhub.core.memory.kmem import KernelMemory
    from memhub.core.memory.physical import PhysicalMemory
    from memhub.core.memory.pieces import Buffers, DeviceName, Protection
    from memhub.core.spec import WpWrites

#: The longest transfer, INT_MAX bytes (FreeBSD DEVFS_IOSIZE_MAX); more is EINVAL.
IOSIZE_MAX: Final = (1 << 31) - 1


class Transfer:
    """Reads and writes of one machine's device files.

    Args:
        memory: the physical memory.
        kernel: the kernel's address space over it.
        rules: how the kernel decides.
        wp_writes: what a write to write-protected memory does: `fault` ends the transfer there
            with EFAULT, `drop` swallows the bytes as a shadowed ROM does, `allow` writes them.

    Attributes:
        pieces: translates its transfers.
    """

    __slots__ = ("_kernel", "_memory", "_reach", "_short_count", "pieces", "rules")

    def __init__(
        self,
        memory: PhysicalMemory,
        kernel: KernelMemory,
        rules: TransferRules,
        wp_writes: WpWrites = "fault",
    ) -> None:
        self._memory = memory
        self._kernel = kernel
        self.pieces = Pieces(memory, kernel, rules, wp_writes)
        self._reach = self.pieces.reach
        self._short_count = rules.short_count
        self.rules = rules

    def read(
        self,
        device: DeviceName,
        offset: int,
        length: int,
        process: Hashable = None,
        buffers: Buffers | None = None,
    ) -> bytes:
        """Read without waiting.

        Args:
            device: `mem` (offsets are physical addresses) or `kmem` (kernel virtual ones).
            offset: first byte, an unsigned 64-bit number.
            length: bytes.
            process: whose u-area an address in it means.
            buffers: the caller's, `length` bytes in all; None is one, at the start of a page.

        Returns:
            the bytes; fewer than asked for where the rules answer a short count.

        Raises:
            BadAddress: the first byte cannot be read, or, without short counts, a later one;
                `moved` says how many could (EFAULT).
            InvalidArgument: an offset or length that no transfer has (EINVAL).
            NeedsDevice: a device answers part of the span; take `reading`.
        """
        if device == "mem":
            reach = self._reach
            if (
                reach.plain_from <= offset < offset + length <= reach.plain_end
                and length <= IOSIZE_MAX
            ):
                return self._memory.read(offset, length)

        elif 0 < length <= IOSIZE_MAX:
            address = self._kernel.physical(offset, length)
            if address >= 0:
                return self._memory.read(address, length)

        return run_steps(self.reading(device, offset, length, process, buffers))

    def plan_write(
        self,
        device: DeviceName,
        offset: int,
        length: int,
        process: Hashable = None,
        protection: Protection | None = None,
        buffers: Buffers | None = None,
    ) -> WritePlan:
        """Work out where the bytes of a write go; nothing moves.

        Args:
            device: `mem` or `kmem`.
            offset: first byte, an unsigned 64-bit number.
            length: bytes.
            process: whose u-area an address in it means.
            protection: where memory is write-protected; None where it is nowhere.
            buffers: as for `read`.

        Returns:
            the pieces, how many bytes they take (fewer than given where the rules answer a short
            count), and the error that is to be answered, if one is.

        Raises:
            InvalidArgument: an offset or length that no transfer has (EINVAL).
            NeedsDevice: a device answers part of the span; take `writing`.
        """
        address, reach = -1, self._reach
        if 0 < length <= IOSIZE_MAX:
            if device == "kmem":
                address = self._kernel.physical(offset, length, write=True)
            elif reach.plain_from <= offset and offset + length <= reach.plain_end:
                address = offset

        if address >= 0 and (
            protection is None or protected(protection, address, address + length) is None
        ):
            if self._memory.windows:
                self._memory.refuse_windows(address, length)

            piece = make_tuple(Piece, (address, length, None, False))

            return make_tuple(WritePlan, ((piece,), length, None))

        return self._plan_pieces(device, offset, length, process, protection, buffers)

    def _plan_pieces(
        self,
        device: DeviceName,
        offset: int,
        length: int,
        process: Hashable,
        protection: Protection | None,
        buffers: Buffers | None,
    ) -> WritePlan:
        if not check_transfer(offset, length):
            return WritePlan((), 0, None)

        found: list[Piece] = []
        error: DeviceError | None = None
        moved = 0
        try:
            spans = buffers or ((0, length),)
            for piece in self.pieces.writing(device, offset, spans, process, protection):
                if piece.own is None and not piece.dropped:
                    self._memory.refuse_windows(piece.address, piece.length)

                found.append(piece)
                moved += piece.length
        except DeviceError as refusal:
            refusal.moved = moved
            error = None if moved and self._short_count else refusal

        return WritePlan(tuple(found), moved, error)

    def write(
        self,
        device: DeviceName,
        offset: int,
        data: Buffer,
        process: Hashable = None,
        protection: Protection | None = None,
    ) -> int:
        """Write without waiting: `plan_write`, then `store`.

        Returns:
            bytes moved; fewer than given where the rules answer a short count.

        Raises:
            BadAddress: the first byte cannot be written, or, without short counts, a later
                one; `moved` says how many were (EFAULT).
            InvalidArgument: an offset or length that no transfer has (EINVAL).
            NeedsDevice: a device answers part of the span; take `writing`.
        """
        plan = self.plan_write(device, offset, len(data), process, protection)
        self.store(plan.pieces, data)
        if plan.error is not None:
            raise plan.error

        return plan.moved

    def store(self, pieces: Sequence[Piece], data: Buffer) -> None:
        """Move the bytes of a write to where it goes.

        Args:
            pieces: from `plan_write`.
            data: the bytes; those behind the last piece are not looked at.
        """
        if len(pieces) == 1 and type(data) is bytes:
            address, length, own, dropped = pieces[0]
            if length == len(data) and own is None:
                if not dropped:
                    self._memory.write(address, data)
                return

        view, done = memoryview(data), 0
        for piece in pieces:
            part = view[done : done + piece.length]
            done += piece.length
            if piece.own is not None:
                piece.own[piece.address : piece.address + piece.length] = part
            elif not piece.dropped:
                self._memory.write(piece.address, part)

    def contents(self, pieces: Iterable[Piece]) -> bytes:
        """What is where the bytes of a write go."""
        read = self._memory.read
        found = [
            read(at, n) if own is None else bytes(own[at : at + n]) for at, n, own, _ in pieces
        ]

        return found[0] if len(found) == 1 else b"".join(found)

    def reading(
        self,
        device: DeviceName,
        offset: int,
        length: int,
        process: Hashable = None,
        buffers: Buffers | None = None,
    ) -> Generator[MmioStep, bytes, bytes]:
        """Read in steps: yields the accesses that devices answer, is sent the answers.

        Arguments, result and errors are those of `read`.
        """
        if not check_transfer(offset, length):
            return b""

        parts: list[bytes] = []
        buffers = buffers or ((0, length),)
        memory, progress = self.view_of(process), Progress()
        try:
            for piece in self.pieces.reading(device, offset, buffers, process):
                yield from fetch(memory, piece, parts, progress)

        except DeviceError as error:
            error.arrived = b"".join(parts)
            self._end_short(error, progress)

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

        Arguments and errors are those of `plan_write`; the result is the number of bytes moved.
        """
        if not check_transfer(offset, len(data)):
            return 0

        view, buffers = memoryview(data), ((0, len(data)),)
        memory, progress = self.view_of(process), Progress()
        try:
            for piece in self.pieces.writing(device, offset, buffers, process, protection):
                yield from store(memory, piece, view, progress)

        except DeviceError as error:
            self._end_short(error, progress)

        return progress.moved

    def view_of(self, _process: Hashable) -> PhysicalMemory:
        """What the steps of a transfer of a process move bytes through."""
        return self._memory

    def pieces_of(
        self, device: DeviceName, offset: int, length: int, process: Hashable
    ) -> Iterator[Piece]:
        """Where the bytes of a span lie for a read; BadAddress (EFAULT) where one is not."""
        return self.pieces.reading(device, offset, ((0, length),), process)

    def first_piece(self, device: DeviceName, offset: int, length: int = 1) -> Piece:
        """Where the byte at `offset` lies for a read, with what follows it of `length` bytes.

        Raises:
            BadAddress: it cannot be read (EFAULT).
        """
        return next(self.pieces.reading(device, offset, ((0, length),), None))

    def _end_short(self, error: DeviceError, progress: Progress) -> None:
        """Let progress make a short count of an error, or report both."""
        if progress.moved and self._short_count:
            return

        error.moved = progress.moved
        raise error


def check_transfer(offset: int, length: int) -> bool:
    """Refuse what no transfer is; False for an empty one, which ends before anything else."""
    if length == 0:
        return False

    if length < 0 or length > IOSIZE_MAX:
        raise InvalidArgument(f"length {length:#x} is not between 0 and {IOSIZE_MAX:#x}")

    if not 0 <= offset <= U64_MAX:
        raise InvalidArgument(f"offset {offset:#x} is not an unsigned 64-bit number")

    return True
