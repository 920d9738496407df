"""The view of `memhub top`: a report as tables of text."""

from __future__ import annotations

import sys
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from memhub.cli.top_tables import Sheet, table_lines
from memhub.escape import escape_controls
from memhub.folding import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from memhub.cli.top_tables import Line, Row

    Report = Mapping[str, Any]
    Cells = Callable[[Mapping[str, Any], Mapping[int, str]], Row]

_NONE = "-"


def headline(now: Report, before: Report | None) -> str:
    """One line about the service; a rate where there was a report before."""
    service = now.get("service")
    if not service:
        return "machines of this command's own"

    words = [
        service["software"],
        f"pid {service['pid']}",
        _show_count(service["connections"], "connection"),
        _show_count(service["requests"], "request"),
    ]
    rate = requests_per_second(now, before)
    if rate is not None:
        words.append(f"{rate:.0f}/s")

    return escape_controls("  ".join(words))


def requests_per_second(now: Report, before: Report | None) -> float | None:
    """How many requests a second were answered between two reports of one service."""
    here, there = now.get("service"), (before or {}).get("service")
    if not here or not there or here["pid"] != there["pid"]:
        return None

    passed = (here["mono_ns"] - there["mono_ns"]) / 1e9

    return (here["requests"] - there["requests"]) / passed if passed > 0 else None


def sheets(report: Report) -> Iterator[Sheet]:
    """The tables: machines, then claims, commits and waits where there are any."""
    machines = report["machines"]
    head = (
        "MACHINE",
        "ARCH",
        "SLOTS",
        "BUSY",
        "CHANGES",
        "PROCESSES",
        "CLAIMS",
        "COMMITS",
        "WAITS",
    )
    yield Sheet("", head, [_escape_cells(_machine_row(row)) for row in machines])

    failed = [_escape_cells(_failure_cells(row)) for row in machines if row.get("failed")]
    if failed:
        yield Sheet("marked failed", ("MACHINE", "FAILURES", "FOR", "LAST"), failed)

    dead = [_escape_cells((row["machine"], row["dead"])) for row in machines if row.get("dead")]
    if dead:
        yield Sheet("kernels that have died", ("MACHINE", "WHY"), dead)

    sick = [_escape_cells(_sick_cells(row)) for row in machines if row.get("sick")]
    if sick:
        yield Sheet("sick hardware", ("MACHINE", "SUSPENDED", "CPUS", "SICKNESSES"), sick)

    for key, title, columns, details in _DETAILS:
        rows = [
            _escape_cells((row["machine"], *_process_cells(it), *details(it, _process_names(row))))
            for row in machines
            for it in row[key]
        ]
        if rows:
            yield Sheet(title, ("MACHINE", "PROCESS", "PID", *columns), rows)


def _escape_cells(cells: Row) -> Row:
    """Escape before columns are measured: names and labels are foreign text."""
    return tuple(map(escape_controls, cells))


def lines_of(
    title: str, tables: Sequence[Sheet], columns: int, strips: Sequence[Line]
) -> Iterator[Line]:
    """The view as lines of texts and styles; strips behind the first table.

    Args:
        title: of `headline`.
        tables: of `sheets`.
        columns: how wide a line may be.
        strips: of `top_strips.strip_lines`, of so many columns.
    """
    yield from ([(it, "bold")] for it in fold(title, columns))
    for place, table in enumerate(tables):
        yield []
        if table.title:
            yield from ([(it, "bold")] for it in fold(table.title, columns))

        yield from table_lines(table, columns)
        if strips and not place:
            yield []
            yield from strips


def text(
    title: str, tables: Sequence[Sheet], columns: int = sys.maxsize, strips: Sequence[Line] = ()
) -> str:
    """The view as plain text, no line wider than `columns`."""
    lines = lines_of(title, tables, columns, strips)

    return "".join("".join(it for it, _ in line).rstrip() + "\n" for line in lines)


def _machine_row(row: Mapping[str, Any]) -> Row:
    busy = {slot for it in (*row["claims"], *row["commits"]) for slot in it["slots"]}
    handles = sum(it["handles"] for it in row["processes"])

    return (
        row["machine"],
        " ".join(filter(None, (row["arch"], row.get("kernel")))),
        f"{row['used']}/{row['slots']}" if row["slots"] else _NONE,
        str(len(busy)),
        str(row["generation"]),
        f"{len(row['processes'])} ({handles} open)" if handles else "0",
        *(str(len(row[key])) for key in ("claims", "commits", "waits")),
    )


def _failure_cells(row: Mapping[str, Any]) -> Row:
    it = row["failed"]

    return row["machine"], str(it["failures"]), _show_seconds(it["seconds"]), it["reason"]


def _sick_cells(row: Mapping[str, Any]) -> Row:
    it = row["sick"]
    suspended = _NONE if it["suspended"] is None else _show_seconds(it["suspended"]["seconds"])
    cpus, names = ",".join(map(str, it["cpus"])), ",".join(it["sicknesses"])

    return row["machine"], suspended, cpus or _NONE, names or _NONE


def _process_names(row: Mapping[str, Any]) -> dict[int, str]:
    every = (*row["processes"], *row["claims"], *row["waits"])

    return {it["process_id"]: it["process"] for it in every}


def _process_cells(it: Mapping[str, Any]) -> Row:
    return it["process"], _NONE if it["pid"] is None else str(it["pid"])


def _claim_row(it: Mapping[str, Any], _: Mapping[int, str]) -> Row:
    lease = _NONE if it["lease"] is None else _show_seconds(it["lease"])
    owners = ",".join(owner or _NONE for owner in it["owners"]) or _NONE

    return (
        _show_range(it),
        _show_slots(it),
        owners,
        str(it["fence"]),
        _show_seconds(it["seconds"]),
        lease,
    )


def _commit_row(it: Mapping[str, Any], _: Mapping[int, str]) -> Row:
    return _show_range(it), _show_slots(it), _show_seconds(it["seconds"])


def _wait_row(it: Mapping[str, Any], names: Mapping[int, str]) -> Row:
    others = ", ".join(names.get(other, f"process {other}") for other in it["waits_for"])

    return it["op"], _show_range(it), _show_seconds(it["seconds"]), others or "a commit"


def _show_range(it: Mapping[str, Any]) -> str:
    return f"{it['base']:#x}/{it['length']:#x}"


def _show_slots(it: Mapping[str, Any]) -> str:
    """The slots, three or more that follow one another as `16-23`."""
    words: list[str] = []
    for _, run in groupby(enumerate(it["slots"]), lambda pair: pair[1] - pair[0]):
        some = [str(slot) for _, slot in run]
        words += [f"{some[0]}-{some[-1]}"] if len(some) > 2 else some

    return ",".join(words) or _NONE


def _show_count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _show_seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 100 else f"{value / 60:.0f} min"


#: Key in the report, title, columns, and what makes the cells of one entry.
_DETAILS: Final[tuple[tuple[str, str, Row, Cells], ...]] = (
    ("claims", "claims", ("RANGE", "SLOTS", "OWNER", "FENCE", "HELD", "LEASE"), _claim_row),
    ("commits", "commits in flight", ("RANGE", "SLOTS", "SINCE"), _commit_row),
    ("waits", "waits", ("FOR", "RANGE", "SINCE", "WAITS FOR"), _wait_row),
)
