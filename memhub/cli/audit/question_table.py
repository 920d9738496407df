"""Answers as tables for people, which fit the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from memhub.cli.amounts import extent
from memhub.cli.terminal import Screen
from memhub.cli.width import width
from memhub.escape import escape_controls
from memhub.folding import cells

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Row = dict[str, Any]
    Show = Callable[[Row], str]

#: The narrowest that a column of text becomes.
_NARROWEST: Final = 6

_GAP: Final = 2


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        title: above it.
        show: a row's text in it.
        right: whether it is aligned to the right: numbers are.
        whole: whether it is never cut: addresses are not.
    """

    title: str
    show: Show
    right: bool = False
    whole: bool = True


def text(title: str, name: str, empty: str = "-") -> Column:
    """A column of names, which may be cut."""
    return Column(title, lambda row: empty if row[name] is None else str(row[name]), whole=False)


def word(title: str, name: str) -> Column:
    """A column of few known words, which are never cut."""
    return Column(title, lambda row: "-" if row[name] is None else str(row[name]))


def number(title: str, name: str) -> Column:
    """A column of numbers."""
    return Column(title, lambda row: "-" if row[name] is None else str(row[name]), right=True)


def span(title: str, base: str = "base", length: str = "length") -> Column:
    """A column of ranges."""

    def show(row: Row) -> str:
        if row[base] is None or row[length] is None:
            return "-"

        return extent(row[base], row[length])

    return Column(title, show)


def lasting(title: str, name: str) -> Column:
    """A column of lengths of time, of nanoseconds."""
    return Column(title, lambda row: show_ns(row[name]), right=True)


def show_ns(ns: int | None) -> str:
    """Nanoseconds in a unit that fits."""
    if ns is None:
        return "-"

    if ns == 0:
        return "0"

    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1), ("ms", 1e-3)):
        if ns >= size * 1e9:
            return f"{ns / (size * 1e9):.3g} {unit}"

    return f"{ns / 1e3:.3g} us"


def print_table(columns: Sequence[Column], rows: Iterable[Row]) -> None:
    """Write rows below titles; columns of names are cut where the terminal is too narrow."""
    shown = [[escape_controls(column.show(row)) for column in columns] for row in rows]
    titles = [column.title for column in columns]
    widths = [max(cells(it) for it in column) for column in zip(titles, *shown, strict=True)]
    widths = _fitted(columns, widths, width())
    screen = Screen()
    screen.line((_line(columns, titles, widths), "bold"))
    for row in shown:
        screen.line(_line(columns, row, widths), hang=4)


def _fitted(columns: Sequence[Column], widths: list[int], most: int) -> list[int]:
    """The widths, those of names reduced, the widest first, until the line fits."""
    fitted = [*widths]
    flexible = [place for place, column in enumerate(columns) if not column.whole]
    while flexible and sum(fitted) + _GAP * (len(fitted) - 1) > most:
        widest = max(flexible, key=lambda place: fitted[place])
        if fitted[widest] <= max(_NARROWEST, cells(columns[widest].title)):
            break

        fitted[widest] -= 1

    return fitted


def _line(columns: Sequence[Column], texts: Sequence[str], widths: Sequence[int]) -> str:
    parts = []
    for column, value, room in zip(columns, texts, widths, strict=True):
        cut = _cut(value, room)
        blank = " " * (room - cells(cut))
        parts.append(blank + cut if column.right else cut + blank)

    return (" " * _GAP).join(parts).rstrip()


def _cut(value: str, room: int) -> str:
    """A text in so many columns; an ellipsis stands for what does not fit."""
    if cells(value) <= room:
        return value

    kept = value
    while kept and cells(kept) > room - 1:
        kept = kept[:-1]

    return f"{kept}…"
