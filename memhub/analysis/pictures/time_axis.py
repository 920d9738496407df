"""Where a moment is on a time axis, and what the axis says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import altair as alt

from memhub.audit.history.states import time_text

#: Spans up to which an axis counts from the first record, and in what.
_UNITS: Final = ((10**7, "us", 10**3), (10**10, "ms", 10**6), (20 * 60 * 10**9, "s", 10**9))

#: What labels of an axis with a date show; each tick has the coarsest that fits.
_FORMATS: Final = {
    "year": "%Y",
    "quarter": "%Y-%m",
    "month": "%Y-%m",
    "week": "%m-%d",
    "date": "%m-%d",
    "hours": "%H:%M",
    "minutes": "%H:%M",
    "seconds": "%H:%M:%S",
    "milliseconds": "%S.%L s",
}


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """The time that all pictures of a log share.

    A short log is drawn by the time since its first record, as a double does not hold nanoseconds
    since 1970; a long one by date and time in UTC.

    Attributes:
        first_ns: the first moment, nanoseconds since 1970 UTC.
        last_ns: the last one.
    """

    first_ns: int
    last_ns: int

    @property
    def unit(self) -> tuple[str, int] | None:
        """The unit and its nanoseconds; None for date and time."""
        span = self.last_ns - self.first_ns

        return next(((name, size) for most, name, size in _UNITS if span <= most), None)

    def place(self, wall_ns: int) -> float:
        """Where a moment is."""
        unit = self.unit
        if unit is None:
            return wall_ns / 10**6

        return (wall_ns - self.first_ns) / unit[1]

    @property
    def ends(self) -> tuple[float, float]:
        """What the axis reaches from and to, with a margin so that no mark is on the edge."""
        low, high = self.place(self.first_ns), self.place(self.last_ns)
        margin = (high - low) * 0.012 or 1.0

        return low - margin, high + margin

    @property
    def title(self) -> str:
        """What the axis is titled."""
        unit = self.unit
        if unit is None:
            return "time (UTC)"

        return f"{unit[0]} since {readable_time(self.first_ns)}"

    def channel(self, field: str = "since", *, title: bool = True, **more: Any) -> Any:  # noqa: ANN401
        """The x channel of a chart: its window are the parameters `left` and `right`."""
        dated = self.unit is None
        axis = alt.Axis(
            title=self.title if title else None,
            labelOverlap=True,
            labelFlush=False,
            tickCount=8,
            format=_FORMATS if dated else alt.Undefined,
        )
        # A domain that is one expression is not read as dates by Vega-Lite
        window = alt.ExprRef("[left, right]")
        scale = alt.Scale(domain=window, nice=False, zero=False, type="linear")
        if dated:
            scale = alt.Scale(domain=window, nice=False, type="utc")

        return alt.X(field, type="temporal" if dated else "quantitative", axis=axis, scale=scale,
                     **more)  # fmt: skip


def readable_time(wall_ns: int) -> str:
    """A time for people: `2026-01-31 12:00:00.5 UTC`."""
    day, _, clock = time_text(wall_ns).removesuffix("Z").partition("T")

    return f"{day} {clock.rstrip('0').rstrip('.') if '.' in clock else clock} UTC"
