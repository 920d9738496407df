"""Which wait stands directly behind which, byte by byte.

The waits that want one byte stand behind each other in the order of their numbers. Only
neighbours are kept, as pieces of address space on which they are the same: so a wait that begins
meets the last waits on its bytes and no others, and one that ends meets its neighbours. A new wait
hides the pieces that it covers and leaves at most two more, so all waits together have few.

For the wait-for graph neighbours are enough: whoever waits for a neighbour waits for all those
before that one too. An edge counts the bytes on which it holds, so that it does not matter how
they are cut.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final

from memhub.core.piece_map import PieceMap

if TYPE_CHECKING:
    from memhub.core.holding.wait_graph import WaitGraph

_FRONT: Final = 0  # stands before every wait
_BACK: Final = 1 << 64  # stands behind every wait


class _Place:
    """One wait: the numbers of its neighbours, and on how many bytes it is not the first."""

    __slots__ = ("ahead", "base", "behind", "end", "late", "process")

    def __init__(self, base: int, end: int, process: int) -> None:
        self.base = base
        self.end = end
        self.process = process
        self.ahead = PieceMap(_FRONT)
        self.behind = PieceMap(_BACK)
        self.late = 0


class WaitOrder:
    """The order of the waits of one machine on each byte, and the edges that follow from it.

    Args:
        graph: gets the edges between the processes of neighbours.
    """

    def __init__(self, graph: WaitGraph) -> None:
        self._graph = graph
        self._places = {it: _Place(0, 0, 0) for it in (_FRONT, _BACK)}
        self._bases: list[int] = []
        self._ends: list[int] = []

    def add(self, number: int, base: int, end: int, process: int, *, new: bool) -> list[int]:
        """Put a wait to its place.

        Args:
            number: its number; a higher one stands behind a lower one.
            base: its first byte.
            end: one past its last; no byte at all is in nobody's way.
            process: whose it is.
            new: it has the highest number of all, and `find_circle` has found none with it.

        Returns:
            the numbers of those that stood in front and do not any more.
        """
        self._places[number] = _Place(base, end, process)
        if base == end:
            return []

        insort(self._bases, base)
        insort(self._ends, end)
        between = self._last_on(base, end) if new else self._find_neighbours(number, base, end)
        met = {after for _, _, _, after in between if after != _BACK}
        passed = [it for it in met if not self._places[it].late]
        for lo, hi, before, after in between:
            self._part_neighbours(before, after, lo, hi)
            self._join_neighbours(before, number, lo, hi, checked=new)
            self._join_neighbours(number, after, lo, hi, checked=False)

        return passed

    def remove(self, number: int) -> list[int]:
        """Take a wait out.

        Returns:
            the numbers of those that stand in front now and did not before.
        """
        place = self._places[number]
        base, end = place.base, place.end
        if base < end:
            del self._bases[bisect_left(self._bases, base)]
            del self._ends[bisect_left(self._ends, end)]

        ahead, behind = place.ahead.pieces(base, end), place.behind.pieces(base, end)
        for lo, hi, before in ahead:
            self._part_neighbours(before, number, lo, hi)

        for lo, hi, after in behind:
            self._part_neighbours(number, after, lo, hi)

        for lo, hi, before in ahead:
            for start, stop, after in place.behind.pieces(lo, hi):
                self._join_neighbours(before, after, start, stop, checked=True)

        del self._places[number]
        met = {after for _, _, after in behind if after != _BACK}

        return [it for it in met if not self._places[it].late]

    def in_front(self, number: int) -> bool:
        """Whether no earlier wait wants a byte that this one wants."""
        return not self._places[number].late

    def last_processes(self, lo: int, hi: int) -> frozenset[int]:
        """The ids of the processes whose waits are the last on some byte of `[lo, hi)`."""
        pieces = self._places[_BACK].ahead.pieces(lo, hi)

        return frozenset(self._places[it].process for _, _, it in pieces if it != _FRONT)

    def count(self, lo: int, hi: int) -> int:
        """How many waits want a byte of `[lo, hi)`."""
        return bisect_left(self._bases, hi) - bisect_right(self._ends, lo) if lo < hi else 0

    def first(self, lo: int, hi: int, most: int) -> list[int]:
        """The lowest numbers of the waits that want a byte of `[lo, hi)`, lowest first."""
        seen = {_BACK}
        found: list[int] = []
        turns = list({it for _, _, it in self._places[_FRONT].behind.pieces(lo, hi)} - seen)
        heapify(turns)
        seen.update(turns)
        while turns and len(found) < most:
            number = heappop(turns)
            found.append(number)
            place = self._places[number]
            for _, _, after in place.behind.pieces(max(lo, place.base), min(hi, place.end)):
                if after not in seen:
                    seen.add(after)
                    heappush(turns, after)

        return found

    def _last_on(self, base: int, end: int) -> list[tuple[int, int, int, int]]:
        """The neighbours of a wait behind all others, as `(lo, hi, before, after)`."""
        pieces = self._places[_BACK].ahead.pieces(base, end)

        return [(lo, hi, before, _BACK) for lo, hi, before in pieces]

    def _find_neighbours(self, number: int, base: int, end: int) -> list[tuple[int, int, int, int]]:
        """The neighbours of a wait that comes back, which is mostly the first on its bytes."""
        found, left = [], [(base, end, _FRONT)]
        while left:
            lo, hi, before = left.pop()
            for start, stop, after in self._places[before].behind.pieces(lo, hi):
                if after < number:
                    left.append((start, stop, after))
                else:
                    found.append((start, stop, before, after))

        return found

    def _join_neighbours(self, before: int, after: int, lo: int, hi: int, *, checked: bool) -> None:
        earlier, later = self._places[before], self._places[after]
        earlier.behind.put(lo, hi, after)
        later.ahead.put(lo, hi, before)
        if before != _FRONT and after != _BACK:
            later.late += hi - lo
            self._graph.add(later.process, earlier.process, hi - lo, checked=checked)

    def _part_neighbours(self, before: int, after: int, lo: int, hi: int) -> None:
        """Count two neighbours apart; what is joined in their place replaces their pieces."""
        if before != _FRONT and after != _BACK:
            earlier, later = self._places[before], self._places[after]
            later.late -= hi - lo
            self._graph.drop(later.process, earlier.process, hi - lo)
