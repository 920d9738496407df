"""Which of many byte ranges overlap a given one.

Ranges may overlap each other. They are kept sorted by base in one list per power-of-two length
class, so a query looks at few entries beside its hits, and an insertion moves few.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class OverlapIndex:
    """A multiset of `(base, end, key)` with half-open bounds and integer keys."""

    def __init__(self) -> None:
        self._classes: dict[int, list[tuple[int, int, int]]] = {}

    def add(self, base: int, end: int, key: int) -> None:
        """Insert one range; an empty one is kept but overlaps nothing."""
        insort(self._classes.setdefault((end - base).bit_length(), []), (base, end, key))

    def discard(self, base: int, end: int, key: int) -> None:
        """Remove one occurrence of a range.

        Raises:
            KeyError: it is not there.
        """
        size = (end - base).bit_length()
        rows = self._classes.get(size, [])
        at = bisect_left(rows, (base, end, key))
        if at == len(rows) or rows[at] != (base, end, key):
            raise KeyError((base, end, key))

        del rows[at]
        if not rows:
            del self._classes[size]

    def overlapping(self, lo: int, hi: int) -> Iterator[tuple[int, int, int]]:
        """Yield every `(base, end, key)` that shares a byte with `[lo, hi)`."""
        if lo >= hi:
            return

        for size, rows in self._classes.items():
            # A member of this class is shorter than 1 << size, so none that starts
            # earlier than that can reach lo.
            at = bisect_left(rows, (lo - (1 << size), 0, 0))
            while at < len(rows) and rows[at][0] < hi:
                if rows[at][1] > lo and rows[at][0] < rows[at][1]:
                    yield rows[at]

                at += 1
