"""The layers of a time line: bars, their labels, BUSY, waits, refusals, and what is picked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt

from memhub.analysis.pictures.layers import busy_sign, kind_scales, picked, row_axis, spoken, strong
from memhub.analysis.pictures.palette import (
    INK,
    OTHER_ERROR,
    OTHER_SHAPE,
    QUIET,
    SHAPES,
    SUMMED,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memhub.analysis.pictures.layers import Sheet
    from memhub.analysis.pictures.time_axis import TimeAxis

    Row = dict[str, Any]

#: Pixels of a row, and of a range in it.
STEP: Final = 26
_HIGH: Final = 17

#: Pixels of a bar between the edges of the window.
_SEEN: Final = "(scale('x', min(datum.until, right)) - scale('x', max(datum.since, left)))"

#: The label, cut where it does not fit; the short one where that is too narrow; or none.
_LABEL: Final = f"{_SEEN} > 62 ? datum.label : {_SEEN} > 32 ? datum.short : ''"


class TimelineLayers:
    """Draws rows of marks over one time axis.

    Args:
        sheet: takes the data.
        axis: the time.
        rows: the names of rows, from above.
    """

    def __init__(self, sheet: Sheet, axis: TimeAxis, rows: list[str]) -> None:
        self._sheet = sheet
        self._x = axis.channel()
        self._shown = axis.channel("shown")
        self._y = alt.Y(
            "row:N",
            scale=alt.Scale(domain=rows),
            axis=row_axis(),
        )

    def ranges(self, rows: Sequence[Row]) -> list[alt.Chart]:
        """Ranges in slots: the area and the line over it tell the type, the label the owner."""
        if not rows:
            return []

        fill, dash = kind_scales(rows)
        chart = self._sheet.chart("ranges", rows)
        bars = chart.mark_bar(height=_HIGH, stroke="white", strokeWidth=0.6, clip=True)
        lines = chart.mark_rule(strokeWidth=3, color=INK, yOffset=1.5 - _HIGH // 2, clip=True)

        return [
            self._spread(bars, fill=fill),
            self._spread(lines, strokeDash=dash),
            self._labels(chart),
        ]

    def still(self, rows: Sequence[Row]) -> list[alt.Chart]:
        """A bar for all slots that never changed."""
        if not rows:
            return []

        chart = self._sheet.chart("still", rows)
        bars = chart.mark_bar(
            height=_HIGH, fill="#f1f2f4", stroke=QUIET, strokeWidth=0.6, clip=True
        )

        return [self._spread(bars), self._labels(chart)]

    def sums(self, rows: Sequence[Row]) -> list[alt.Chart]:
        """Thin grey bars for what is summed up."""
        if not rows:
            return []

        chart = self._sheet.chart("sums", rows)
        bars = chart.mark_bar(height=7, fill=SUMMED, stroke=QUIET, strokeDash=[2, 2], clip=True)

        return [self._spread(bars)]

    def busy(self, rows: Sequence[Row]) -> list[alt.Chart]:
        """A line below a range while its slot was claimed, with a triangle at its start."""
        if not rows:
            return []

        sign, held = busy_sign(rows)
        chart, low = self._sheet.chart("busy", held), _HIGH / 2 + 1.5
        line = chart.mark_rule(strokeWidth=3.5, yOffset=low, clip=True)
        start = chart.mark_point(
            shape="triangle-up", size=26, filled=True, color=INK, yOffset=low - 1, clip=True
        )

        return [self._spread(line, stroke=sign), self._placed(start)]

    def waits(self, rows: Sequence[Row]) -> list[alt.Chart]:
        """Dashed boxes."""
        if not rows:
            return []

        chart = self._sheet.chart("waits", rows)
        boxes = chart.mark_bar(
            height=_HIGH, fill="white", stroke=INK, strokeDash=[3, 2], strokeWidth=1.2, clip=True
        )

        return [self._spread(boxes), self._labels(chart)]

    def refused(self, rows: Sequence[Row]) -> list[alt.Chart]:
        """A sign for each refusal, whose shape tells the error; larger for many."""
        if not rows:
            return []

        shapes = {**SHAPES, OTHER_ERROR: OTHER_SHAPE}
        used = [it for it in shapes if any(row["error"] == it for row in rows)]
        shape = alt.Shape(
            "error:N",
            title="refused with",
            scale=alt.Scale(domain=used, range=[shapes[it] for it in used]),
            legend=alt.Legend(symbolSize=80, columns=5),
        )
        points = self._sheet.chart("refused", rows).mark_point(
            color=INK, fill="white", strokeWidth=1.6, clip=True
        )

        return [self._placed(points, shape=shape, size=alt.Size("area:Q", scale=None, legend=None))]

    def pick(self, rows: Sequence[Row]) -> list[alt.Chart]:
        """A frame and a ring around the mark that is picked."""
        if not rows:
            return []

        names = ("mark", "say", "people", "machine", "row", "since", "until")
        chart = picked(
            self._sheet.chart("marks", [{name: row[name] for name in names} for row in rows])
        )
        frame = chart.transform_filter("datum.until > datum.since").mark_bar(
            height=STEP - 3, fill="transparent", stroke=INK, strokeWidth=2.5, clip=True
        )
        ring = chart.transform_filter("datum.until == datum.since").mark_point(
            shape="circle", size=420, color=INK, strokeWidth=2.5, clip=True
        )

        return [self._spread(frame), self._placed(ring)]

    def _spread(self, chart: Any, **channels: Any) -> alt.Chart:  # noqa: ANN401
        return chart.encode(
            x=self._x, x2=alt.X2("until"), y=self._y, tooltip=spoken(), opacity=strong(), **channels
        )

    def _placed(self, chart: Any, **channels: Any) -> alt.Chart:  # noqa: ANN401
        return chart.encode(x=self._x, y=self._y, tooltip=spoken(), opacity=strong(), **channels)

    def _labels(self, chart: alt.Chart) -> alt.Chart:
        return (
            chart.transform_calculate(shown="max(datum.since, left)")
            .mark_text(
                align="left", dx=4, dy=1.5, fontSize=11, color=INK, clip=True,
                limit=alt.ExprRef(f"max(1, {_SEEN} - 7)"), text=alt.ExprRef(_LABEL),
            )
            .encode(x=self._shown, y=self._y, opacity=strong(), tooltip=spoken())
        )  # fmt: skip
