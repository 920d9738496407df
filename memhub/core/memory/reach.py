"""Which physical addresses an offset of `/dev/mem` reaches, by a kernel's rules.

Sources: FreeBSD `memrw` in `sys/{amd64,i386,arm64,powerpc}/*/mem.c`; `mem_valid` in the last.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from memhub.abi import PAGE_SIZE
from memhub.errors import BadAddress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.core.kernel import KernelLayout, TransferRules
    from memhub.core.memory.physical import PhysicalMemory

    #: `[first, end)` of physical addresses.
    Span = tuple[int, int]

_GIB: Final = 1 << 30
_U64_END: Final = 1 << 64


def direct_map_limit(ram_top: int) -> int:
    """How many bytes of physical memory the direct map covers.

    At least 4 GiB, in steps of 1 GiB, so that holes for PCI devices below the end of RAM are
    inside (FreeBSD amd64 `create_pagetables`, dmaplimit).
    """
    return max(4 * _GIB, -(-ram_top // _GIB) * _GIB)


def direct_spans(layout: KernelLayout, memory: PhysicalMemory) -> tuple[Span, ...]:
    """The physical addresses that a layout's direct map covers, in order."""
    if layout.direct_map is None:
        return ()

    start, limit = direct_start(layout, memory), layout.direct_limit
    if not layout.direct_block:
        if limit is None:
            limit = direct_map_limit(memory.ram_top)

        return ((start, min(limit, memory.top)),)

    block = layout.direct_block
    limit = min(memory.top, memory.top if limit is None else limit)
    spans: list[Span] = []
    for low, high in ram_spans(memory):
        first, end = max(start, low - low % block), min(limit, -(-high // block) * block)
        if spans and first <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        elif first < end:
            spans.append((first, end))

    return tuple(spans)


def direct_start(layout: KernelLayout, memory: PhysicalMemory) -> int:
    """The physical address that the first byte of the direct map means."""
    if layout.direct_start is not None:
        return layout.direct_start

    lowest = min((low for low, _ in ram_spans(memory)), default=0)

    return lowest - lowest % _GIB


def ram_spans(memory: PhysicalMemory) -> tuple[Span, ...]:
    """The regions of usable RAM, in address order, each by itself."""
    return tuple((it.base, it.base + it.length) for it in memory.extents if it.kind == "ram")


class Reach:
    """The physical addresses behind one machine's `/dev/mem`.

    Args:
        memory: the physical memory.
        layout: where the kernel's addresses lie.
        rules: how the kernel decides.

    Attributes:
        last: the highest offset.
        plain_from: first of the offsets that are the physical addresses themselves and may be
            read and written in any way; the stretch that `place` found last.
        plain_end: one past the last of them.
    """

    __slots__ = (
        "_memory",
        "_rules",
        "_spans",
        "_starts",
        "_wraps",
        "last",
        "plain_end",
        "plain_from",
    )

    def __init__(self, memory: PhysicalMemory, layout: KernelLayout, rules: TransferRules) -> None:
        spans: tuple[Span, ...] = ((0, memory.top),)
        if rules.mem_reach == "ram":
            spans = ram_spans(memory)
        elif rules.mem_reach == "direct map":
            spans = direct_spans(layout, memory)

        first = rules.mem_first
        spans = tuple((max(low, first), high) for low, high in spans if high > first)
        self._memory = memory
        self._wraps = layout.direct_map is None
        self._rules = rules
        self._spans = spans
        self._starts = [low for low, _ in spans]
        self.last = memory.top - 1 if rules.mem_last is None else rules.mem_last
        self.plain_from = self.plain_end = 0
        if spans:
            self._remember_span(spans[0])

    def place(self, offset: int, length: int) -> tuple[int, int]:
        """Where a stretch from `offset` on lies.

        Args:
            offset: an unsigned 64-bit number.
            length: bytes, above 0; not past 2**64.

        Returns:
            the physical address, and how many of the bytes lie in one reachable stretch, 1 at
            least.

        Raises:
            BadAddress: `offset` is not reachable (EFAULT).
        """
        rules, last = self._rules, self.last
        signed = offset - _U64_END if rules.mem_signed and offset >> 63 else offset
        if signed > last:
            why = f"the last physical address {last:#x} ({self._memory.phys_bits} bits)"
            if rules.mem_last is not None:
                why = f"{last:#x}, the last address"

            raise BadAddress(f"address {offset:#x} is past {why} that /dev/mem reaches")

        if signed >= 0:
            length = min(length, last + 1 - offset)

        span, physical = self._span_of(offset)
        end = min(span[1], 1 << rules.mem_bits)

        return physical, min(length, end - physical)

    def _span_of(self, offset: int) -> tuple[Span, int]:
        physical = offset & (1 << self._rules.mem_bits) - 1
        span = self.span_at(physical)
        if span is None:
            kind = "RAM" if self._rules.mem_reach == "ram" else "the direct map"
            raise BadAddress(f"physical address {physical:#x} is not in {kind}")

        if physical == offset:
            self._remember_span(span)

        return span, physical

    def span_at(self, physical: int) -> Span | None:
        """The reachable stretch that a physical address lies in, or None."""
        index = bisect_right(self._starts, physical) - 1
        if index < 0 or physical >= self._spans[index][1]:
            return None

        return self._spans[index]

    def _remember_span(self, span: Span) -> None:
        self.plain_from = span[0]
        self.plain_end = min(span[1], self.last + 1, 1 << self._rules.mem_bits)

    def pieces(self, offset: int, length: int, user: int) -> Iterator[tuple[int, int]]:
        """Physical address and length of each stretch of one buffer's transfer, in order.

        Args:
            offset: the device's offset, an unsigned 64-bit number; it wraps at 2**64.
            length: bytes of the buffer.
            user: the buffer's address in its process; only its place in a page counts.

        Raises:
            BadAddress: on reaching an offset that is not reachable (EFAULT).
        """
        whole = self._rules.mem_reach == "ram"
        while length:
            if whole and (size := self._last_piece(offset, length, user)):
                physical = offset & (1 << self._rules.mem_bits) - 1
            else:
                physical, size = self.place(offset, min(length, _U64_END - offset))
                if whole and size < length:
                    size = self._count_reachable(physical, size, user)

            yield physical, size
            offset = (offset + size) % _U64_END
            user += size
            length -= size

    def _last_piece(self, offset: int, length: int, user: int) -> int:
        """Length of a piece that ends where physical addresses wrap, or 0.

        The sum in FreeBSD's mem_valid wraps there too, so that the piece counts as RAM. Where
        there is a direct map, the copy through it faults.
        """
        if not self._wraps:
            return 0

        physical = offset & (1 << self._rules.mem_bits) - 1
        size = (1 << self._rules.mem_bits) - physical
        room = PAGE_SIZE - user % PAGE_SIZE if self._rules.user_pages else PAGE_SIZE
        if size > min(length, room, self._memory.top - physical):
            return 0

        return size if self._starts and self._starts[0] <= physical else 0

    def _count_reachable(self, physical: int, size: int, user: int) -> int:
        """How many of `size` bytes up to the end of a region are in pieces that lie in it whole.

        A piece ends at a page border of the memory, or of the caller's buffer.
        """
        over = (physical + size) % PAGE_SIZE
        if self._rules.user_pages:
            over = min(over, (user + size) % PAGE_SIZE)

        if over >= size:
            raise BadAddress(f"the page at {physical:#x} is not RAM as a whole")

        return size - over
