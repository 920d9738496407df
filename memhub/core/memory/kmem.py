"""Kernel virtual memory: what `/dev/kmem` addresses mean, and what may be done with them.

Sources: FreeBSD `sys/vm/vm_glue.c` (kernacc), `sys/amd64/amd64/mem.c`, `sys/i386/i386/mem.c` and
`sys/powerpc/powerpc/mem.c` (memrw).
"""

from __future__ import annotations

from bisect import bisect_right
from copy import copy
from typing import TYPE_CHECKING, Self

from memhub.abi import PAGE_SIZE
from memhub.core.kernel import DEFAULT_RULES
from memhub.core.memory.areas import build_areas
from memhub.errors import BadAddress

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

    from memhub.core.kernel import Kernel, KernelLayout, TransferRules
    from memhub.core.memory.areas import Area
    from memhub.core.memory.physical import PhysicalMemory
    from memhub.core.spec import KernelEntry, KernelMapping, MachineSpec


class KernelMemory:
    """The kernel address space of one machine.

    Args:
        layout: where the kernel's addresses lie.
        mappings: the machine's own pages, in any order.
        memory: the physical memory behind them.
        entries: the kernel's map entries, in any order; None takes one for each mapping, with
            the mapping's rights.
        rules: how the kernel decides.
        upages: pages of the per-process u-area, where the layout has one.

    Attributes:
        layout: where the kernel's addresses lie.

    Raises:
        ValueError: a mapping or an entry is not in whole pages, leaves the kernel's or the
            physical address space, or overlaps another, the direct map or the u-area.
    """

    __slots__ = (
        "_areas",
        "_copies_by_buffer",
        "_map_max",
        "_page_zero",
        "_read_delta",
        "_read_end",
        "_read_from",
        "_starts",
        "_uarea_size",
        "_uareas",
        "_write_delta",
        "_write_end",
        "_write_from",
        "layout",
    )

    def __init__(
        self,
        layout: KernelLayout,
        mappings: Iterable[KernelMapping],
        memory: PhysicalMemory,
        *,
        entries: Iterable[KernelEntry] | None = None,
        rules: TransferRules = DEFAULT_RULES,
        upages: int = 2,
    ) -> None:
        if upages < 0:
            raise ValueError(f"upages {upages} is negative")

        self.layout = layout
        self._areas = build_areas(layout, mappings, memory, entries, rules, upages)
        self._starts = [area.base for area in self._areas]
        self._map_max = layout.space_end if layout.map_max is None else layout.map_max
        self._page_zero = rules.page_zero
        self._copies_by_buffer = rules.kmem_check == "buffer"
        self._uarea_size = upages * PAGE_SIZE if layout.uarea_end is not None else 0
        self._uareas: dict[Hashable, bytearray] = {}
        self._read_from = self._write_from = 1
        self._read_end = self._write_end = 0
        self._read_delta = self._write_delta = 0

    @classmethod
    def make(cls, spec: MachineSpec, kernel: Kernel, memory: PhysicalMemory) -> Self:
        """The kernel memory of a machine whose specification may have its own layout."""
        return cls(
            spec.layout or kernel.layout,
            spec.kmem,
            memory,
            entries=spec.kmem_entries,
            rules=kernel.rules,
            upages=spec.upages,
        )

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

        return self._physical_address(virtual, length, write)

    def area(self, virtual: int, *, write: bool = False) -> Area:
        """What an access that begins at a byte reaches.

        Raises:
            BadAddress: no map entry allows it, no page is there, or it is physical page 0 and
                the kernel refuses that (EFAULT).
        """
        area = self._allowed_area(virtual, write)
        if not area.present:
            raise _no_page(virtual)

        if area.page_zero and (
            self._page_zero == "whole page"
            or (self._page_zero == "first byte" and virtual == area.base)
        ):
            raise _is_page_zero(virtual)

        return area

    def check_entries(self, virtual: int, length: int, *, write: bool = False) -> None:
        """Check the map entries under a span, as kernacc does.

        Raises:
            BadAddress: an entry is missing or lacks the right, or the span ends past the
                kernel's map (EFAULT).
        """
        end = virtual + length
        if end > self._map_max:
            raise BadAddress(f"{virtual:#x}/{length:#x} ends past the kernel's map")

        while virtual < end:
            virtual = self._allowed_area(virtual, write).end

    def check_pages(self, virtual: int, length: int) -> None:
        """Check that a page is behind every byte of a span, as pmap_extract tells it.

        Raises:
            BadAddress: a page is missing, or is physical page 0 and so counts as missing
                (EFAULT).
        """
        end = virtual + length
        while virtual < end:
            area = self.find(virtual)
            if area is None or not area.present:
                raise _no_page(virtual)

            if area.page_zero and self._page_zero != "allowed":
                raise _is_page_zero(virtual)

            virtual = area.end

    def find(self, virtual: int) -> Area | None:
        """The area that an address lies in, or None."""
        index = bisect_right(self._starts, virtual) - 1
        if index < 0 or virtual >= self._areas[index].end:
            return None

        return self._areas[index]

    def areas_of(self, virtual: int, length: int) -> tuple[Area, ...]:
        """The areas that a span touches, in order."""
        first = bisect_right(self._starts, virtual) - 1
        last = bisect_right(self._starts, virtual + length - 1)

        return self._areas[first:last]

    def uarea(self, process: Hashable) -> bytearray:
        """The u-area of a process: its own pages, zero at first."""
        if process not in self._uareas:
            self._uareas[process] = bytearray(self._uarea_size)

        return self._uareas[process]

    def release(self, process: Hashable) -> None:
        """Give the u-area of a process back, if it had one."""
        self._uareas.pop(process, None)

    def fork(self) -> KernelMemory:
        """Another address space like this, with copies of the u-areas."""
        twin = copy(self)
        twin.replace_uareas(self.held_uareas())

        return twin

    def held_uareas(self) -> dict[int, bytes]:
        """The u-areas by process id."""
        return {who: bytes(held) for who, held in self._uareas.items() if isinstance(who, int)}

    def replace_uareas(self, held: Mapping[int, bytes]) -> None:
        """Let processes have these u-areas, and no others."""
        self._uareas = {who: bytearray(it) for who, it in held.items()}

    @property
    def uareas(self) -> int:
        """How many processes hold a u-area."""
        return len(self._uareas)

    def _allowed_area(self, virtual: int, write: bool) -> Area:
        area = self.find(virtual)
        if area is None or not (area.readable or area.writable):
            raise BadAddress(f"kernel address {virtual:#x} is not mapped")

        if write and not area.writable:
            raise BadAddress(f"kernel address {virtual:#x} is in the read-only {area}")

        if not write and not area.readable:
            raise BadAddress(f"kernel address {virtual:#x} is in the write-only {area}")

        return area

    def _physical_address(self, virtual: int, length: int, write: bool) -> int:
        area = self.find(virtual)
        if area is None or area.delta is None:
            return -1

        end = area.end if area.what == "direct map" else min(area.end, self._map_max)
        allowed = area.writable if write else area.readable
        if write and self._copies_by_buffer:
            allowed = allowed and area.page_writable

        refused = area.page_zero and self._page_zero != "allowed"
        if not allowed or refused or virtual + length > end:
            return -1

        if write:
            self._write_from, self._write_end = area.base, end
            self._write_delta = area.delta
        else:
            self._read_from, self._read_end = area.base, end
            self._read_delta = area.delta

        return virtual + area.delta


def _no_page(virtual: int) -> BadAddress:
    return BadAddress(f"kernel address {virtual:#x} has no page behind it")


def _is_page_zero(virtual: int) -> BadAddress:
    return BadAddress(f"kernel address {virtual:#x} maps physical page 0, which is refused")
