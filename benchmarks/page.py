"""The table of figures in `docs/performance.md`, made of the rows of a run."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, Final

from benchmarks.report import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from benchmarks.harness import Row

#: The columns of a figure: without an event loop, and on each of them.
COLUMNS: Final = ("", "asyncio", "uvloop", "trio")
_BEGIN: Final = "<!-- figures -->\n"
_END: Final = "<!-- end of figures -->\n"
_HEAD: Final = (
    "| question | against | | asyncio | uvloop | trio | at least | aim |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
)


def figures(rows: Iterable[Row], where: Mapping[str, Any]) -> str:
    """The text between the page's marks.

    Args:
        rows: of one run.
        where: the machine, as `report.machine` tells it.
    """
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        if row.ratio is not None:
            known = row.column in COLUMNS
            question = row.question if known else f"{row.question}, {row.column}"
            found.setdefault((question, row.against), {})[row.column if known else ""] = row

    lines = [_line(question, against, by) for (question, against), by in found.items()]

    return f"{_describe(where)}\n\n{_HEAD}{''.join(lines)}"


def put_figures(page: str, text: str) -> str:
    """A page with other figures.

    Raises:
        ValueError: the page lacks the marks.
    """
    if page.count(_BEGIN) != 1 or page.count(_END) != 1:
        raise ValueError(f"the page needs one line {_BEGIN.strip()} and one {_END.strip()}")

    begin, end = page.index(_BEGIN) + len(_BEGIN), page.index(_END)

    return f"{page[:begin]}{text}{page[end:]}"


def _line(question: str, against: str, by: Mapping[str, Row]) -> str:
    row = next(iter(by.values()))
    sign, suffix = "≥" if row.more else "≤", " x" if against else f" {row.unit}".rstrip()
    least, aim = row.goal or (None, None)
    goals = ["" if it is None else f"{sign} {it:g}{suffix}" for it in (least, aim)]
    cells = [question, against, *(_figure(by.get(column)) for column in COLUMNS), *goals]

    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells) + "\n"


def _figure(row: Row | None) -> str:
    if row is None or row.ratio is None:
        return ""

    return number(row.ratio.median) + (" **miss**" if row.verdict == "MISS" else "")


def _describe(where: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in where["versions"].items())
    text = (
        f"Taken on {where['cores']} cores of an {where['cpu']}, {where['system']}, Python "
        f"{where['python']}, {versions}, load {where['load']} at the end."
    )

    return "\n".join(textwrap.wrap(text, 100))
