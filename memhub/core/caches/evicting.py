"""Which lines make room for others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from memhub.core.caches.lines import Line


class Victims:
    """The lines that one access evicts: those that it has not touched, or where none is, others.

    An access that evicts often looks at each line a few times in all, and not at all of them for
    each eviction: what it has touched stays touched, so that the search passes over it at once.

    Args:
        numbers: of the lines before the access, ascending.
        changed: what it has changed so far; None is no line any more.
    """

    __slots__ = ("_changed", "_numbers", "_passed", "_touched")

    def __init__(self, numbers: Sequence[int], changed: Mapping[int, Line | None]) -> None:
        self._numbers, self._changed = numbers, changed
        self._passed: dict[int, int] = {}  # from a touched line on, where to look further
        self._touched: list[int] = []  # of which victims are drawn until none is left

    def choose(self, first: int, count: int, draw: Callable[[int], int]) -> list[int]:
        """So many lines to evict next.

        Args:
            first: at which of the lines before the access the search begins.
            count: how many; at most as many as there are.
            draw: a number from 0 on and below the one given.

        Returns:
            their numbers, ascending; the access evicts them before it asks again.
        """
        victims = self._find_untouched(first, len(self._numbers), count)
        victims += self._find_untouched(0, first, count - len(victims))
        victims += self._draw_touched(count - len(victims), draw)

        return sorted(victims)

    def _find_untouched(self, index: int, end: int, count: int) -> list[int]:
        found: list[int] = []
        while len(found) < count:
            index = self._next_untouched(index)
            if index >= end:
                break

            found.append(self._numbers[index])
            index += 1

        return found

    def _next_untouched(self, index: int) -> int:
        numbers, changed, passed = self._numbers, self._changed, self._passed
        steps: list[int] = []
        while index < len(numbers) and (index in passed or numbers[index] in changed):
            steps.append(index)
            index = passed.get(index, index + 1)

        for step in steps:
            passed[step] = index

        return index

    def _draw_touched(self, count: int, draw: Callable[[int], int]) -> list[int]:
        found: list[int] = []
        while len(found) < count:
            if not self._touched:
                kept = {it for it, line in self._changed.items() if line is not None}
                self._touched = sorted(kept.difference(found))

            left = self._touched
            at = draw(len(left))
            left[at], left[-1] = left[-1], left[at]
            victim = left.pop()
            if self._changed.get(victim) is not None:
                found.append(victim)

        return found
