"""Stretches of addresses: flatten rows that overlap, multiply two layers, expand masks.

A *layer* is two lists of one length: `starts`, ascending from 0, and `values`, what holds from
each start to the next. The last one holds to the end of the address space.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")


def flatten(rows: Iterable[tuple[int, int, T]], default: T) -> tuple[list[int], list[T]]:
    """Make a layer of rows that may overlap.

    Args:
        rows: `(first, end, value)`, the end exclusive; where rows overlap the earlier wins, and
            a row whose end is not above its first address counts for nothing.
        default: what holds where no row does.

    Returns:
        `starts` and `values`; neighbours may have equal values.
    """
    kept = [row for row in rows if row[0] < row[1]]
    order = sorted(range(len(kept)), key=lambda index: kept[index][0])
    disjoint = _lay_disjoint([kept[index] for index in order], default)

    return disjoint if disjoint is not None else _lay_overlapping(kept, order, default)


def _lay_disjoint(
    rows: Sequence[tuple[int, int, T]], default: T
) -> tuple[list[int], list[T]] | None:
    starts: list[int] = []
    values: list[T] = []
    reached = 0
    for first, end, value in rows:
        if first < reached:
            return None

        if first > reached:
            starts.append(reached)
            values.append(default)

        starts.append(first)
        values.append(value)
        reached = end

    starts.append(reached)
    values.append(default)

    return starts, values


def _lay_overlapping(
    rows: Sequence[tuple[int, int, T]], order: Sequence[int], default: T
) -> tuple[list[int], list[T]]:
    """Sweep the borders; a heap of row numbers has the earliest live row on top."""
    starts: list[int] = []
    values: list[T] = []
    live: list[int] = []
    coming = 0
    for border in sorted({0, *(row[0] for row in rows), *(row[1] for row in rows)}):
        while coming < len(order) and rows[order[coming]][0] <= border:
            heapq.heappush(live, order[coming])
            coming += 1

        while live and rows[live[0]][1] <= border:
            heapq.heappop(live)

        starts.append(border)
        values.append(rows[live[0]][2] if live else default)

    return starts, values


def product(
    first: tuple[Sequence[int], Sequence[T]],
    second: tuple[Sequence[int], Sequence[U]],
    combine: Callable[[T, U], V],
) -> tuple[list[int], list[V]]:
    """Combine two layers, piece by piece.

    Args:
        first: a layer.
        second: another.
        combine: gives the value where `first` and `second` hold their two values.

    Returns:
        the combined layer; neighbours may have equal values.
    """
    starts_a, values_a = first
    starts_b, values_b = second
    last_a, last_b = len(starts_a) - 1, len(starts_b) - 1
    at_a = at_b = 0
    starts = [0]
    values = [combine(values_a[0], values_b[0])]
    while at_a < last_a or at_b < last_b:
        if at_b == last_b or (at_a < last_a and starts_a[at_a + 1] <= starts_b[at_b + 1]):
            at_a += 1
            start = starts_a[at_a]
            at_b += at_b < last_b and starts_b[at_b + 1] == start
        else:
            at_b += 1
            start = starts_b[at_b]

        starts.append(start)
        values.append(combine(values_a[at_a], values_b[at_b]))

    return starts, values


def blocks(value: int, mask: int, bits: int) -> tuple[int, int]:
    """How many equal blocks a mask matches, and how long each is.

    Args:
        value: what the masked address must equal; its bits lie inside `mask`.
        mask: the address bits that count, all below bit `bits`.
        bits: width of an address.

    Returns:
        the count and the length. A mask of zero matches one block: everything.
    """
    if value & ~mask:
        return 0, 0

    if not mask:
        return 1, 1 << bits

    length = mask & -mask

    return 1 << (bits - (length.bit_length() - 1) - mask.bit_count()), length


def matching(value: int, mask: int, bits: int) -> list[int]:
    """First addresses of the blocks that a mask matches, ascending; see `blocks`."""
    first = [value]
    for bit in range((mask & -mask).bit_length(), bits) if mask else ():
        if not mask >> bit & 1:
            first += [start | 1 << bit for start in first]

    return first


def next_border(address: int, value: int, mask: int, bits: int) -> int:
    """First address above `address` at which a mask starts or stops to match.

    Args:
        address: below `1 << bits`.
        value: as for `blocks`.
        mask: as for `blocks`.
        bits: width of an address.

    Returns:
        that address; `1 << bits` if nothing changes any more.
    """
    end = 1 << bits
    if not mask:
        return end

    if address & mask == value:
        return (address | (mask & -mask) - 1) + 1

    return _next_match(address, value, mask, end)


def _next_match(address: int, value: int, mask: int, end: int) -> int:
    """The smallest match above a mismatch: keep a prefix, raise one free bit, or take `value`.

    The highest differing bit decides. Where the value has a one there, the free bits below drop
    to zero; where it has a zero, the next free zero bit above must rise first.
    """
    top = 1 << ((address & mask) ^ value).bit_length() - 1
    if not value & top:
        rise = ~address & ~mask & (end - 1) & -(top << 1)
        if not rise:
            return end

        top = rise & -rise
        address |= top

    return address & ~mask & -top | value
