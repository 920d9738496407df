"""Where ranges are looked for that are not usual, far above 4 GiB, long, or in fine steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.abi import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Span = tuple[int, int]
_GIB: Final = 1 << 30
_4_GIB: Final = 4 * _GIB
#: Lengths in pages that are no powers of two, and powers of two times those.
_ODD_PAGES: Final = (1, 3, 5, 7, 9, 15)
_PLACES: Final = (0, 1 << 20, 15 << 20, 16 << 20, 1 << 28, _GIB, 2 * _GIB, _4_GIB, 8 * _GIB)
_LONG: Final = (1 << 25, 1 << 28, _GIB, 2 * _GIB, _4_GIB, 8 * _GIB, 1 << 34, 1 << 39)
_FAR_MOST: Final = 20


def unusual_spans(end: int) -> Iterator[Span]:
    """Ranges below the CPU's end that a driver may take if it takes no usual one."""
    for shift in range(end.bit_length() - PAGE_SIZE.bit_length()):
        for pages in _ODD_PAGES:
            length = PAGE_SIZE * pages << shift
            bases = {-(-place // length) * length for place in _PLACES}
            for base in sorted({*bases, *_PLACES}):
                if base + length <= end:
                    yield base, length


def far_spans(unit: int, end: int) -> list[Span]:
    """Multiples of a unit below, across and above 4 GiB, at the CPU's end, and long."""
    below = (_4_GIB - unit) // unit * unit
    found = [(below, unit), (below, 2 * unit), (below - unit, 4 * unit)]
    for place in (_4_GIB, 12 * _GIB, 1 << 35, 1 << 40, end - unit):
        base = place // unit * unit
        found += [(base, unit), (base, 2 * unit)]

    for least in (*_LONG, end // 2):
        length = -(-least // unit) * unit
        found += [(base, length) for base in (0, length, _4_GIB // length * length)]

    fitting = dict.fromkeys(it for it in found if it[0] >= 0 and sum(it) <= end)

    return list(fitting)


def choose_far(spans: list[Span]) -> list[Span]:
    """So many of them that a check does not take long: one of each end, and of each length."""
    if len(spans) <= _FAR_MOST:
        return spans

    short = spans[: _FAR_MOST // 2]
    seen: dict[int, Span] = {}
    for it in spans[_FAR_MOST // 2 :]:
        seen.setdefault(it[1], it)

    return [*short, *list(seen.values())[-_FAR_MOST // 2 :]]


def far_overlaps(spans: list[Span]) -> list[tuple[Span, Span]]:
    """Pairs of a range and a longer one from the same base, and across its middle, both ways."""
    pairs = [
        (one, other) for one in spans for other in spans if one[0] == other[0] and one[1] < other[1]
    ]
    chosen = {one[1] * (1 + (one[0] >= _4_GIB)): (one, other) for one, other in pairs}

    return [pair for it in chosen.values() for pair in (it, it[::-1])]


def finest_step(base: int, unit: int, is_granted: Callable[[Span], bool]) -> int:
    """By how little a range can be moved: a power of two, or the unit."""
    step = 1
    while step < unit and not is_granted((base + step, unit)):
        step *= 2

    return min(step, unit)


def fine_overlaps(base: int, unit: int, step: int) -> list[tuple[Span, Span]]:
    """Pairs that have no more than one step in common, both ways."""
    if step >= unit:
        return []

    one, other = (base, unit), (base + unit - step, unit)

    return [(one, other), (other, one)]
