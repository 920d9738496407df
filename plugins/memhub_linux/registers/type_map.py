"""The kernel's own map of memory types, and what it looks up in it.

Source: Linux 6.18 `arch/x86/kernel/cpu/mtrr/generic.c` (mtrr_build_map, mtrr_type_lookup).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

UC: Final = 0
WC: Final = 1
WT: Final = 4
WP: Final = 5
WB: Final = 6
#: What the kernel answers for an empty range.
INVALID: Final = 0xFF

_END: Final = 1 << 64


class Stretch(NamedTuple):
    """One entry of the map.

    Attributes:
        start: first byte.
        end: one past the last byte.
        type: the MTRR type.
        fixed: whether variable ranges do not change it.
    """

    start: int
    end: int
    type: int
    fixed: bool


def merge_types(one: int, other: int) -> int:
    """The type of an address that two ranges cover."""
    if UC in (one, other):
        return UC

    if {one, other} == {WB, WT}:
        return WT

    return one if one == other else UC


def build_map(fixed: Sequence[Stretch], ranges: Iterable[tuple[int, int, int]]) -> list[Stretch]:
    """Lay variable ranges over fixed entries.

    Args:
        fixed: the entries that stay, by address; holes between them are free.
        ranges: first byte, one past the last, and type of each variable range.

    Returns:
        the map, by address; neighbours of one type are one entry, unless they are fixed.
    """
    given = [it for it in ranges if it[0] < it[1]]
    edges = sorted({edge for it in (*given, *fixed) for edge in it[:2]})
    found: list[Stretch] = list(fixed)
    for start, end in pairwise(edges):
        if any(it.start <= start < it.end for it in fixed):
            continue

        types = [type_ for low, high, type_ in given if low <= start < high]
        if types:
            merged = types[0]
            for it in types[1:]:
                merged = merge_types(merged, it)

            found.append(Stretch(start, end, merged, fixed=False))

    return _join(sorted(found))


def _join(entries: Iterable[Stretch]) -> list[Stretch]:
    found: list[Stretch] = []
    for it in entries:
        last = found[-1] if found else None
        if (
            last is not None
            and not (last.fixed or it.fixed)
            and (last.end, last.type) == (it.start, it.type)
        ):
            found[-1] = last._replace(end=it.end)
        else:
            found.append(it)

    return found


def look_up(entries: Iterable[Stretch], default: int, start: int, end: int) -> tuple[int, bool]:
    """The type of a range, and whether the kernel takes it for uniform.

    Args:
        entries: the map.
        default: the type of what it does not have.
        start: first byte.
        end: one past the last byte.

    Returns:
        the type, INVALID for an empty range; uniformity is lost only where a merge changes the
        type so far.
    """
    type_, uniform = INVALID, True
    for it in entries:
        if start >= end:
            break

        if start >= it.end:
            continue

        if start < it.start:
            type_, uniform = _merge(type_, default, uniform)
            if end <= it.start:
                return type_, uniform

        type_, uniform = _merge(type_, it.type, uniform)
        start = it.end

    if start < end:
        type_, uniform = _merge(type_, default, uniform)

    return type_, uniform


def _merge(type_: int, new: int, uniform: bool) -> tuple[int, bool]:
    if type_ == INVALID:
        return new, uniform

    merged = merge_types(type_, new)

    return merged, uniform and merged == type_
