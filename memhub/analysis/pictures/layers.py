"""What the layers of all charts share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt

from memhub.analysis.pictures.palette import EFFECTIVE, INK, KINDS, LINES, QUIET, legend_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from memhub.analysis.pictures.time_axis import TimeAxis

#: Whether a mark is about the name and the machine that were asked for.
ABOUT = "(who == '' || indexof(datum.people, who) >= 0) && (which == '' || datum.machine == which)"

#: Pixels that labels to the left of a chart have, so that charts below one another are in line.
LEFT: Final = 132

_BUSY: Final = "BUSY: claimed"

#: How pages say to a chart which mark is picked, whom and which machine marks should be
#: about, and the moment.
SIGNALS: Mapping[str, Any] = {"pick": "", "who": "", "which": "", "moment": None, "tick": 0}


def strong(full: float = 1.0, faint: float = 0.12) -> alt.OpacityValue:
    """The opacity of a mark: faint if it is not about what was asked for."""
    return alt.OpacityValue(faint, condition={"test": ABOUT, "value": full})


def spoken() -> alt.Tooltip:
    """What a mark says, beside the pointer."""
    return alt.Tooltip("say", type="nominal")


class Sheet:
    """The data of one figure, under names that no other figure has.

    Args:
        figure: the figure's name.

    Attributes:
        data: rows by name.
    """

    def __init__(self, figure: str) -> None:
        self._figure = figure
        self.data: dict[str, list[dict[str, Any]]] = {}

    def chart(self, name: str, rows: Sequence[Mapping[str, Any]]) -> alt.Chart:
        """A chart of rows."""
        whole = f"{self._figure} {name}"
        self.data[whole] = [dict(row) for row in rows]

        return alt.Chart(alt.NamedData(whole))


def picked(chart: alt.Chart) -> alt.Chart:
    """The rows of the mark that is picked."""
    return chart.transform_filter("datum.mark == pick && pick != ''")


def row_axis() -> alt.Axis:
    """The axis of rows with names."""
    return alt.Axis(
        title=None, grid=True, tickBand="extent", ticks=False, labelPadding=6, minExtent=LEFT
    )


def kind_scales(rows: Sequence[Mapping[str, Any]]) -> tuple[alt.Fill, alt.StrokeDash]:
    """How areas and the lines over them tell the memory types of some rows, with one legend."""
    used = {row["type"] for row in rows}
    kinds = [it for it in (*KINDS, *EFFECTIVE) if legend_name(it) in used]
    names = [legend_name(it) for it in kinds]
    legend = alt.Legend(
        symbolType="square", symbolSize=160, symbolStrokeWidth=2, symbolStrokeColor=INK, columns=3
    )
    colours = alt.Scale(domain=names, range=[it.colour for it in kinds])
    dashes = alt.Scale(domain=names, range=[list(it.dash) for it in kinds])

    return (
        alt.Fill("type:N", title="type", scale=colours, legend=legend),
        alt.StrokeDash("type:N", title="type", scale=dashes, legend=legend),
    )


def busy_sign(rows: Sequence[Mapping[str, Any]]) -> tuple[alt.Stroke, list[dict[str, Any]]]:
    """How lines tell that a slot was claimed, with a legend, and the rows with that sign."""
    legend = alt.Legend(symbolType="stroke", symbolStrokeWidth=4)
    scale = alt.Scale(domain=[_BUSY], range=[INK])

    return (
        alt.Stroke("sign:N", title=None, scale=scale, legend=legend),
        [{**row, "sign": _BUSY} for row in rows],
    )


def moment_line(sheet: Sheet, axis: TimeAxis) -> alt.Chart:
    """A line at the moment that the page shows."""
    chart = sheet.chart("moment", [{"at": 0}]).transform_filter("isValid(moment)")
    chart = chart.transform_calculate(at="moment")

    return chart.mark_rule(color=INK, strokeDash=[5, 3], strokeWidth=1.5, clip=True).encode(
        x=axis.channel("at")
    )


def dressed(
    chart: alt.TopLevelMixin,
    data: Mapping[str, Any],
    axis: TimeAxis | None,
    *,
    signals: Mapping[str, Any] | None = None,
    font_size: int = 12,
) -> dict[str, Any]:
    """A chart as Vega-Lite, in memhub's look and with the signals.

    Args:
        chart: any.
        data: its rows by name.
        axis: the time that it shows first.
        signals: values of signals that are not as at the start of a page.
        font_size: of labels, in pixels.
    """
    spec: dict[str, Any] = chart.to_dict(validate=False)
    low, high = (0.0, 1.0) if axis is None else axis.ends
    values = {**SIGNALS, "left": low, "right": high, **(signals or {})}
    spec["params"] = [{"name": name, "value": value} for name, value in values.items()]
    spec["datasets"] = dict(data)
    spec["config"] = _look(font_size)

    return spec


def _look(font_size: int) -> dict[str, Any]:
    small = font_size - 1

    return {
        "background": "white",
        "padding": 8,
        "font": "DejaVu Sans, Verdana, sans-serif",
        "view": {"stroke": LINES},
        "axis": {
            "labelFontSize": small,
            "titleFontSize": font_size,
            "labelColor": INK,
            "titleColor": INK,
            "titleFontWeight": "normal",
            "gridColor": "#eceef0",
            "domainColor": QUIET,
            "tickColor": QUIET,
            "labelLimit": 260,
            "titlePadding": 8,
        },
        "legend": {
            "orient": "top",
            "labelFontSize": small,
            "titleFontSize": small,
            "titleFontWeight": "normal",
            "titleColor": QUIET,
            "labelColor": INK,
            "labelLimit": 220,
            "titleOrient": "left",
            "columnPadding": 12,
            "offset": 6,
            # One legend below the other, so that a narrow page cuts none
            "layout": {"top": {"anchor": "start", "direction": "vertical", "margin": 6}},
        },
        "title": {
            "anchor": "start",
            "frame": "group",
            "fontSize": font_size + 2,
            "color": INK,
            "subtitleColor": QUIET,
            "subtitleFontSize": small,
            "subtitlePadding": 4,
            "offset": 8,
        },
    }
