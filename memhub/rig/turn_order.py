"""Which task goes on next: as a seed or a given order says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.arguments import take_integer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random


class TurnOrder:
    """The order of turns of a simulation.

    Args:
        random: decides, where no order is given.
        choices: the order, or None; see `Simulation`.
    """

    def __init__(self, random: Random, choices: Sequence[int | str] | None) -> None:
        self._random = random
        self._choices = None if choices is None else [_take_choice(it) for it in choices]

    def choose(self, turn: int, names: Sequence[str]) -> int:
        """Choose who goes on.

        Args:
            turn: the number of the turn, from 0.
            names: the tasks that can go on.

        Returns:
            the place of the task in `names`.
        """
        if self._choices is None:
            return self._random.randrange(len(names))

        choice = self._choices[turn] if turn < len(self._choices) else 0
        if isinstance(choice, str):
            return names.index(choice) if choice in names else 0

        return min(choice, len(names) - 1)


def _take_choice(choice: object) -> int | str:
    if isinstance(choice, str):
        return choice

    number = take_integer("a choice", choice)
    if number < 0:
        raise ValueError(f"a choice is a name or a number from 0, not {number}")

    return number
