"""Where the bytes of a transfer lie: its pieces, in order, up to the first that cannot move.

A piece is a stretch that translates alike. Pieces are worked out one at a time, as the transfer
reaches them, and a long stretch of memory is one piece however many pages it has.

Sources: FreeBSD `sys/amd64/amd64/mem.c` and `sys/i386/i386/mem.c` (memrw).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from memhub.errors import BadAddress

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

    from memhub.core.driver import TransferRules
    from memhub.core.memory.kmem import KernelMemory
    from memhub.core.memory.physical import PhysicalMemory
    from memhub.core.spec import WpWrites

DeviceName = Literal["mem", "kmem"]


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


class Pieces:
    """Translates the transfers of one machine.

    Args:
        memory: the physical memory.
        kernel: the kernel's address space over it.
        rules: how the architecture ends a transfer.
        wp_writes: what a write to write-protected memory does.
    """

    __slots__ = ("_kernel", "_memory", "_rules", "_wp_writes")

    def __init__(
        self,
        memory: PhysicalMemory,
        kernel: KernelMemory,
        rules: TransferRules,
        wp_writes: WpWrites,
    ) -> None:
        self._memory = memory
        self._kernel = kernel
        self._rules = rules
        self._wp_writes = wp_writes

    def reading(
        self, device: DeviceName, offset: int, length: int, process: Hashable
    ) -> Iterator[Piece]:
        """The pieces of a read.

        Raises:
            BadAddress: on reaching a byte that cannot be read (EFAULT).
        """
        return self._all(device, offset, length, process, write=False)

    def _all(
        self, device: DeviceName, offset: int, length: int, process: Hashable, *, write: bool
    ) -> Iterator[Piece]:
        if device == "mem":
            return self._physical(offset, length)

        return self._virtual(offset, length, process, write)

    def _physical(self, offset: int, length: int) -> Iterator[Piece]:
        inside = min(length, self._memory.top - offset)
        if inside > 0:
            yield Piece(offset, inside)

        if inside < length:
            raise BadAddress(
                f"address {max(offset, self._memory.top):#x} is past the last physical address "
                f"{self._memory.top - 1:#x} ({self._memory.phys_bits} bits)"
            )

    def _virtual(self, offset: int, length: int, process: Hashable, write: bool) -> Iterator[Piece]:
        if self._rules.check_kmem_span:
            self._kernel.check(offset, length, write=write)

        cursor, end = offset, offset + length
        while cursor < end:
            area = self._kernel.area(cursor, write=write)
            size = min(end, area.end) - cursor
            if area.delta is None:
                yield Piece(cursor - area.base, size, self._kernel.uarea(process))
            else:
                yield Piece(cursor + area.delta, size)

            cursor += size

    def writing(
        self,
        device: DeviceName,
        offset: int,
        length: int,
        process: Hashable,
        protection: Protection | None,
    ) -> Iterator[Piece]:
        """The pieces of a write, cut where memory is write-protected.

        Raises:
            BadAddress: on reaching a byte that cannot be written (EFAULT).
        """
        pieces = self._all(device, offset, length, process, write=True)
        if protection is None or self._wp_writes == "allow":
            yield from pieces
            return

        for piece in pieces:
            if piece.own is None:
                yield from self._unprotected(piece, protection)
            else:
                yield piece

    def _unprotected(self, piece: Piece, protection: Protection) -> Iterator[Piece]:
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
