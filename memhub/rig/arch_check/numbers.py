"""What the numbers of a check may be."""

from __future__ import annotations

from typing import Final

#: Seconds that a call has at least before it is stopped.
_LEAST_LIMIT: Final = 0.01


def check_numbers(sequences: int, limit: float = 1.0, seconds: float = 60.0) -> None:
    """Refuse numbers with which nothing could be asked.

    Raises:
        ValueError: a number is out of its range.
    """
    for name, number, least in (
        ("sequences", sequences, 0),
        ("limit", limit, _LEAST_LIMIT),
        ("seconds", seconds, 0),
    ):
        if not number >= least:
            raise ValueError(f"{name} {number!r} is not at least {least}")
