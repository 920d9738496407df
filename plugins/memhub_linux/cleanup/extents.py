"""Spans of pages, kept in the places of the kernel's array, which its log shows.

Source: Linux 6.18 `kernel/range.c`.
"""

from __future__ import annotations

from typing import Final

_PLACES: Final = 256


class Extents:
    """Some spans, first page and one past the last."""

    def __init__(self) -> None:
        self._places: list[tuple[int, int] | None] = []

    def append(self, start: int, end: int) -> None:
        """Put a span behind the others."""
        self._places.append((start, end))

    def add(self, start: int, end: int) -> None:
        """Add a span; what it touches becomes one with it, in the last place."""
        if start >= end:
            return

        at = 0
        while at < len(self._places):
            it = self._places[at]
            if it is None or max(it[0], start) > min(it[1], end):
                at += 1
                continue

            start, end = min(it[0], start), max(it[1], end)
            del self._places[at]

        if len(self._places) < _PLACES:
            self._places.append((start, end))

    def subtract(self, start: int, end: int) -> None:
        """Take a span out; what is cut in two goes on in the first free place."""
        if start >= end:
            return

        at = 0
        while at < len(self._places):
            it = self._places[at]
            if it is not None:
                self._cut(at, it, start, end)

            at += 1

    def _cut(self, at: int, it: tuple[int, int], start: int, end: int) -> None:
        if start <= it[0] and end >= it[1]:
            self._places[at] = None
        elif start <= it[0] < end:
            self._places[at] = (end, it[1])
        elif start > it[0] and end >= it[1] and it[1] > start:
            self._places[at] = (it[0], start)
        elif start > it[0] and end < it[1]:
            self._places[at] = (it[0], start)
            free = self._places.index(None) if None in self._places else len(self._places)
            if free == len(self._places):
                self._places.append((end, it[1]))
            else:
                self._places[free] = (end, it[1])

    def sort(self) -> None:
        """Put the spans in order."""
        self._places = [*self.rows()]

    def in_place(self) -> list[tuple[int, int]]:
        """The spans in the order of their places."""
        return [it for it in self._places if it is not None]

    def rows(self) -> list[tuple[int, int]]:
        """The spans in order."""
        return sorted(self.in_place())

    def total(self) -> int:
        """How many pages there are."""
        return sum(end - start for start, end in self.in_place())
