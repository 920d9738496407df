"""Latencies of the service, as ratios to the floor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt

from benchmarks import latency
from benchmarks.pictures.look import LOOPS, STEP, across, apart, finished, rows_channel, shape
from memhub.analysis.pictures.layers import Sheet
from memhub.analysis.pictures.palette import BLUE, INK, VERMILION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.harness import Row

_SHAPES: Final = dict(zip(latency.PARTS, ("circle", "square", "triangle-up"), strict=True))
_ALONE, _BESIDE = "alone", "beside the client that misbehaves most"
_INSIDE: Final = {_ALONE: BLUE, _BESIDE: "white"}
_EDGES: Final = {_ALONE: BLUE, _BESIDE: VERMILION}


def draw(rows: Iterable[Row]) -> dict[str, Any]:
    """The Vega-Lite of the latencies among the rows of a run."""
    sheet = Sheet("latency")
    marks = _marks({(row.question, row.column): row for row in rows})
    points = sheet.chart("marks", marks)
    x = alt.X(
        "at:Q",
        title="times the floor",
        scale=alt.Scale(type="log", nice=False, padding=12),
        axis=alt.Axis(values=[0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500], format="~g"),
    )
    y = rows_channel("request", list(latency.REQUESTS), 120)
    edges = alt.Stroke("who:N", title=None, scale=_scale(_EDGES), legend=across())
    placed = {"x": x, "y": y, "yOffset": apart(7)}
    layers = alt.layer(
        points.mark_rule(color=INK, strokeDash=[5, 4]).encode(x=alt.datum(1)),
        points.mark_line(strokeWidth=1.4).encode(**placed, stroke=edges, detail="request:N"),
        points.mark_point(size=52, strokeWidth=1.5, opacity=1).encode(
            **placed,
            shape=shape("part", _SHAPES),
            stroke=edges,
            fill=alt.Fill("who:N", title=None, scale=_scale(_INSIDE), legend=across()),
        ),
        width=215,
        height=STEP * len(latency.REQUESTS),
    )
    chart = layers.facet(
        column=alt.Column("share:N", title=None, sort=[_share(it) for it in latency.SHARES]),
        row=alt.Row("loop:N", title=None, sort=list(LOOPS), header=alt.Header(labelAngle=0)),
        spacing=12,
    )
    told = [
        "By part of the greatest load, from when a request was due to its answer.",
        "Dashed line: the floor itself, alone, at the same part of its own greatest load.",
    ]

    return finished(chart, sheet, "Latency of the service, as a ratio to the floor", told)


def _marks(found: dict[tuple[str, str], Row]) -> list[dict[str, Any]]:
    return [
        {
            "request": request,
            "share": _share(share),
            "loop": loop,
            "part": part,
            "who": _BESIDE if beside else _ALONE,
            "place": 2 * beside,
            "at": row.ratio.median,
        }
        for request in latency.REQUESTS
        for share in latency.SHARES
        for loop in LOOPS
        for part in latency.PARTS
        for beside in (False, True)
        if (row := found.get((latency.question(request, share, part, beside=beside), loop)))
        and row.ratio is not None
    ]


def _scale(colours: dict[str, str]) -> alt.Scale:
    return alt.Scale(domain=list(colours), range=list(colours.values()))


def _share(percent: int) -> str:
    return f"{percent} % of the greatest load"
