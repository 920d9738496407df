"""The fewest items that still fail: delta debugging, by Zeller and Hildebrandt (2002), ddmin."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")


def find_fewest(
    items: Sequence[T], fails: Callable[[Sequence[T]], bool], runs: int
) -> tuple[list[T], int]:
    """Leave items out while what is left still fails.

    Args:
        items: items that fail.
        fails: whether some of them, in their order, fail too.
        runs: how often `fails` is asked at most.

    Returns:
        what is left: none of it can be left out alone, unless `runs` were too few; and how often
        `fails` was asked.
    """
    best, asked, parts = list(items), 0, 2
    while len(best) >= 1:
        for part in _smaller(best, parts):
            if asked == runs:
                return best, asked

            asked += 1
            if fails(part):
                parts = max(2, parts - 1) if len(part) > len(best) // parts else 2
                best = part
                break
        else:
            if parts >= len(best):
                break

            parts = min(2 * parts, len(best))

    return best, asked


def _smaller(items: list[T], parts: int) -> Iterator[list[T]]:
    """The items by halves, thirds, …: each part alone, and all but each part."""
    size = -(-len(items) // parts)
    cuts = range(0, len(items), size)
    if parts == 2:
        yield from (items[at : at + size] for at in cuts if len(items) > size)
    else:
        yield from (items[at : at + size] for at in cuts)

    yield from (items[:at] + items[at + size :] for at in cuts)
