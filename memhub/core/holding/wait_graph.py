"""Which process waits for which, counted, so that it is kept up with little work.

The theory is in `waits.py`.
"""

from __future__ import annotations


class WaitGraph:
    """The wait-for graph of one machine: process ids, and how often there is each edge."""

    __slots__ = ("_grown", "_waited_for", "_waits_for")

    def __init__(self) -> None:
        self._waits_for: dict[int, dict[int, int]] = {}
        self._waited_for: dict[int, int] = {}  # by how many processes
        self._grown = False

    def add(self, process: int, blocker: int, times: int = 1, *, checked: bool = False) -> None:
        """Let `process` wait for `blocker` some times more; nobody waits for itself.

        Args:
            process: its id.
            blocker: the other's.
            times: how many times.
            checked: this closes no circle, as `find_circle` has said or because there was another
                way from one to the other.
        """
        if process == blocker:
            return

        edges = self._waits_for.setdefault(process, {})
        count = edges.get(blocker, 0)
        edges[blocker] = count + times
        if not count:
            self._waited_for[blocker] = self._waited_for.get(blocker, 0) + 1
            self._grown |= not checked

    def drop(self, process: int, blocker: int, times: int = 1) -> None:
        """Let `process` wait for `blocker` some times fewer."""
        if process == blocker:
            return

        edges = self._waits_for[process]
        edges[blocker] -= times
        if edges[blocker]:
            return

        del edges[blocker]
        if not edges:
            del self._waits_for[process]

        self._waited_for[blocker] -= 1
        if not self._waited_for[blocker]:
            del self._waited_for[blocker]

    def has_circle(self) -> bool:
        """Whether some way leads back to where it began."""
        # Only a new edge can close a circle.
        self._grown = self._grown and _has_circle(self._waits_for)

        return self._grown

    def on_circle(self, process: int) -> bool:
        """Whether some way leads from a process back to it."""
        return bool(self.find_circle(process, frozenset(self._waits_for.get(process, ()))))

    def find_circle(self, process: int, blockers: frozenset[int]) -> list[int]:
        """The processes on a way from some blockers of `process` back to it, or nothing."""
        if process not in self._waited_for:
            return []

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
