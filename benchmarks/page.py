"""The parts of `docs/performance.md` that are made of the rows of a run, and its pictures."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, Final

from benchmarks import growth, latency
from benchmarks.report import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from benchmarks.harness import Row
    from benchmarks.history import Version

#: The columns of a figure: without an event loop, and on each of them.
COLUMNS: Final = ("", "asyncio", "uvloop", "trio")
_FAMILIES: Final = (growth.FAMILY, latency.FAMILY)
_HEAD: Final = (
    "| question | against | | asyncio | uvloop | trio | at least | aim |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
)


def write_page(
    path: Path,
    rows: Sequence[Row],
    where: Mapping[str, Any],
    kept: Sequence[Version],
    version: str | None = None,
) -> None:
    """Put the figures of a run into the page, and draw its pictures beside it.

    Args:
        path: the page.
        rows: of one run of every question.
        where: the machine, as `report.machine` tells it.
        kept: all versions that are kept, the earliest first.
        version: the one among them that the rows are of, if they are kept.

    Raises:
        ValueError: the page lacks a mark.
    """
    import vl_convert

    from benchmarks.pictures import exponents, ratios, waits

    page = path.read_text("utf-8")
    parts = {
        "figures": figures(rows, where),
        "growth": growths(rows),
        "latency": latencies(rows, where),
        "history": histories(kept),
    }
    for name, text in parts.items():
        page = put_part(page, name, text)

    drawn = {
        "ratios": ratios.draw(rows, [it for it in kept if it.name != version]),
        "growth": exponents.draw(rows),
        "latency": waits.draw(rows),
    }
    for name, spec in drawn.items():
        svg: str = vl_convert.vegalite_to_svg(spec)
        path.with_name(f"{path.stem}-{name}.svg").write_text(svg, "utf-8")

    path.write_text(page, "utf-8")


def put_part(page: str, name: str, text: str) -> str:
    """A page with another text between the marks of one part.

    Raises:
        ValueError: the page lacks the marks.
    """
    first, last = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    if page.count(first) != 1 or page.count(last) != 1:
        raise ValueError(f"the page needs one line {first.strip()} and one {last.strip()}")

    begin, end = page.index(first) + len(first), page.index(last)

    return f"{page[:begin]}{text}{page[end:]}"


def figures(rows: Iterable[Row], where: Mapping[str, Any]) -> str:
    """The table of all ratios and amounts, but those of families with a table of their own."""
    own = [row for row in rows if not row.question.startswith(_FAMILIES)]
    lines = [_line(question, against, by) for (question, against), by in _grouped(own).items()]

    return f"{_describe(where)}\n\n{_HEAD}{''.join(lines)}"


def _grouped(rows: Iterable[Row]) -> dict[tuple[str, str], dict[str, Row]]:
    """The rows of each question that ran, by column."""
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        if row.ratio is not None:
            known = row.column in COLUMNS
            question = row.question if known else f"{row.question}, {row.column}"
            found.setdefault((question, row.against), {})[row.column if known else ""] = row

    return found


def _line(question: str, against: str, by: Mapping[str, Row]) -> str:
    row = next(iter(by.values()))
    sign, suffix = "≥" if row.more else "≤", " x" if against else f" {row.unit}".rstrip()
    least, aim = row.goal or (None, None)
    goals = ["" if it is None else f"{sign} {it:g}{suffix}" for it in (least, aim)]

    return _cells(question, against, *(_figure(by.get(column)) for column in COLUMNS), *goals)


def _cells(*cells: str) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells) + "\n"


def _head(*cells: str) -> str:
    return _cells(*cells) + _cells(*("---" for _ in cells))


def _figure(row: Row | None) -> str:
    if row is None or row.ratio is None:
        return ""

    return number(row.ratio.median) + (" **miss**" if row.verdict == "MISS" else "")


def growths(rows: Iterable[Row]) -> str:
    """The tables of exponents."""
    found = {row.question: row for row in rows}
    beside = [
        _cells(
            thing, *(_exponent(found.get(growth.with_thing(it, thing))) for it in growth.REQUESTS)
        )
        for thing in growth.HELD
    ]
    whole = [_cells(what, _exponent(found.get(growth.of_all(what)))) for what in growth.WHOLE]
    tables = (
        _head("beside a request, audited", *growth.REQUESTS) + "".join(beside),
        _head("what goes through all", "exponent") + "".join(whole),
    )

    return "\n".join(tables)


def _exponent(row: Row | None) -> str:
    if row is None or row.ratio is None:
        return ""

    return f"{row.ratio.median:.3f}" + (" **miss**" if row.verdict == "MISS" else "")


def latencies(rows: Iterable[Row], where: Mapping[str, Any]) -> str:
    """The table of latencies: each cell has the median, the 99th percentile and the worst."""
    found = {(row.question, row.column): row for row in rows}
    loops = COLUMNS[1:]
    lines = [
        _cells(
            f"{request} at {share} %",
            "one misbehaves" if beside else "alone",
            *(_three(found, request, share, loop, beside=beside) for loop in loops),
            _absolute(found, request, share, beside=beside),
        )
        for request in latency.REQUESTS
        for share in latency.SHARES
        for beside in (False, True)
    ]
    head = _head("request, part of the greatest load", "clients", *loops, "ms on asyncio")

    return f"{_describe(where)}\n\n{head}{''.join(lines)}"


def _of(
    found: Mapping[tuple[str, str], Row], request: str, share: int, loop: str, *, beside: bool
) -> list[Row]:
    asked = (latency.question(request, share, part, beside=beside) for part in latency.PARTS)

    return [row for question in asked if (row := found.get((question, loop))) and row.ratio]


def _three(
    found: Mapping[tuple[str, str], Row], request: str, share: int, loop: str, *, beside: bool
) -> str:
    """The ratios, and which client misbehaves."""
    rows = _of(found, request, share, loop, beside=beside)
    ratios = " / ".join(number(row.ratio.median) for row in rows if row.ratio)
    kind = rows[0].note.partition(":")[0] if rows else ""

    return f"{ratios} {kind}".rstrip()


def _absolute(
    found: Mapping[tuple[str, str], Row], request: str, share: int, *, beside: bool
) -> str:
    rows = _of(found, request, share, "asyncio", beside=beside)

    return " / ".join(number(row.figure / 1e3) for row in rows if row.figure is not None)


def histories(kept: Sequence[Version]) -> str:
    """How the rows moved from version to version."""
    if len(kept) < 2:
        names = f"Only {kept[0].name} is kept" if kept else "No version is kept"

        return f"{names} so far (`benchmarks/history/`), so nothing is said of how a row moved.\n"

    by_version = [_grouped(it.rows) for it in kept]
    questions = dict.fromkeys(key for found in by_version for key in found)
    lines = [
        _cells(
            *key,
            *(
                " / ".join(
                    _figure(found[key].get(column)) or "-" for column in _columns(found[key])
                )
                if key in found
                else ""
                for found in by_version
            ),
        )
        for key in questions
        if not key[0].startswith(latency.FAMILY)
    ]

    return _head("question", "against", *(it.name for it in kept)) + "".join(lines)


def _columns(by: Mapping[str, Row]) -> Sequence[str]:
    return COLUMNS[1:] if set(by) - {""} else COLUMNS[:1]


def _describe(where: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in where["versions"].items())
    text = (
        f"Taken on {where['cores']} cores of an {where['cpu']}, {where['system']}, Python "
        f"{where['python']}, {versions}, load {where['load']} at the end."
    )

    return "\n".join(textwrap.wrap(text, 100))
