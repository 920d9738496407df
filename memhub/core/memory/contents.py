"""What physical memory holds at the start: where the bytes go, and what does not fit."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from memhub.arguments import take_buffer, take_integer, take_kind
from memhub.core.memory.physmap import BACKED
from memhub.core.spec import Content

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from memhub.core.spec import Region

    #: Bytes and how far from the first byte of their region they begin.
    Part = tuple[int, bytes]

#: A ROM's content is kept as one piece from its first byte on, so it ends before this.
ROM_MAX: Final = 1 << 28


def take_contents(contents: object) -> tuple[Content, ...]:
    """Contents with Python's own plain values.

    Raises:
        TypeError: it is not several contents, or names the one and the field that is wrong.
    """
    if not hasattr(type(contents), "__iter__") or isinstance(contents, str | bytes):
        raise TypeError(f"contents {contents!r:.80} is not several contents")

    return tuple([_take_content(place, it) for place, it in enumerate(contents)])  # type: ignore[arg-type,var-annotated]


def _take_content(place: int, it: Content) -> Content:
    where = f"contents[{place}]"
    take_kind(where, it, Content)
    base, zeros = (take_integer(f"{where}.{key}", getattr(it, key)) for key in ("base", "zeros"))

    return replace(it, base=base, data=bytes(take_buffer(f"{where}.data", it.data)), zeros=zeros)


def sorted_contents(contents: Iterable[Content], phys_bits: int) -> tuple[Content, ...]:
    """Contents in address order.

    Raises:
        ValueError: one is empty, negative or past `phys_bits`, or two overlap.
    """
    ordered = tuple(sorted(contents, key=lambda it: it.base))
    for it in ordered:
        if it.base < 0 or it.zeros < 0 or it.end == it.base:
            raise ValueError(f"{it} is not a stretch of addresses from 0 on")

        if it.end > 1 << phys_bits:
            raise ValueError(
                f"{it} ends at {it.end:#x}, past the {phys_bits} physical address bits of the cpu"
            )

    for low, high in overlaps_in(ordered):
        raise ValueError(f"{high} overlaps {low}: a byte is given once")

    return ordered


def overlaps_in(ordered: Sequence[Content]) -> Iterator[tuple[Content, Content]]:
    """Neighbours of contents in address order of which the lower reaches into the higher."""
    return ((low, high) for low, high in pairwise(ordered) if low.end > high.base)


def fill_regions(
    regions: Sequence[Region], contents: Iterable[Content], phys_bits: int
) -> tuple[tuple[Region, ...], dict[int, tuple[Part, ...]]]:
    """Give each region what lies in it.

    Args:
        regions: in address order.
        contents: in any order.
        phys_bits: physical address width in bits.

    Returns:
        the regions, of which a ROM has its content in its `data`; and for each other one, by its
        base, the bytes that it holds beside its `data`.

    Raises:
        ValueError: a content lies where nothing keeps it, over the `data` of a region, or over
            another; or `sorted_contents` refuses it.
    """
    parts: dict[int, list[Part]] = {}
    roms: dict[int, list[tuple[int, bytes, int]]] = {}
    for it in sorted_contents(contents, phys_bits):
        for region, part, zeros in _cut_content(it, regions):
            if region.kind == "rom":
                roms.setdefault(region.base, []).append((*part, zeros))
            elif part[1]:
                parts.setdefault(region.base, []).append(part)

    filled = tuple(
        replace(it, data=_rom_bytes(it.data, roms[it.base])) if it.base in roms else it
        for it in regions
    )

    return filled, {base: tuple(found) for base, found in parts.items()}


def _cut_content(it: Content, regions: Sequence[Region]) -> Iterator[tuple[Region, Part, int]]:
    """Cut a content at the borders of regions: the region, its bytes, and zeros behind them."""
    cursor, data_end = it.base, it.base + len(it.data)
    while cursor < it.end:
        index = bisect_right(regions, cursor, key=lambda region: region.base) - 1
        region = regions[index] if index >= 0 else None
        if it.loose and cursor >= data_end and not _takes_zeros(region, cursor):
            cursor = _next_border(regions, index, cursor, it.end)
            continue

        if region is None or region.base + region.length <= cursor or region.kind not in BACKED:
            raise ValueError(f"{it} does not fit: nothing keeps the byte at {cursor:#x}")

        if region.kind == "device":
            raise ValueError(f"{it} overlaps the memory of a device at {region.base:#x}")

        if cursor < region.base + len(region.data):
            raise ValueError(
                f"{it} overlaps the data of the {region.kind} region at {region.base:#x}"
            )

        end = min(it.end, region.base + region.length)
        if region.kind == "rom" and end - region.base > ROM_MAX:
            raise ValueError(f"{it} is further than {ROM_MAX:#x} bytes into the ROM")

        data = it.data
        if cursor > it.base or end < data_end:
            data = data[cursor - it.base : max(end, it.base) - it.base]

        yield region, (cursor - region.base, data), end - cursor - len(data)
        cursor = end


def _takes_zeros(region: Region | None, address: int) -> bool:
    """Whether zeros that say nothing of their own are put at an address."""
    if region is None or region.base + region.length <= address:
        return False

    return region.kind in BACKED - {"device"} and address >= region.base + len(region.data)


def _next_border(regions: Sequence[Region], index: int, address: int, end: int) -> int:
    """Where something else begins behind an address, or `end`."""
    borders = [end]
    if index >= 0:
        region = regions[index]
        borders += [region.base + len(region.data), region.base + region.length]

    if index + 1 < len(regions):
        borders.append(regions[index + 1].base)

    return min(it for it in borders if it > address)


def _rom_bytes(first: bytes, found: Iterable[tuple[int, bytes, int]]) -> bytes:
    """What a ROM holds from its first byte on; what nobody gave is 0xff."""
    held = bytearray(first)
    for place, data, zeros in found:
        held += b"\xff" * (place - len(held))
        held += data
        held += bytes(zeros)

    return bytes(held)
