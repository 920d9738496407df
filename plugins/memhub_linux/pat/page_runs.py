"""The modes of RAM pages, as runs: a range of any size is one entry.

Linux keeps a mode for each page of RAM (`arch/x86/mm/pat/memtype.c`, get_page_memtype).
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: The mode that no run has.
USUAL = "WB"


class PageRun(NamedTuple):
    """Pages from `first` on up to `end`, which is one past the last, and their mode."""

    first: int
    end: int
    mode: str


class PageRuns:
    """Pages that are not write-back, and their modes.

    Args:
        runs: what there is at the beginning, in any order, without overlaps.
    """

    def __init__(self, runs: Iterable[PageRun] = ()) -> None:
        self._runs = sorted(runs)

    def __iter__(self) -> Iterator[PageRun]:
        return iter(self._runs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PageRuns) and self._runs == other._runs

    __hash__ = None  # type: ignore[assignment]

    def mode(self, page: int) -> str:
        """The mode of a page."""
        at = bisect_right(self._runs, page, key=lambda it: it.first) - 1

        return self._runs[at].mode if at >= 0 and page < self._runs[at].end else USUAL

    def first_unusual(self, first: int, end: int) -> str | None:
        """The mode of the first page of a range that is not write-back; None for no such page."""
        overlapping = (it for it in self._runs if it.first < end and first < it.end)

        return next((it.mode for it in overlapping), None) if first < end else None

    def set(self, first: int, end: int, mode: str) -> None:
        """Give a range of pages a mode."""
        if first >= end:
            return

        kept = [*self._outside(first, end)]
        if mode != USUAL:
            kept.append(PageRun(first, end, mode))

        self._runs = [*_join(sorted(kept))]

    def _outside(self, first: int, end: int) -> Iterator[PageRun]:
        for it in self._runs:
            if it.end <= first or it.first >= end:
                yield it
                continue

            if it.first < first:
                yield it._replace(end=first)

            if it.end > end:
                yield it._replace(first=end)


def changed_runs(before: PageRuns, now: PageRuns) -> list[PageRun]:
    """The pages whose mode became different, in order, and the mode that they have now."""
    edges = sorted({edge for runs in (before, now) for it in runs for edge in it[:2]})
    spans = pairwise(edges)
    found = (
        PageRun(first, end, now.mode(first))
        for first, end in spans
        if before.mode(first) != now.mode(first)
    )

    return [*_join(found)]


def _join(runs: Iterable[PageRun]) -> Iterator[PageRun]:
    """Neighbours of the same mode as one."""
    last: PageRun | None = None
    for it in runs:
        if last is not None and last.end == it.first and last.mode == it.mode:
            last = last._replace(end=it.end)
            continue

        if last is not None:
            yield last

        last = it

    if last is not None:
        yield last
