"""Which lines make room for others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from memhub.core.caches.lines import Line


def choose_victims(
    numbers: Sequence[int],
    changed: Mapping[int, Line | None],
    count: int,
    draw: Callable[[int], int],
) -> list[int]:
    """The lines to evict: those that an access has not touched, or where there are none, others.

    Args:
        numbers: of the lines before the access, ascending.
        changed: what it has changed; None is no line any more.
        count: how many lines.
        draw: a number from 0 on and below the one given.

    Returns:
        their numbers, ascending.
    """
    victims: list[int] = []
    if numbers:
        first = draw(len(numbers))
        if count == 1 and numbers[first] not in changed:
            return [numbers[first]]

        for index in range(first - len(numbers), first):
            if numbers[index] not in changed:
                victims.append(numbers[index])
                if len(victims) == count:
                    break

    if len(victims) < count:
        left = sorted(it for it, line in changed.items() if line is not None)
        while len(victims) < count:
            victims.append(left.pop(draw(len(left))))

    return sorted(victims)
