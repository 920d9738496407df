"""A kernel's address space as areas of pages that are alike.

Two things decide about a kernel address. An *entry* of the kernel's own map says what is allowed
there; a *page* of its page tables says which physical page is there. FreeBSD's kernacc looks at
entries alone, so an entry without a page passes the check and fails later. A layout gives the
direct map and the per-process u-area (the classic i386 layout); a machine's own entries and pages
come on top.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from memhub.abi import PAGE_SIZE
from memhub.core.memory.reach import direct_spans, direct_start
from memhub.core.neighbours import join_neighbours

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from memhub.core.kernel import KernelLayout, TransferRules
    from memhub.core.memory.physical import PhysicalMemory
    from memhub.core.memory.reach import Span
    from memhub.core.spec import KernelEntry, KernelMapping

    Ranged = TypeVar("Ranged", KernelEntry, KernelMapping)


@dataclass(frozen=True, slots=True)
class Area:
    """A stretch of kernel virtual pages that are alike.

    Attributes:
        base: first virtual byte.
        end: one past the last.
        delta: virtual plus delta is the physical address; None where no page is, or a u-area.
        readable: whether a map entry lets it be read.
        writable: whether a map entry lets it be written.
        page_writable: whether the page tables let it be written.
        what: what it is, for messages.
    """

    base: int
    end: int
    delta: int | None
    readable: bool = True
    writable: bool = True
    page_writable: bool = True
    what: str = "mapping"

    def __str__(self) -> str:
        return f"{self.what} {self.base:#x}/{self.end - self.base:#x}"

    @property
    def present(self) -> bool:
        """Whether there are pages."""
        return self.delta is not None or self.what == "u-area"

    @property
    def page_zero(self) -> bool:
        """Whether it is a mapping of physical page 0."""
        return self.what == "mapping" and self.delta is not None and self.base + self.delta == 0


def build_areas(
    layout: KernelLayout,
    mappings: Iterable[KernelMapping],
    memory: PhysicalMemory,
    entries: Iterable[KernelEntry] | None,
    rules: TransferRules,
    upages: int,
) -> tuple[Area, ...]:
    """The areas of a machine's kernel, in address order; arguments are those of KernelMemory.

    Raises:
        ValueError: see KernelMemory.
    """
    pages = sorted(mappings, key=lambda it: it.virtual)
    space = _kernel_space(layout, rules)
    whole = (space[0], layout.space_end)
    for mapping in pages:
        _check_mapping(mapping, memory, space if entries is None else whole)

    given: Iterator[Area] = map(_area_of, pages)
    if entries is not None:
        ordered_entries = sorted(entries, key=lambda it: it.virtual)
        for entry in ordered_entries:
            what = f"map entry {entry.virtual:#x}/{entry.length:#x}"
            _check_place(what, entry, whole)

        _check_overlap([_area_of_entry(entry) for entry in ordered_entries])
        _check_overlap([_area_of(mapping) for mapping in pages])
        given = _cut_areas(_cross_areas(ordered_entries, pages), space[1])

    ordered = sorted(
        [*_fixed_areas(layout, memory, rules, upages), *given], key=lambda area: area.base
    )
    _check_overlap(ordered)
    if rules.kmem_check == "page" and rules.mem_reach == "direct map":
        ordered = list(_inside_direct_map(ordered, layout, memory))

    split = rules.page_zero != "allowed"

    return tuple(_merge_areas(_page_zero_apart(ordered) if split else ordered))


def _area_of(mapping: KernelMapping) -> Area:
    return Area(
        mapping.virtual,
        mapping.virtual + mapping.length,
        mapping.physical - mapping.virtual,
        writable=mapping.writable,
        page_writable=mapping.writable,
    )


def _area_of_entry(entry: KernelEntry) -> Area:
    return Area(
        entry.virtual,
        entry.virtual + entry.length,
        None,
        readable=entry.readable,
        writable=entry.writable,
        what="map entry",
    )


def _cross_areas(entries: Sequence[KernelEntry], pages: Sequence[KernelMapping]) -> Iterator[Area]:
    """Areas of entries and pages together: cut wherever one of them begins or ends."""
    bounds = [(it.virtual, it.virtual + it.length) for it in entries]
    bounds += [(it.virtual, it.virtual + it.length) for it in pages]
    cuts = sorted({cut for pair in bounds for cut in pair})
    for low, high in pairwise(cuts):
        entry, mapping = _row_at(entries, low), _row_at(pages, low)
        if entry is None and mapping is None:
            continue

        rights = (entry.readable, entry.writable) if entry is not None else (False, False)
        if mapping is None:
            yield Area(low, high, None, *rights, what="map entry")
        else:
            delta = mapping.physical - mapping.virtual
            yield Area(low, high, delta, *rights, page_writable=mapping.writable)


def _cut_areas(areas: Iterable[Area], end: int) -> Iterator[Area]:
    """Areas without what lies past the end of the kernel's map."""
    for area in areas:
        if area.base < end:
            yield replace(area, end=min(area.end, end))


def _row_at(rows: Sequence[Ranged], virtual: int) -> Ranged | None:
    index = bisect_right(rows, virtual, key=lambda it: it.virtual) - 1
    if index < 0 or virtual >= rows[index].virtual + rows[index].length:
        return None

    return rows[index]


def _fixed_areas(
    layout: KernelLayout, memory: PhysicalMemory, rules: TransferRules, upages: int
) -> Iterator[Area]:
    if layout.direct_map is not None and rules.kmem_elsewhere == "refused":
        delta = direct_start(layout, memory) - layout.direct_map
        for low, high in direct_spans(layout, memory):
            if high - delta > layout.space_end:
                raise ValueError(
                    f"the direct map {low - delta:#x}/{high - low:#x} leaves the address space: "
                    f"RAM of this kernel ends at {layout.space_end + delta:#x} at most"
                )

            # A kernel that refuses physical byte 0 refuses it through the direct map too.
            yield Area(max(low, rules.mem_first) - delta, high - delta, delta, what="direct map")

    if layout.uarea_end is not None and upages:
        base = layout.uarea_end - upages * PAGE_SIZE
        if base < layout.kernel_base:
            raise ValueError(
                f"a u-area of {upages} pages below {layout.uarea_end:#x} reaches under the "
                f"kernel at {layout.kernel_base:#x}"
            )

        yield Area(base, layout.uarea_end, None, what="u-area")


def _check_mapping(mapping: KernelMapping, memory: PhysicalMemory, space: Span) -> None:
    virtual, physical, length = mapping.virtual, mapping.physical, mapping.length
    what = f"kernel mapping {virtual:#x} to {physical:#x}, length {length:#x},"
    if physical % PAGE_SIZE:
        raise ValueError(f"{what} is not a positive number of whole pages of {PAGE_SIZE}")

    _check_place(what, mapping, space)
    if physical < 0 or physical + length > memory.top:
        raise ValueError(f"{what} leaves the {memory.phys_bits} physical address bits of the cpu")


def _check_place(what: str, it: KernelEntry | KernelMapping, space: Span) -> None:
    if it.length <= 0 or (it.virtual | it.length) % PAGE_SIZE:
        raise ValueError(f"{what} is not a positive number of whole pages of {PAGE_SIZE}")

    if it.virtual < space[0] or it.virtual + it.length > space[1]:
        raise ValueError(f"{what} is not inside kernel space {space[0]:#x}-{space[1]:#x}")


def _kernel_space(layout: KernelLayout, rules: TransferRules) -> Span:
    """Where a mapping can lie: from the kernel's first address to the end of its map, in pages.

    Below it the direct map may lie, unless addresses there are not the kernel's own.
    """
    lowest, end = layout.kernel_base, layout.space_end
    if layout.direct_map is not None and rules.kmem_elsewhere == "refused":
        lowest = min(lowest, layout.direct_map)

    if layout.map_max is not None:
        end = -(-layout.map_max // PAGE_SIZE) * PAGE_SIZE

    return lowest, end


def _check_overlap(ordered: Sequence[Area]) -> None:
    for low, high in pairwise(ordered):
        if low.end > high.base:
            raise ValueError(f"{low} and {high} overlap: a kernel address has one translation")


def _inside_direct_map(
    areas: Iterable[Area], layout: KernelLayout, memory: PhysicalMemory
) -> Iterator[Area]:
    """Take the pages away from mappings of memory that the direct map does not cover.

    FreeBSD arm64 panics there ("TODO: Map out of DMAP data"); memhub answers EFAULT.
    """
    spans = direct_spans(layout, memory)
    for area in areas:
        if area.what != "mapping" or area.delta is None:
            yield area
            continue

        cursor = area.base
        for low, high in spans:
            first, end = max(cursor, low - area.delta), min(area.end, high - area.delta)
            if first < end:
                if cursor < first:
                    yield replace(area, base=cursor, end=first, delta=None)

                yield replace(area, base=first, end=end)
                cursor = end

        if cursor < area.end:
            yield replace(area, base=cursor, delta=None)


def _page_zero_apart(areas: Iterable[Area]) -> Iterator[Area]:
    """Make an area of each mapping of physical page 0."""
    for area in areas:
        first = area.base + PAGE_SIZE
        if not area.page_zero or first >= area.end:
            yield area
            continue

        yield replace(area, end=first)
        yield replace(area, base=first)


def _merge_areas(areas: Iterable[Area]) -> Iterator[Area]:
    """Join neighbours that are alike, so that a long span is one step; page 0 stays apart."""
    return join_neighbours(areas, _join_areas)


def _join_areas(last: Area, area: Area) -> Area | None:
    if last.end != area.base or last.page_zero:
        return None

    joined = replace(last, end=area.end)

    return joined if joined == replace(area, base=last.base) else None
