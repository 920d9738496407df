"""Figures that a busy host makes worse: the least of some rounds tells what is ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def rounds(measure: Callable[[], float], bound: float, most: int) -> list[float]:
    """Measure until a figure is within its bound; every figure.

    A fault of memhub is there in every round, what the host does beside it is not. So a test
    asserts that the least figure is within the bound. The more often a fault stays away by chance,
    the fewer rounds may be made.

    Args:
        measure: makes one round.
        bound: the greatest figure that needs no further round.
        most: how many rounds to make if all are above the bound.
    """
    figures: list[float] = []
    while len(figures) < most and not (figures and figures[-1] <= bound):
        figures.append(measure())

    return figures
