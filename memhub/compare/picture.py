"""A comparison as a picture: kernels by steps, the colour of a cell is its effective map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.analysis.extra import require_package
from memhub.escape import escape_controls
from memhub.plugin.comparing import PANIC, UNSAID

if TYPE_CHECKING:
    from memhub.compare.outcome import Outcome

#: The endings of files that can be made.
FORMATS: Final = ("svg", "png", "pdf")
#: Steps and kernels that are drawn, at most.
CELLS_MAX: Final = 5000

_INK: Final = "#1a1a1a"
_REFUSED: Final = "#8a1c1c"
#: Okabe and Ito's colours, light enough for words; the letter in a cell tells maps apart too.
_COLOURS: Final = (
    "#d9dce0",
    "#a6d5f2",
    "#f7d08a",
    "#9fdcc6",
    "#eab9d2",
    "#f4b48c",
    "#f3ec9c",
    "#b8c6e6",
)
_CELL: Final = 26
_SHARP: Final = 2


class TooMuch(ValueError):
    """Raised for a comparison of more cells than a picture has room for."""


def draw(outcome: Outcome, form: str) -> bytes:
    """Draw a comparison.

    Args:
        outcome: the comparison.
        form: one of FORMATS.

    Raises:
        AnalysisNotInstalled: the extra `report` is missing.
        TooMuch: there are too many cells.
    """
    cells = len(outcome.kernels) * (len(outcome.requests) + 1)
    if cells > CELLS_MAX:
        raise TooMuch(f"{cells} cells are more than a picture has room for ({CELLS_MAX})")

    spec = picture_spec(outcome)
    convert = require_package("vl_convert", "report")
    if form == "svg":
        svg: str = convert.vegalite_to_svg(spec)

        return svg.encode()

    if form == "pdf":
        return bytes(convert.vegalite_to_pdf(spec))

    return bytes(convert.vegalite_to_png(spec, scale=_SHARP))


def picture_spec(outcome: Outcome) -> dict[str, Any]:
    """The Vega-Lite of a comparison."""
    alt = require_package("altair", "report")
    rows = [row for step in range(len(outcome.requests) + 1) for row in _rows(outcome, step)]
    steps = [_step_name(outcome, step) for step in range(len(outcome.requests) + 1)]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("kernel:N", sort=list(outcome.kernels), title=None).axis(
            orient="top", labelAngle=-40, labelLimit=200, domain=False, ticks=False
        ),
        y=alt.Y("step:N", sort=steps, title=None).axis(
            labelLimit=420, domain=False, ticks=False, labelPadding=8
        ),
    )
    letters = sorted({row["letter"] for row in rows}, key=lambda it: (len(it), it))
    colours = [_COLOURS[number % len(_COLOURS)] for number in range(len(letters))]
    boxes = base.mark_rect(stroke="white", strokeWidth=2).encode(
        color=alt.Color("letter:N", scale=alt.Scale(domain=letters, range=colours), legend=None),
        tooltip=["kernel:N", "step:N", "word:N", "said:N"],
    )
    words = base.mark_text(fontSize=10).encode(
        text="cell:N",
        color=alt.condition("datum.refused", alt.value(_REFUSED), alt.value(_INK)),
    )
    title = alt.Title(
        "What each kernel answers",
        subtitle=[
            escape_controls(outcome.machine),
            "cells with the same letter and colour in a row: the same effective map",
            f"{UNSAID}: the kernel cannot be asked this; {PANIC}: it died",
        ],
        anchor="start",
    )
    chart = alt.layer(boxes, words).properties(
        width=alt.Step(_CELL * 3.4), height=alt.Step(_CELL), title=title
    )
    spec: dict[str, Any] = chart.configure_view(stroke=None).to_dict()

    return spec


def _rows(outcome: Outcome, step: int) -> list[dict[str, Any]]:
    name, letters = _step_name(outcome, step), outcome.letters(step)
    made = []
    for number, kernel in enumerate(outcome.kernels):
        answer = outcome.answers[number][step - 1] if step else None
        word = "" if answer is None else answer.word
        made.append(
            {
                "step": name,
                "kernel": kernel,
                "letter": letters[number],
                "word": word,
                "cell": f"{word} {letters[number]}".strip(),
                "refused": word not in ("", "ok", UNSAID),
                "said": "" if answer is None else escape_controls(answer.said[:200]),
            }
        )

    return made


def _step_name(outcome: Outcome, step: int) -> str:
    if not step:
        return "start"

    return f"{step}  {escape_controls(outcome.requests[step - 1].text)}"
