"""The firmware's memory map, as a Linux boot log prints it.

Source: Linux `arch/x86/kernel/e820.c` (e820__print_table, and the precedence of types in
e820__update_table).
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Final

from memhub.config.importers.model import quote
from memhub.core.spec import Region, RegionKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_HEADER: Final = re.compile(r"\b(?:BIOS-provided physical|Xen-e820|EFI) RAM map:", re.I)
_ENTRY: Final = re.compile(r"\b(?:BIOS-e820|BIOS-88|BIOS-e801|Xen): ?", re.I)
_NEW: Final = re.compile(
    r"^\[(?:mem )?(?:0x)?([0-9a-f]{1,16})(?:-|, )(?:0x)?([0-9a-f]{1,16})\] ?(\S.{0,60})?$", re.I
)
_OLD: Final = re.compile(r"^(?:0x)?([0-9a-f]{1,16}) - (?:0x)?([0-9a-f]{1,16}) \((.{0,60})\)$", re.I)
#: Rows of the hypervisor's own map: only the prefix distinguishes them.
_XEN_ROW: Final = re.compile(r"\(XEN\) ?(?=\[?[0-9a-f]{16}(?:, | - )[0-9a-f]{16})", re.I)

_KINDS: Final[Mapping[str, RegionKind]] = {
    "usable": "ram",
    "ram": "ram",
    "reserved": "reserved",
    "acpi data": "acpi",
    "acpi nvs": "nvs",
    "unusable": "unusable",
}

#: Where entries overlap, the kind further right counts, as in Linux.
_RANKS: Final[Sequence[RegionKind]] = ("ram", "rom", "reserved", "acpi", "nvs", "unusable")


def parse_e820(lines: Iterable[str], oddities: list[str]) -> tuple[Region, ...]:
    """Read the memory map.

    Args:
        lines: the log, without time stamps.
        oddities: receives a sentence for each entry that cannot be read or overlaps another.

    Returns:
        regions in address order, without overlaps; empty where the log has no map.
    """
    regions: list[Region] = []
    for line in lines:
        if _HEADER.search(line):
            if regions:
                oddities.append("the log holds more than one memory map: the last one counts")

            regions = []
        elif match := _ENTRY.search(line) or _XEN_ROW.search(line):
            region = _parse_entry(" ".join(line[match.end() :].split()), oddities)
            if region is None and match[0].startswith("Xen"):
                continue  # a message of a guest's kernel, not of its map

            if region is None:
                oddities.append(f"memory map line not understood: {quote(line)}")
            else:
                regions.append(region)

    return _resolve_overlaps(sorted(regions, key=lambda region: region.base), oddities)


def clip(regions: Sequence[Region], phys_bits: int, oddities: list[str]) -> tuple[Region, ...]:
    """Cut what lies past the physical address width, and report it."""
    limit = 1 << phys_bits
    kept = []
    for region in regions:
        if region.base + region.length > limit:
            what = f"{region.kind} {region.base:#x}/{region.length:#x}"
            oddities.append(f"memory map: {what} runs past {phys_bits} bits and is cut")

        if region.base < limit:
            length = min(region.length, limit - region.base)
            kept.append(Region(base=region.base, length=length, kind=region.kind))

    return tuple(kept)


def _parse_entry(rest: str, oddities: list[str]) -> Region | None:
    if match := _NEW.match(rest):
        base, end = int(match[1], 16), int(match[2], 16) + 1
    elif match := _OLD.match(rest):
        base, end = int(match[1], 16), int(match[2], 16)
    else:
        return None

    if not base < end <= 1 << 64:
        return None

    word = (match[3] or "").lower().strip("()")
    kind = _KINDS.get(word)
    if kind is None:
        oddities.append(f"memory map: kind {word!r} at {base:#x} is taken as reserved")

    return Region(base=base, length=end - base, kind=kind or "reserved")


def _resolve_overlaps(regions: Sequence[Region], oddities: list[str]) -> tuple[Region, ...]:
    """Walk the entries in address order; a later one replaces what it overlaps."""
    settled: list[Region] = []
    for region in regions:
        rivals = []
        while settled and settled[-1].base + settled[-1].length > region.base:
            rivals.append(settled.pop())

        if rivals:
            oddities.extend(_describe_overlap(rival, region) for rival in reversed(rivals))
            settled.extend(_flatten_regions([*rivals, region]))
        else:
            settled.append(region)

    return tuple(settled)


def _describe_overlap(one: Region, other: Region) -> str:
    winner = max(one.kind, other.kind, key=_RANKS.index)

    return (
        f"memory map: {one.kind} {one.base:#x}/{one.length:#x} and "
        f"{other.kind} {other.base:#x}/{other.length:#x} overlap: {winner} counts"
    )


def _flatten_regions(regions: Sequence[Region]) -> list[Region]:
    ends = [region.base + region.length for region in regions]
    points = sorted({*(region.base for region in regions), *ends})
    flat: list[Region] = []
    for start, stop in itertools.pairwise(points):
        kinds = [
            region.kind
            for region, end in zip(regions, ends, strict=True)
            if region.base <= start < end
        ]
        if not kinds:
            continue

        kind = max(kinds, key=_RANKS.index)
        if flat and flat[-1].kind == kind and flat[-1].base + flat[-1].length == start:
            start = flat.pop().base

        flat.append(Region(base=start, length=stop - start, kind=kind))

    return flat
