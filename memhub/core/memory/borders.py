"""Stretches of pages as a sorted list of borders: where each begins and ends, in turn."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from memhub.abi import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator


def note_stretch(borders: list[int], first: int, last: int) -> bool:
    """Take a stretch of pages in.

    Args:
        borders: is changed.
        first: where it begins.
        last: where it ends.

    Returns:
        whether it brings pages that were not there.
    """
    low, high = bisect_left(borders, first), bisect_right(borders, last)
    if low == high and low % 2:
        return False

    borders[low:high] = [first] * (low % 2 == 0) + [last] * (high % 2 == 0)

    return True


def pages_in(borders: list[int]) -> Iterator[int]:
    """Where each page begins."""
    for low, high in zip(borders[::2], borders[1::2], strict=True):
        yield from range(low, high, PAGE_SIZE)


def count_pages(borders: list[int]) -> int:
    """How many pages there are."""
    return (sum(borders[1::2]) - sum(borders[::2])) // PAGE_SIZE
