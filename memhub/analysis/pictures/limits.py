"""How much is drawn before things are summed up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that pictures hold.

    Attributes:
        marks: marks of one kind in one picture.
        machines: machines that have pictures of their own.
        rows: slots of a machine that have a row of their own.
        records: records that a page has with it.
    """

    marks: int = 1000
    machines: int = 12
    rows: int = 32
    records: int = 6000

    @property
    def steps(self) -> int:
        """Steps of time in which the rest is summed up."""
        return max(8, min(120, self.marks // 8))
