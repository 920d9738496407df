"""The physical address map: what lies at each address, and where its bytes are kept.

The map is a sorted run of segments that covers the whole address space without a gap, so that
a lookup is one bisection and always finds something. Device windows lie on top: like a bus
that decodes a device before memory, a window hides what the memory map says there, and what it
hid comes back when it goes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal, Protocol

from memhub.abi import PAGE_SIZE
from memhub.core.memory.backing import STORE_MAX
from memhub.core.neighbours import join_neighbours

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from memhub.core.memory.placed import PlacedDevice
    from memhub.core.spec import Region, RegionKind

#: What lies behind a stretch of addresses.
SegmentKind = Literal["ram", "rom", "open", "mmio"]

#: Kinds of region with memory behind them; the others are open bus.
BACKED: Final[frozenset[RegionKind]] = frozenset({"ram", "rom", "acpi", "nvs", "device"})

#: Bytes 0xff at the start of the file that holds the ROM; open bus is mapped from them.
OPEN_BUS_SIZE: Final = 1 << 20


class MmioDevice(Protocol):
    """A device model that an embedder maps into physical memory. The core never calls it."""

    async def read(self, offset: int, size: int) -> bytes:
        """Answer `size` bytes from `offset` into the window."""

    async def write(self, offset: int, data: bytes) -> None:
        """Take `data` at `offset` into the window."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of physical addresses that a device answers.

    Attributes:
        base: first physical byte.
        length: bytes.
        device: what answers there.
        first: its state when it was mapped; None where it cannot say it.
        placed: what was declared of it; None for a device that an embedder mapped.
    """

    base: int
    length: int
    device: MmioDevice
    first: bytes | None = field(default=None, compare=False, repr=False)
    placed: PlacedDevice | None = field(default=None, compare=False, repr=False)

    @property
    def end(self) -> int:
        """One past the last byte."""
        return self.base + self.length


@dataclass(frozen=True, slots=True)
class Extent:
    """A stretch of physical memory and its place in a file.

    Attributes:
        base: first physical byte.
        length: bytes.
        offset: where `base` lies in the store, or for ROM in the file of `MemoryFiles.open_rom`;
            congruent to `base` modulo the page size.
        kind: the region's kind.
        data: its first bytes; all of them, padded to whole pages, where it is ROM.
        parts: what it holds beside them: how far from `base`, and the bytes.
    """

    base: int
    length: int
    offset: int
    kind: RegionKind
    data: bytes = b""
    parts: tuple[tuple[int, bytes], ...] = ()

    def placed(self) -> Iterator[tuple[int, bytes]]:
        """What it holds, with its places in the file."""
        if self.data:
            yield self.offset, self.data

        for place, data in self.parts:
            yield self.offset + place, data


@dataclass(frozen=True, slots=True)
class Segment:
    """A longest stretch of addresses that behave alike.

    Attributes:
        base: first physical byte.
        end: one past the last.
        kind: `open` reads 0xff and swallows writes; `rom` swallows writes; `mmio` has a window.
        delta: address plus delta is the place in the store, or in `content`; None where nothing
            is kept there (open bus, a device, the part of a ROM behind its content: all 0xff).
        window: the device window, for `mmio`.
        content: what a ROM holds.
    """

    base: int
    end: int
    kind: SegmentKind
    delta: int | None = None
    window: Window | None = None
    content: bytes = b""


def check_span(what: str, base: int, length: int, phys_bits: int) -> None:
    """Refuse a stretch that is empty or leaves the physical address space.

    Raises:
        ValueError: names the stretch and the rule.
    """
    if base < 0:
        raise ValueError(f"{what} at {base:#x}: an address is not negative")

    if length <= 0:
        raise ValueError(f"{what} at {base:#x}: length {length:#x} is not positive")

    if base + length > 1 << phys_bits:
        raise ValueError(
            f"{what} {base:#x}/{length:#x} ends at {base + length:#x}, "
            f"past the {phys_bits} physical address bits of the cpu ({1 << phys_bits:#x})"
        )


def pack(
    regions: Sequence[Region], parts: Mapping[int, tuple[tuple[int, bytes], ...]]
) -> tuple[Extent, ...]:
    """Lay the backed regions out: the RAM in the store, the ROM in a file of its own.

    Args:
        regions: as `sorted_regions` answers.
        parts: what regions hold beside their `data`, by their bases.

    Returns:
        the extents in address order.

    Raises:
        ValueError: the regions hold more than one process can map.
    """
    ram = _pack_regions([region for region in regions if region.kind != "rom"], 0)
    rom = _pack_regions([region for region in regions if region.kind == "rom"], OPEN_BUS_SIZE)

    packed = sorted(ram + rom, key=lambda extent: extent.base)

    return tuple(replace(it, parts=parts.get(it.base, ())) if parts else it for it in packed)


def _pack_regions(regions: Sequence[Region], start: int) -> list[Extent]:
    """Lay regions out from `start` on, one after the other.

    Regions that touch stay neighbours, and every page keeps its shape: an address and its
    place in the file are equal modulo the page size. Of a ROM only the pages with content
    are kept.
    """
    extents: list[Extent] = []
    cursor, end = start, 0
    for region in regions:
        kept, data = _kept_bytes(region)
        if not kept:
            continue

        if region.base // PAGE_SIZE > (end - 1) // PAGE_SIZE:
            cursor = page_up(cursor) + region.base % PAGE_SIZE
        else:
            cursor += region.base - end

        extents.append(Extent(region.base, kept, cursor, region.kind, data))
        cursor += kept
        end = region.base + kept

    if cursor > STORE_MAX:
        raise ValueError(
            f"the memory map holds {cursor:#x} bytes of memory, "
            f"more than the {STORE_MAX:#x} that one process can map"
        )

    return extents


def store_size(extents: Sequence[Extent]) -> int:
    """Bytes of a file that holds `extents`, in whole pages."""
    return page_up(extents[-1].offset + extents[-1].length) if extents else 0


def page_up(place: int) -> int:
    """The first page border at or after `place`."""
    return -(-place // PAGE_SIZE) * PAGE_SIZE


def _kept_bytes(region: Region) -> tuple[int, bytes]:
    """How many bytes of a region are kept in the store, and what they begin with."""
    if region.kind not in BACKED:
        return 0, b""

    if region.kind != "rom":
        return region.length, region.data

    if not region.data:
        return 0, b""

    end = min(page_up(region.base + len(region.data)), region.base + region.length)

    return end - region.base, region.data.ljust(end - region.base, b"\xff")


def flatten(
    extents: Sequence[Extent], regions: Sequence[Region], phys_bits: int
) -> tuple[Segment, ...]:
    """Segments over the whole address space, without windows."""
    known = [
        Segment(e.base, e.base + e.length, "rom", -e.base, content=e.data)
        if e.kind == "rom"
        else Segment(e.base, e.base + e.length, "ram", e.offset - e.base)
        for e in extents
    ]
    known += _rom_tails(extents, regions)
    known.sort(key=lambda segment: segment.base)

    return tuple(_merge_segments(_fill_holes(known, 1 << phys_bits)))


def _rom_tails(extents: Sequence[Extent], regions: Sequence[Region]) -> Iterator[Segment]:
    kept = {extent.base: extent.length for extent in extents}
    for region in regions:
        first = region.base + kept.get(region.base, 0)
        if region.kind == "rom" and first < region.base + region.length:
            yield Segment(first, region.base + region.length, "rom")


def _fill_holes(known: Iterable[Segment], top: int) -> Iterator[Segment]:
    cursor = 0
    for segment in known:
        if cursor < segment.base:
            yield Segment(cursor, segment.base, "open")

        yield segment
        cursor = segment.end

    if cursor < top:
        yield Segment(cursor, top, "open")


def _merge_segments(segments: Iterable[Segment]) -> Iterator[Segment]:
    return join_neighbours(segments, _join_segments)


def _join_segments(last: Segment, segment: Segment) -> Segment | None:
    is_alike = (last.kind, last.delta) == (segment.kind, segment.delta)

    return replace(last, end=segment.end) if is_alike else None


def overlay(ground: Sequence[Segment], windows: Sequence[Window]) -> Iterator[Segment]:
    """Put device windows on top of `ground`.

    Args:
        ground: segments in order, without a gap.
        windows: in address order, not overlapping.
    """
    waiting = iter(windows)
    window = next(waiting, None)
    for segment in ground:
        cursor = segment.base
        while window and window.base < segment.end:
            if cursor < window.base:
                yield replace(segment, base=cursor, end=window.base)

            if segment.base <= window.base:
                yield Segment(window.base, window.end, "mmio", None, window)

            cursor = min(window.end, segment.end)
            if window.end > segment.end:
                break

            window = next(waiting, None)

        if cursor < segment.end:
            yield replace(segment, base=cursor)


def with_window(windows: tuple[Window, ...], window: Window, phys_bits: int) -> tuple[Window, ...]:
    """Some device windows and one more, in address order.

    Raises:
        ValueError: it is empty, leaves the physical address space, or overlaps another.
    """
    base, length = window.base, window.length
    check_span("device window", base, length, phys_bits)
    for other in windows:
        if other.base < window.end and base < other.end:
            raise ValueError(
                f"device window {base:#x}/{length:#x} overlaps window "
                f"{other.base:#x}/{other.length:#x}: one device answers an address"
            )

    return tuple(sorted((*windows, window), key=lambda it: it.base))


def without_window(windows: tuple[Window, ...], window: Window) -> tuple[Window, ...]:
    """Some device windows without one of them.

    Raises:
        ValueError: it is not among them.
    """
    left = tuple(other for other in windows if other is not window)
    if len(left) == len(windows):
        raise ValueError(f"device window {window.base:#x}/{window.length:#x} is not mapped")

    return left
