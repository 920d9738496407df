"""Kernel virtual memory: what `/dev/kmem` addresses mean.

A layout gives the direct map and the per-process u-area, a machine's own mappings come on top.
Kernel addresses are whole pages, so each of these is an area of pages that translate alike.

Sources: FreeBSD `sys/amd64/amd64/mem.c` and `sys/i386/i386/mem.c` (memrw); the u-area at the
end of kernel space is the classic i386 layout.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from memhub.abi import PAGE_SIZE
from memhub.errors import BadAddress

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from memhub.core.driver import KernelLayout
    from memhub.core.memory.physical import PhysicalMemory
    from memhub.core.spec import KernelMapping

_GIB: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Area:
    """A stretch of kernel virtual pages that translate alike.

    Attributes:
        base: first virtual byte.
        end: one past the last.
        delta: virtual plus delta is the physical address; None is the per-process u-area.
        writable: whether a write through it is allowed.
        refusal: why no access is allowed at all, or empty.
        what: what it is, for messages.
    """

    base: int
    end: int
    delta: int | None
    writable: bool = True
    refusal: str = ""
    what: str = "mapping"

    def __str__(self) -> str:
        return f"{self.what} {self.base:#x}/{self.end - self.base:#x}"


def direct_map_limit(ram_top: int) -> int:
    """How many bytes of physical memory the direct map covers.

    At least 4 GiB, in steps of 1 GiB, so that holes for PCI devices below the end of RAM are
    inside (FreeBSD amd64 `create_pagetables`, dmaplimit).
    """
    return max(4 * _GIB, -(-ram_top // _GIB) * _GIB)


class KernelMemory:
    """The kernel address space of one machine.

    Args:
        layout: where the architecture's kernel addresses begin.
        mappings: the machine's own mappings, in any order.
        memory: the physical memory behind them.
        upages: pages of the per-process u-area, where the layout has one.

    Raises:
        ValueError: a mapping is not in whole pages, leaves the kernel's or the physical address
            space, or overlaps another, the direct map or the u-area.
    """

    __slots__ = (
        "_areas",
        "_read_delta",
        "_read_end",
        "_read_from",
        "_starts",
        "_uarea_size",
        "_uareas",
        "_write_delta",
        "_write_end",
        "_write_from",
    )

    def __init__(
        self,
        layout: KernelLayout,
        mappings: Iterable[KernelMapping],
        memory: PhysicalMemory,
        *,
        upages: int = 2,
    ) -> None:
        if upages < 0:
            raise ValueError(f"upages {upages} is negative")

        fixed = list(_fixed_areas(layout, memory, upages))
        given = [_mapped_area(layout, mapping, memory) for mapping in mappings]
        ordered = sorted(fixed + given, key=lambda area: area.base)
        _check_overlap(ordered)
        refuse_zero = layout.direct_map is not None
        self._areas = tuple(_merged(_page_zero(ordered) if refuse_zero else ordered))
        self._starts = [area.base for area in self._areas]
        self._uarea_size = upages * PAGE_SIZE if layout.uarea_end is not None else 0
        self._uareas: dict[Hashable, bytearray] = {}
        self._read_from = self._write_from = 1
        self._read_end = self._write_end = 0
        self._read_delta = self._write_delta = 0

    @property
    def areas(self) -> tuple[Area, ...]:
        """What is mapped, in address order."""
        return self._areas

    def physical(self, virtual: int, length: int, *, write: bool = False) -> int:
        """Translate a span that lies in one area of physical memory.

        Args:
            virtual: first kernel virtual byte.
            length: bytes.
            write: whether the span is to be written.

        Returns:
            the physical address, or -1 if the span is not one allowed stretch of physical
            memory (take it area by area then).
        """
        if write:
            if self._write_from <= virtual and virtual + length <= self._write_end:
                return virtual + self._write_delta

        elif self._read_from <= virtual and virtual + length <= self._read_end:
            return virtual + self._read_delta

        return self._physical(virtual, length, write)

    def area(self, virtual: int, *, write: bool = False) -> Area:
        """What an access to one byte reaches.

        Raises:
            BadAddress: it is not mapped, not writable, or refused (EFAULT).
        """
        area = self._find(virtual)
        if area is None:
            raise BadAddress(f"kernel address {virtual:#x} is not mapped")

        if area.refusal:
            raise BadAddress(f"kernel address {virtual:#x} {area.refusal}")

        if write and not area.writable:
            raise BadAddress(f"kernel address {virtual:#x} is in the read-only {area}")

        return area

    def check(self, virtual: int, length: int, *, write: bool = False) -> None:
        """Check a whole span before any of it moves (FreeBSD i386 `memrw`).

        Raises:
            BadAddress: a byte of it is not mapped, or not writable (EFAULT).
        """
        cursor, end = virtual, virtual + length
        while cursor < end:
            cursor = self.area(cursor, write=write).end

    def uarea(self, process: Hashable) -> bytearray:
        """The u-area of a process: its own pages, zero at first."""
        if process not in self._uareas:
            self._uareas[process] = bytearray(self._uarea_size)

        return self._uareas[process]

    def release(self, process: Hashable) -> None:
        """Give the u-area of a process back, if it had one."""
        self._uareas.pop(process, None)

    @property
    def uareas(self) -> int:
        """How many processes hold a u-area."""
        return len(self._uareas)

    def _find(self, virtual: int) -> Area | None:
        index = bisect_right(self._starts, virtual) - 1
        if index < 0 or virtual >= self._areas[index].end:
            return None

        return self._areas[index]

    def _physical(self, virtual: int, length: int, write: bool) -> int:
        area = self._find(virtual)
        if area is None or area.delta is None or area.refusal or virtual + length > area.end:
            return -1

        if write and not area.writable:
            return -1

        if write:
            self._write_from, self._write_end = area.base, area.end
            self._write_delta = area.delta
        else:
            self._read_from, self._read_end = area.base, area.end
            self._read_delta = area.delta

        return virtual + area.delta


def _space_end(layout: KernelLayout) -> int:
    """One past the last virtual address of a kernel: 32 or 64 bits, as its base says."""
    return 1 << 32 if layout.kernel_base < 1 << 32 else 1 << 64


def _fixed_areas(layout: KernelLayout, memory: PhysicalMemory, upages: int) -> Iterator[Area]:
    if layout.direct_map is not None:
        limit = min(direct_map_limit(memory.ram_top), memory.top)
        base = layout.direct_map
        if base + limit > _space_end(layout):
            raise ValueError(f"the direct map {base:#x}/{limit:#x} leaves the address space")

        yield Area(base, base + limit, -base, what="direct map")

    if layout.uarea_end is not None and upages:
        base = layout.uarea_end - upages * PAGE_SIZE
        if base < layout.kernel_base:
            raise ValueError(
                f"a u-area of {upages} pages below {layout.uarea_end:#x} reaches under the "
                f"kernel at {layout.kernel_base:#x}"
            )

        yield Area(base, layout.uarea_end, None, what="u-area")


def _mapped_area(layout: KernelLayout, mapping: KernelMapping, memory: PhysicalMemory) -> Area:
    virtual, physical, length = mapping.virtual, mapping.physical, mapping.length
    what = f"kernel mapping {virtual:#x} to {physical:#x}, length {length:#x},"
    if length <= 0 or (virtual | physical | length) % PAGE_SIZE:
        raise ValueError(f"{what} is not a positive number of whole pages of {PAGE_SIZE}")

    lowest = layout.kernel_base
    if layout.direct_map is not None:
        lowest = min(lowest, layout.direct_map)

    if virtual < lowest or virtual + length > _space_end(layout):
        raise ValueError(f"{what} is not inside kernel space {lowest:#x}-{_space_end(layout):#x}")

    if physical < 0 or physical + length > memory.top:
        raise ValueError(f"{what} leaves the {memory.phys_bits} physical address bits of the cpu")

    return Area(virtual, virtual + length, physical - virtual, mapping.writable)


def _check_overlap(ordered: Sequence[Area]) -> None:
    for low, high in pairwise(ordered):
        if low.end > high.base:
            raise ValueError(f"{low} and {high} overlap: a kernel address has one translation")


def _page_zero(areas: Iterable[Area]) -> Iterator[Area]:
    """Refuse mappings of physical page 0 outside the direct map.

    FreeBSD amd64 `memrw` takes a translation to physical page 0 for none.
    """
    for area in areas:
        if area.what != "mapping" or area.delta is None or area.base + area.delta:
            yield area
            continue

        first = area.base + PAGE_SIZE
        yield replace(area, end=first, refusal="maps physical page 0, which is refused")
        if first < area.end:
            yield replace(area, base=first)


def _merged(areas: Iterable[Area]) -> Iterator[Area]:
    """Join neighbours that translate alike, so that a long span is one step."""
    last: Area | None = None
    for area in areas:
        if last and last.end == area.base and replace(last, base=area.base, end=area.end) == area:
            last = replace(last, end=area.end)
            continue

        if last:
            yield last

        last = area

    if last:
        yield last
