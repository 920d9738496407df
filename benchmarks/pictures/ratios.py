"""Ratios to a floor or a peer, with their goals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt

from benchmarks import growth, latency
from benchmarks.pictures.look import (
    LOOPS,
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
    from collections.abc import Iterable, Mapping, Sequence

    from benchmarks.harness import Row
    from benchmarks.history import Version

    _Found = Mapping[tuple[str, str, str], Row]

#: Where in its row a mark is.
_PLACES: Final = {"asyncio": 0, "uvloop": 1, "trio": 2}
_VERDICTS: Final = {"aim": "reaches its aim", "least": "reaches at least", "MISS": "misses both"}
_INSIDE: Final = (BLUE, "white", VERMILION)
_EDGES: Final = (BLUE, BLUE, VERMILION)


def draw(rows: Iterable[Row], earlier: Sequence[Version]) -> dict[str, Any]:
    """The Vega-Lite of all ratios with goals.

    Args:
        rows: of one run; amounts, and families with a picture of their own, are left out.
        earlier: versions that are shown faintly.
    """
    sheet = Sheet("ratios")
    shown = [row for row in rows if _is_shown(row)]
    before = [{row.key: row for row in it.rows} for it in earlier]
    costs, speeds = ([row for row in shown if row.more == more] for more in (False, True))
    chart = alt.vconcat(
        _panel(sheet, "costs", costs, before).properties(
            title=panel_title("Costs: further left is better")
        ),
        _panel(sheet, "speeds", speeds, before).properties(
            title=panel_title("Speeds: further right is better")
        ),
        spacing=28,
    )
    crosses = " Grey crosses: earlier versions." if earlier else ""
    told = [
        "Thick bar: the aim. Thin bar: at least. Dashed line: the floor or peer itself.",
        f"Grey line: the extremes of the rounds. Ringed: misses both goals.{crosses}",
    ]

    return finished(chart, sheet, "Ratios to a floor or a peer", told)


def _is_shown(row: Row) -> bool:
    own = row.question.startswith((growth.FAMILY, latency.FAMILY))

    return bool(row.goal and row.ratio and row.against) and not own


def _panel(
    sheet: Sheet, name: str, rows: Sequence[Row], before: Sequence[_Found]
) -> alt.LayerChart:
    labels = list(dict.fromkeys(map(_label, rows)))
    points = sheet.chart(name, [_mark(row) for row in rows])
    old = sheet.chart(f"{name} before", [it for row in rows for it in _earlier(row, before)])
    x = alt.X(
        "at:Q",
        title="ratio, on a logarithmic scale",
        scale=alt.Scale(type="log", nice=False, padding=14),
        axis=alt.Axis(values=[0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100], format="~g"),
    )
    y = rows_channel("label", labels, 470)
    placed = {"x": x, "y": y, "yOffset": apart()}
    bars = [
        points.mark_tick(color=INK, thickness=thick, size=STEP - 4, opacity=1).encode(
            x=f"{goal}:Q", y=y
        )
        for goal, thick in (("aim", 3.5), ("least", 1.2))
    ]
    missing = points.transform_filter(f"datum.verdict == '{_VERDICTS['MISS']}'")

    return alt.layer(
        sheet.chart(f"{name} itself", [{"at": 1}])
        .mark_rule(color=INK, strokeDash=[5, 4], strokeWidth=1.2)
        .encode(x=x),
        *bars,
        points.mark_rule(color=QUIET, strokeWidth=1.2).encode(
            x="low:Q", x2="high:Q", y=y, yOffset=apart()
        ),
        old.mark_point(shape="cross", size=30, color=QUIET, filled=True).encode(**placed),
        missing.mark_point(size=210, strokeWidth=1.6, stroke=VERMILION, opacity=1).encode(**placed),
        points.mark_point(size=62, strokeWidth=1.6, opacity=1).encode(
            **placed,
            shape=shape("loop", LOOPS),
            fill=alt.Fill(
                "verdict:N",
                title=None,
                scale=_verdicts(_INSIDE),
                legend=across(symbolType="circle", symbolStrokeColor=BLUE),
            ),
            stroke=alt.Stroke("verdict:N", scale=_verdicts(_EDGES), legend=None),
        ),
        width=430,
        height=STEP * len(labels),
    )


def _verdicts(colours: Sequence[str]) -> alt.Scale:
    return alt.Scale(domain=list(_VERDICTS.values()), range=list(colours))


def _label(row: Row) -> str:
    return f"{row.question}  :  {row.against}"


def _mark(row: Row) -> dict[str, Any]:
    assert row.ratio is not None
    assert row.goal is not None

    return {
        **_place(row, row),
        "low": row.ratio.low,
        "high": row.ratio.high,
        "aim": row.goal.aim,
        "least": row.goal.least,
        "verdict": _VERDICTS[row.verdict],
    }


def _place(row: Row, measured: Row) -> dict[str, Any]:
    """Where a mark is in the line of a row."""
    assert measured.ratio is not None

    return {
        "label": _label(row),
        "loop": row.column if row.column in LOOPS else list(LOOPS)[-1],
        "place": _PLACES.get(row.column, 1),
        "at": measured.ratio.median,
    }


def _earlier(row: Row, before: Sequence[_Found]) -> list[dict[str, Any]]:
    measured = (found.get(row.key) for found in before)

    return [_place(row, it) for it in measured if it is not None and it.ratio is not None]
