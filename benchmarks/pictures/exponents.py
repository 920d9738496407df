"""Exponents of growth, with their limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt

from benchmarks import growth
from benchmarks.pictures.look import (
    STEP,
    across,
    apart,
    finished,
    panel_title,
    rows_channel,
    shape,
)
from memhub.analysis.pictures.layers import Sheet
from memhub.analysis.pictures.palette import BLUE, INK, QUIET, VERMILION

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.harness import Goal, Row

_ALL: Final = "all of something"
#: Requests by the shape and the colour of their marks; what is no request has the last.
_KINDS: Final = (*growth.REQUESTS, _ALL)
_SHAPES: Final = dict(zip(_KINDS, ("circle", "square", "triangle-up", "diamond"), strict=True))
_COLOURS: Final = (BLUE, "white", "#E69F00", INK)


def draw(rows: Iterable[Row]) -> dict[str, Any]:
    """The Vega-Lite of the exponents among the rows of a run."""
    sheet, found = Sheet("growth"), {row.question: row for row in rows}
    road = [
        _mark(thing, request, place, row)
        for thing in growth.HELD
        for place, request in enumerate(growth.REQUESTS)
        if (row := found.get(growth.with_thing(request, thing))) is not None
    ]
    whole = [
        _mark(what, _ALL, 1, row)
        for what in growth.WHOLE
        if (row := found.get(growth.of_all(what))) is not None
    ]
    chart = alt.vconcat(
        _panel(sheet, "road", road, growth.ROAD, (-0.15, 0.2)).properties(
            title=panel_title("A request beside more and more of")
        ),
        _panel(sheet, "whole", whole, growth.ELSEWHERE, (0.5, 1.25)).properties(
            title=panel_title("What goes through all of something")
        ),
        spacing=24,
    )
    told = [
        "0: twice as many cost the same. 1: twice as many cost twice as much.",
        "Shaded: above the limit. Dashed line: the aim. Grey line: the extremes of the rounds.",
    ]

    return finished(chart, sheet, "How cost grows: its exponent", told)


def _mark(what: str, kind: str, place: int, row: Row) -> dict[str, Any]:
    assert row.ratio is not None

    return {
        "what": what,
        "kind": kind,
        "place": place,
        "at": row.ratio.median,
        "low": row.ratio.low,
        "high": row.ratio.high,
    }


def _panel(
    sheet: Sheet,
    name: str,
    marks: Sequence[dict[str, Any]],
    goal: Goal,
    ends: tuple[float, float],
) -> alt.LayerChart:
    low = min([ends[0], *(it["low"] for it in marks)])
    high = max([ends[1], *(it["high"] for it in marks)])
    names = list(dict.fromkeys(it["what"] for it in marks))
    x = alt.X(
        "at:Q",
        title="exponent",
        scale=alt.Scale(domain=[low, high], nice=False, zero=False),
        axis=alt.Axis(format="~g", tickCount=8),
    )
    y = rows_channel("what", names, 300)
    points = sheet.chart(name, marks)
    limits = sheet.chart(f"{name} limits", [{**goal._asdict(), "end": high}])

    return alt.layer(
        limits.mark_rect(color=VERMILION, opacity=0.13).encode(x="least:Q", x2="end:Q"),
        limits.mark_rule(color=VERMILION, strokeWidth=2).encode(x="least:Q"),
        limits.mark_rule(color=INK, strokeDash=[5, 4]).encode(x="aim:Q"),
        points.mark_rule(color=QUIET, strokeWidth=1.2).encode(
            x="low:Q", x2="high:Q", y=y, yOffset=apart()
        ),
        points.mark_point(size=62, strokeWidth=1.2, stroke=INK, opacity=1).encode(
            x=x,
            y=y,
            yOffset=apart(),
            shape=shape("kind", _SHAPES),
            fill=alt.Fill(
                "kind:N",
                title=None,
                scale=alt.Scale(domain=list(_KINDS), range=list(_COLOURS)),
                legend=across(),
            ),
        ),
        width=430,
        height=STEP * len(names),
    )
