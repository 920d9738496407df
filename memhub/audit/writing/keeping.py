"""How a log is kept: when a segment ends, and when records are sealed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from memhub.arguments import show_integer, take_integers

#: The longest time that a segment takes or records wait for a seal, seconds: ten years.
LONGEST: Final = 3650 * 86400


def wrong_time(number: float) -> str:
    """What is wrong with a time of a log's keeping in seconds, or an empty string."""
    return f"is longer than {LONGEST} seconds (10 years)" if number > LONGEST else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """The times and sizes by which a running hub keeps its log.

    Attributes:
        max_bytes: a segment of this size ends; None for no limit. A log of one file is not
            rotated by its size.
        max_age: a segment this old ends, seconds; None for no limit. Likewise.
        seal_every: records are sealed after this time at the latest, seconds, where the log has
            a key.
        snapshot_every: after so many records every machine is written down, so that a state can
            be told without reading the log from its start.

    Raises:
        TypeError: a number has the wrong type.
        ValueError: a number is not above zero, or not finite, or a time is longer than ten years.
    """

    max_bytes: int | None = 64 << 20
    max_age: float | None = None
    seal_every: float = 60.0
    snapshot_every: int = 4096

    def __post_init__(self) -> None:
        take_integers(self, ("snapshot_every",), optional=("max_bytes",))
        for name in ("max_bytes", "max_age", "seal_every", "snapshot_every"):
            number = getattr(self, name)
            if number is None:
                continue

            if isinstance(number, bool) or not isinstance(number, (int, float)):
                raise TypeError(f"{name} is a number, and not {number!r}")

            wrong = "" if 0 < number < float("inf") else "is not above zero and finite"
            if name in ("max_age", "seal_every"):
                wrong = wrong or wrong_time(number)

            if wrong:
                shown = show_integer(number) if isinstance(number, int) else number
                raise ValueError(f"{name} {shown} {wrong}")


#: What a log is kept by that says nothing else.
KEEPING: Final = Keeping()
