"""The tables of `memhub top` in as many columns as the terminal has, with every number whole."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Final, NamedTuple

from memhub.folding import cells, fold

if TYPE_CHECKING:
    from collections.abc import Iterator

    Row = tuple[str, ...]
    Line = list[tuple[str, str]]

#: Columns of words, whose cells are folded where a table is too wide.
_WORDS: Final = frozenset(
    {"MACHINE", "ARCH", "PROCESS", "OWNER", "WAITS FOR", "LAST", "WHY", "SICKNESSES"}
)
_GAP: Final = "  "


class Sheet(NamedTuple):
    """One table.

    Attributes:
        title: the heading; empty for the first.
        head: its columns.
        rows: the cells, one text per column.
    """

    title: str
    head: Row
    rows: list[Row]


def table_lines(table: Sheet, columns: int) -> Iterator[Line]:
    """A table as lines of texts and styles; where it is too wide, each row as a list of values.

    Args:
        table: its cells have no control characters.
        columns: how wide a line may be.
    """
    widths = _column_widths(table, columns)
    if widths is None:
        for row in table.rows:
            yield from _list_values(table.head, row, columns)

        return

    for number, row in enumerate((table.head, *table.rows)):
        folded = (fold(cell, width, 0) for cell, width in zip(row, widths, strict=True))
        for line in zip_longest(*folded, fillvalue=""):
            padded = (
                it + " " * (width - cells(it)) for it, width in zip(line, widths, strict=True)
            )
            yield [(_GAP.join(padded).rstrip(), "" if number else "bold")]


def _column_widths(table: Sheet, columns: int) -> list[int] | None:
    """A width for each column, those of words as narrow as need be; None where that is too wide."""
    widths = [max(map(cells, column)) for column in zip(table.head, *table.rows, strict=True)]
    least = [
        cells(head) if head in _WORDS else width
        for head, width in zip(table.head, widths, strict=True)
    ]
    room = columns - len(_GAP) * (len(widths) - 1)
    if sum(least) > room:
        return None

    while sum(widths) > room:
        spare = [width - low for width, low in zip(widths, least, strict=True)]
        widths[spare.index(max(spare))] -= 1

    return widths


def _list_values(head: Row, row: Row, columns: int) -> Iterator[Line]:
    """A row as its headings and values, as many on a line as it has room for."""
    line = ""
    for name, cell in zip(head, row, strict=True):
        # a list of numbers is folded behind a comma, and not in a number
        value = cell if name in _WORDS else cell.replace(",", ", ")
        pair = f"{_GAP}{name} {value}"
        if line and cells(line + pair) > columns:
            yield from ([(it, "")] for it in fold(line, columns))
            line = ""

        line += pair if line or name != head[0] else pair.lstrip()

    yield from ([(it, "")] for it in fold(line, columns))
