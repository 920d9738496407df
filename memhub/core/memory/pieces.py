"""Where the bytes of a transfer lie: its pieces, in order, up to the first that cannot move.

A piece is a stretch that translates alike. Pieces are worked out one at a time, as the transfer
reaches them, and a long stretch of memory is one piece however many pages it has.

Sources: FreeBSD `memrw` in `sys/{amd64,i386,arm64,powerpc}/*/mem.c`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

from memhub.core.memory.reach import Reach
from memhub.errors import BadAddress

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from memhub.core.kernel import TransferRules
    from memhub.core.memory.areas import Area
    from memhub.core.memory.kmem import KernelMemory
    from memhub.core.memory.physical import PhysicalMemory
    from memhub.core.spec import WpWrites
    from memhub.errors import DeviceError

    #: The caller's buffers: the address of each in its process, and its length in bytes.
    Buffers = Sequence[tuple[int, int]]

DeviceName = Literal["mem", "kmem", "mtrr", "memtype"]

_U64_END: Final = 1 << 64


class Stretch(Protocol):
    """A stretch of physical addresses of one effective type."""

    @property
    def base(self) -> int:
        """First byte."""

    @property
    def end(self) -> int:
        """One past the last byte."""

    @property
    def type(self) -> str:
        """`WP` is write-protect."""


class Protection(Protocol):
    """What says which memory is write-protected: a TypeMap, or anything that answers alike."""

    def segments(self, lo: int, hi: int) -> Iterable[Stretch]:
        """The stretches of `[lo, hi)` in order, cut to it."""


def protected(types: Protection, lo: int, hi: int) -> tuple[int, int] | None:
    """The first write-protected stretch `[start, stop)` inside `[lo, hi)`, or None."""
    for stretch in types.segments(lo, hi):
        if stretch.type == "WP":
            return max(lo, stretch.base), min(hi, stretch.end)

    return None


class Piece(NamedTuple):
    """A stretch that translates alike: physical memory, or (with `own`) a u-area."""

    address: int
    length: int
    own: bytearray | None = None
    dropped: bool = False


class WritePlan(NamedTuple):
    """Where the bytes of a write go, and how it ends.

    Attributes:
        pieces: where they go, in order.
        moved: how many go anywhere.
        error: what the write is answered with, or None.
    """

    pieces: tuple[Piece, ...]
    moved: int
    error: DeviceError | None


class Pieces:
    """Translates the transfers of one machine.

    Args:
        memory: the physical memory.
        kernel: the kernel's address space over it.
        rules: how the kernel decides.
        wp_writes: what a write to write-protected memory does.

    Attributes:
        reach: the physical addresses behind `/dev/mem`.
    """

    __slots__ = ("_kernel", "_mask", "_rules", "_wp_writes", "reach")

    def __init__(
        self,
        memory: PhysicalMemory,
        kernel: KernelMemory,
        rules: TransferRules,
        wp_writes: WpWrites,
    ) -> None:
        self.reach = Reach(memory, kernel.layout, rules)
        self._kernel = kernel
        self._rules = rules
        self._mask = (1 << rules.kmem_bits) - 1
        self._wp_writes = wp_writes

    def reading(
        self, device: DeviceName, offset: int, buffers: Buffers, process: Hashable
    ) -> Iterator[Piece]:
        """The pieces of a read.

        Raises:
            BadAddress: on reaching a byte that cannot be read (EFAULT).
        """
        return self._all_pieces(device, offset, buffers, process, write=False)

    def _all_pieces(
        self, device: DeviceName, offset: int, buffers: Buffers, process: Hashable, *, write: bool
    ) -> Iterator[Piece]:
        if device == "mem":
            return self._memory_pieces(offset, buffers)

        return self._kernel_pieces(offset, buffers, process, write)

    def _memory_pieces(self, offset: int, buffers: Buffers) -> Iterator[Piece]:
        for user, length in buffers:
            for physical, size in self.reach.pieces(offset, length, user):
                yield Piece(physical, size)

            offset = (offset + length) % _U64_END

    def _kernel_pieces(
        self, offset: int, buffers: Buffers, process: Hashable, write: bool
    ) -> Iterator[Piece]:
        rules, mask = self._rules, self._mask
        base = self._kernel.layout.kernel_base
        if rules.kmem_signed and (offset >> 63 or offset < base):
            raise BadAddress(f"kernel address {offset:#x} is below the kernel at {base:#x}")

        if rules.kmem_check == "request":
            length = sum(length for _, length in buffers)
            self._kernel.check_entries(offset & mask, length, write=write)

        for user, length in buffers:
            if rules.kmem_check == "buffer":
                yield from self._buffer_pieces(offset, user, length, process, write)
            else:
                yield from self._page_pieces(offset & mask, length, process, write)

            offset += length

    def _page_pieces(
        self, cursor: int, length: int, process: Hashable, write: bool
    ) -> Iterator[Piece]:
        """The pieces of a buffer that is checked page by page."""
        mask, end = self._mask, cursor + length
        while cursor < end:
            area = self._kernel.area(cursor & mask, write=write)
            size = min(end - cursor, area.end - (cursor & mask))
            yield self._make_piece(area, cursor & mask, size, process)
            cursor += size

    def _buffer_pieces(
        self, cursor: int, user: int, length: int, process: Hashable, write: bool
    ) -> Iterator[Piece]:
        """The pieces of a buffer that is checked as a whole and copied at once."""
        end = cursor + length
        while cursor < end:
            address = cursor & self._mask
            size = self._count_outside(address, end - cursor)
            area = self._kernel.find(address)
            if size:
                for physical, part in self.reach.pieces(self._count_elsewhere(address), size, user):
                    yield Piece(physical, part)
            elif area is not None and area.what == "direct map":
                size = min(end - cursor, area.end - address)
                yield self._make_piece(area, address, size, process)
            else:
                size = end - cursor
                yield from self._copy_pieces(address, size, process, write)

            cursor += size
            user += size

    def _count_outside(self, address: int, length: int) -> int:
        """How many bytes from `address` on are not the kernel's own and are found elsewhere."""
        rules, layout = self._rules, self._kernel.layout
        if rules.kmem_elsewhere == "refused":
            return 0

        if rules.kmem_elsewhere == "direct map" and layout.direct_map is None:
            return 0

        if address < layout.kernel_base:
            return min(length, layout.kernel_base - address)

        last = layout.space_end - 1 if layout.map_max is None else layout.map_max

        return min(length, self._mask + 1 - address) if address > last else 0

    def _count_elsewhere(self, address: int) -> int:
        direct_map = self._kernel.layout.direct_map
        if self._rules.kmem_elsewhere == "direct map" and direct_map is not None:
            return address & ~direct_map

        return address

    def _copy_pieces(
        self, address: int, length: int, process: Hashable, write: bool
    ) -> Iterator[Piece]:
        """The pieces of one copy through kernel addresses, all of them or none."""
        kernel = self._kernel
        kernel.check_pages(address, length)
        if kernel.layout.kernel_base <= address or self._rules.kmem_elsewhere == "refused":
            kernel.check_entries(address, length, write=write)

        areas = kernel.areas_of(address, length)
        for area in areas:
            if write and not area.page_writable:
                raise BadAddress(f"the pages of {area} are read-only")

        cursor, end = address, address + length
        for area in areas:
            size = min(end, area.end) - cursor
            yield self._make_piece(area, cursor, size, process)
            cursor += size

    def _make_piece(self, area: Area, address: int, size: int, process: Hashable) -> Piece:
        if area.delta is None:
            return Piece(address - area.base, size, self._kernel.uarea(process))

        return Piece(address + area.delta, size)

    def writing(
        self,
        device: DeviceName,
        offset: int,
        buffers: Buffers,
        process: Hashable,
        protection: Protection | None,
    ) -> Iterator[Piece]:
        """The pieces of a write, cut where memory is write-protected.

        Raises:
            BadAddress: on reaching a byte that cannot be written (EFAULT).
        """
        pieces = self._all_pieces(device, offset, buffers, process, write=True)
        if protection is None or self._wp_writes == "allow":
            yield from pieces
            return

        for piece in pieces:
            if piece.own is None:
                yield from self._cut_protected(piece, protection)
            else:
                yield piece

    def _cut_protected(self, piece: Piece, protection: Protection) -> Iterator[Piece]:
        """Cut a piece of physical memory at the borders of write-protected runs."""
        cursor, end = piece.address, piece.address + piece.length
        while cursor < end:
            start, stop = protected(protection, cursor, end) or (end, end)
            if cursor < start:
                yield Piece(cursor, start - cursor)

            if start < stop and self._wp_writes == "fault":
                raise BadAddress(f"memory at {start:#x}/{stop - start:#x} is write-protected")

            if start < stop:
                yield Piece(start, stop - start, dropped=True)

            cursor = stop
