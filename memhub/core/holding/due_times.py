"""When numbered things are due: the first moment, and those whose time is up."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from memhub.core.instant import NEVER

_SLACK = 64


class DueTimes:
    """A moment for each of some numbers, in monotonic nanoseconds.

    Each operation costs the logarithm of how many there are.
    """

    __slots__ = ("_due", "_heap")

    def __init__(self) -> None:
        self._due: dict[int, int] = {}
        self._heap: list[tuple[int, int]] = []  # may hold moments that no longer count

    def put(self, number: int, due_ns: int) -> None:
        """Let a number be due at a moment, in place of its earlier one."""
        if self._due.get(number) != due_ns:
            self._due[number] = due_ns
            heappush(self._heap, (due_ns, number))
            if len(self._heap) > 2 * len(self._due) + _SLACK:
                self._heap = [(due, it) for it, due in self._due.items()]
                heapify(self._heap)

    def discard(self, number: int) -> None:
        """Let a number be due no more."""
        self._due.pop(number, None)

    def first(self) -> int:
        """The first moment at which one is due; NEVER where none is."""
        heap = self._heap
        while heap and self._due.get(heap[0][1]) != heap[0][0]:
            heappop(heap)

        return heap[0][0] if heap else NEVER

    def passed(self, mono_ns: int) -> list[int]:
        """The numbers that are due at a moment, lowest first; they stay due."""
        found = {}
        while NEVER != self.first() <= mono_ns:
            due, number = heappop(self._heap)
            found[number] = due

        for number, due in found.items():
            heappush(self._heap, (due, number))

        return sorted(found)
