"""What the pictures share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt

from memhub.analysis.pictures.layers import dressed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.analysis.pictures.layers import Sheet

#: Event loops by the shape of their marks; rows without one have the last.
LOOPS: Final = {
    "asyncio": "circle",
    "uvloop": "square",
    "trio": "triangle-up",
    "no event loop": "diamond",
}
#: Pixels of a row.
STEP: Final = 24


def names_axis(width: int) -> alt.Axis:
    """The axis of rows with names, which have so many pixels."""
    return alt.Axis(
        grid=True, tickBand="extent", ticks=False, labelPadding=6, labelLimit=width,
        minExtent=width, domain=False,
    )  # fmt: skip


def rows_channel(field: str, names: list[str], width: int) -> alt.Y:
    """Rows with names."""
    return alt.Y(
        f"{field}:N",
        title=None,
        scale=alt.Scale(domain=names, padding=0),
        axis=names_axis(width),
    )


def apart(edge: int = 5) -> alt.YOffset:
    """The marks of a row below one another, by their `place`: from 0, the top, to 2."""
    return alt.YOffset("place:Q", scale=alt.Scale(domain=[0, 2], range=[edge, STEP - edge]))


def shape(field: str, shapes: Mapping[str, str]) -> alt.Shape:
    """Shapes by kind."""
    return alt.Shape(
        f"{field}:N",
        title=None,
        scale=alt.Scale(domain=list(shapes), range=list(shapes.values())),
        legend=across(),
    )


def across(**settings: object) -> alt.Legend:
    """A legend in one line."""
    return alt.Legend(direction="horizontal", **settings)


def panel_title(text: str) -> alt.Title:
    """The title of a part of a picture."""
    return alt.Title(text, fontSize=13)


def finished(
    chart: alt.TopLevelMixin, sheet: Sheet, title: str, subtitle: list[str]
) -> dict[str, Any]:
    """A picture as Vega-Lite."""
    above = alt.Title(title, subtitle=subtitle, fontSize=17, frame="bounds")

    spec = dressed(chart.properties(title=above), sheet.data, None)
    # A text for each mark would be half of the file; the table beside a picture says the same
    spec["config"]["aria"] = False

    return spec
