"""The memory map of a machine: its regions in order, and what a region may not be."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from memhub.core.memory.physmap import BACKED, check_span

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memhub.core.spec import Region


def sorted_regions(regions: Iterable[Region], phys_bits: int) -> tuple[Region, ...]:
    """The memory map in address order.

    Raises:
        ValueError: a region is empty, negative or past `phys_bits`, has content that does not
            fit it or nothing to keep it in, or overlaps another.
    """
    ordered = tuple(sorted(regions, key=lambda region: region.base))
    for region in ordered:
        _check_region(region, phys_bits)

    for low, high in pairwise(ordered):
        if low.base + low.length > high.base:
            raise ValueError(
                f"{low.kind} region {low.base:#x}/{low.length:#x} and {high.kind} region "
                f"{high.base:#x}/{high.length:#x} overlap: an address has one kind"
            )

    return ordered


def _check_region(region: Region, phys_bits: int) -> None:
    what = f"{region.kind} region"
    check_span(what, region.base, region.length, phys_bits)
    if len(region.data) > region.length:
        raise ValueError(
            f"{what} {region.base:#x}/{region.length:#x}: "
            f"its content of {len(region.data):#x} bytes is longer than the region"
        )

    if region.data and region.kind not in BACKED:
        raise ValueError(f"{what} {region.base:#x} has nothing behind it to keep content in")
