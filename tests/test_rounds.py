"""A figure above its bound is measured again; one that stays above is not hidden."""

from __future__ import annotations

import pytest

from rounds import rounds


@pytest.mark.parametrize(
    ("figures", "made"),
    [
        ([50], [50]),
        ([60, 14, 99], [60, 14]),
        ([60, 70, 51], [60, 70, 51]),
        ([60, 70, 51, 14], [60, 70, 51]),
    ],
)
def test_rounds_end_at_the_first_figure_within_the_bound(
    figures: list[float], made: list[float]
) -> None:
    assert rounds(iter(figures).__next__, 50, 3) == made
