"""One view as a file, without a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt
import vl_convert

from memhub.analysis.pictures.layers import dressed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memhub.analysis.pictures.figure import Figure

#: The endings of files that can be made.
FORMATS: Final = ("svg", "png", "pdf")

#: Pixels of a PNG for each of the picture's.
_SHARP: Final = 2


class NothingToDraw(ValueError):
    """Raised where a log has nothing that a view shows."""


def plot(
    figures: Sequence[Figure],
    form: str,
    *,
    width: int = 1000,
    signals: dict[str, Any] | None = None,
    caption: str = "",
) -> bytes:
    """Pictures below one another, as a file.

    Args:
        figures: of one view.
        form: one of FORMATS.
        width: of the part with marks, in pixels.
        signals: values of the charts' signals, as `moment` and `tick`.
        caption: a line below each title.

    Raises:
        NothingToDraw: there are no pictures.
    """
    if not figures:
        raise NothingToDraw("the log has nothing that this view shows")

    spec = whole_spec(figures, width, signals or {}, caption)
    if form == "svg":
        svg: str = vl_convert.vegalite_to_svg(spec)

        return svg.encode()

    if form == "pdf":
        return bytes(vl_convert.vegalite_to_pdf(spec))

    return bytes(vl_convert.vegalite_to_png(spec, scale=_SHARP))


def whole_spec(
    figures: Sequence[Figure], width: int, signals: dict[str, Any], caption: str
) -> dict[str, Any]:
    """The Vega-Lite of pictures below one another."""
    charts = [
        it.chart.properties(width=width, title=alt.Title(it.title, subtitle=_below(it, caption)))
        for it in figures
    ]
    chart = charts[0]
    if len(charts) > 1:
        alone = dict.fromkeys(("color", "fill", "stroke", "strokeDash", "shape", "size"))
        shared = "shared" if figures[0].axis else "independent"
        chart = alt.vconcat(*charts, spacing=24).resolve_scale(
            x=shared, **dict.fromkeys(alone, "independent")
        )

    data = {name: rows for it in figures for name, rows in it.data.items()}

    return dressed(chart, data, figures[0].axis, signals=signals)


def _below(figure: Figure, caption: str) -> Any:  # noqa: ANN401 - altair's type
    """What stands below a title."""
    lines = [*([caption] if caption else []), *figure.told]

    return lines or alt.Undefined
