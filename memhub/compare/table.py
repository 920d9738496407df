"""A comparison as text that fits a width."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Final

from memhub.escape import escape_controls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.compare.outcome import Outcome, Parting

WIDTH: Final = 80
_GAP: Final = 2
_LEGEND: Final = (
    "Kernels with the same letter have the same effective map after the step. `-`: the kernel "
    "cannot be asked this. `panic`: it died."
)


def table_lines(outcome: Outcome, width: int = WIDTH) -> Iterator[str]:
    """The requests, the answers by kernel and step, and where kernels part.

    Args:
        outcome: the comparison.
        width: columns of the text.
    """
    yield from _wrapped(outcome.machine, width)
    yield ""
    digits = len(str(len(outcome.requests)))
    for step, it in enumerate(outcome.requests, 1):
        yield from _wrapped(f"{step:{digits}}  {it.text}", width, digits + 2)

    columns = [_column(outcome, step) for step in range(len(outcome.requests) + 1)]
    names = ["", *outcome.kernels]
    first = max(map(len, names))
    while columns:
        used, room = 1, width - first - _GAP - len(columns[0][0])
        while used < len(columns) and room >= _GAP + len(columns[used][0]):
            room -= _GAP + len(columns[used][0])
            used += 1

        yield ""
        for row, name in enumerate(names):
            cells = "".join(" " * _GAP + it[row] for it in columns[:used])
            yield f"{name:<{first}}{cells}".rstrip()

        columns = columns[used:]

    yield ""
    yield from _wrapped(_LEGEND, width)
    partings = outcome.partings()
    if partings:
        yield ""

    for parting in partings:
        yield from _wrapped(_parting_text(parting, outcome.kernels[0]), width, 2)


def _column(outcome: Outcome, step: int) -> list[str]:
    """The cells of one step, each as wide as the widest, its head first."""
    letters = outcome.letters(step)
    if step:
        head = str(step)
        words = [told[step - 1].word for told in outcome.answers]
        cells = [f"{word} {letter}" for word, letter in zip(words, letters, strict=True)]
    else:
        head, cells = "start", letters

    width = max(map(len, (head, *cells)))

    return [f"{it:>{width}}" for it in (head, *cells)]


def _parting_text(it: Parting, first: str) -> str:
    where = f"step {it.step}" if it.step else "the start"
    parts = [f"{it.word}, not {it.other}"] if it.word != it.other else []
    if it.difference is not None:
        address, one, other = it.difference
        parts.append(f"{address:#x} is {one}, not {other}")

    return f"{it.kernel} parts from {first} at {where}: {'; '.join(parts)}"


def _wrapped(text: str, width: int, hang: int = 0) -> list[str]:
    """A text in lines; a long word is broken."""
    shown = escape_controls(text)
    if len(shown) <= width:
        return [shown]

    return wrap(shown, width, subsequent_indent=" " * hang, drop_whitespace=True)
