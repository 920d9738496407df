"""Which process waits for which, counted, so that it is kept up with little work.

The theory is in `waits.py`.
"""

from __future__ import annotations


class WaitGraph:
    """The wait-for graph of one machine: process ids, and how many waits make each edge."""

    __slots__ = ("_grown", "_waits_for")

    def __init__(self) -> None:
        self._waits_for: dict[int, dict[int, int]] = {}
        self._grown = False

    def add(self, process: int, blocker: int, *, checked: bool = False) -> None:
        """One more wait of `process` waits for `blocker`; nobody waits for itself.

        Args:
            process: its id.
            blocker: the other's.
            checked: `find_circle` has said that this closes no circle.
        """
        if process != blocker:
            edges = self._waits_for.setdefault(process, {})
            count = edges.get(blocker, 0)
            edges[blocker] = count + 1
            self._grown |= not count and not checked

    def drop(self, process: int, blocker: int) -> None:
        """One wait fewer of `process` waits for `blocker`."""
        if process != blocker:
            edges = self._waits_for[process]
            edges[blocker] -= 1
            if not edges[blocker]:
                del edges[blocker]

            if not edges:
                del self._waits_for[process]

    def has_circle(self) -> bool:
        """Whether some way leads back to where it began."""
        # Only a new edge can close a circle.
        self._grown = self._grown and _has_circle(self._waits_for)

        return self._grown

    def find_circle(self, process: int, blockers: frozenset[int]) -> list[int]:
        """The processes on a way from some blockers of `process` back to it, or nothing."""
        came_from = dict.fromkeys(sorted(blockers), process)
        frontier = list(came_from)
        while frontier:
            at = frontier.pop()
            edges = self._waits_for.get(at)
            if edges is None:
                continue

            if process in edges:
                return _way_back(at, came_from, process)

            for blocker in sorted(edges.keys() - came_from.keys()):
                came_from[blocker] = at
                frontier.append(blocker)

        return []


def _has_circle(waits_for: dict[int, dict[int, int]]) -> bool:
    """Whether a circle is left when whoever waits for nobody that waits is taken away."""
    waiters: dict[int, list[int]] = {}
    for process, blockers in waits_for.items():
        for blocker in blockers:
            waiters.setdefault(blocker, []).append(process)

    left = {it: len(blockers.keys() & waits_for.keys()) for it, blockers in waits_for.items()}
    free = [process for process, count in left.items() if not count]
    for process in free:
        for waiter in waiters.get(process, ()):
            left[waiter] -= 1
            if not left[waiter]:
                free.append(waiter)

    return len(free) < len(left)


def _way_back(last: int, came_from: dict[int, int], goal: int) -> list[int]:
    way = [last]
    while came_from[way[-1]] != goal:
        way.append(came_from[way[-1]])

    return way[::-1]
