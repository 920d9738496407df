"""Rows as a table, as JSON, and compared with those of an earlier run."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from importlib import metadata
from typing import TYPE_CHECKING, Any

from benchmarks.harness import Goal, Row, Spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PACKAGES = (
    "anyio", "trio", "uvloop", "numpy", "orjson", "pluggy", "structlog",
    "unicorn", "intervaltree", "pymodbus", "grpcio", "rpyc",
)  # fmt: skip
_HEAD = ("question", "column", "figure", "against", "ratio [low..high]", "at least", "aim", "")


def machine() -> dict[str, Any]:
    """Where and with what the figures were taken."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
        "versions": dict(_versions()),
    }


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123
            return next(
                line.split(":")[1].strip() for line in file if line.startswith("model name")
            )
    except (OSError, StopIteration):
        return platform.machine()


def _versions() -> Iterator[tuple[str, str]]:
    for name in _PACKAGES:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue


def document(rows: Iterable[Row]) -> dict[str, Any]:
    """A run as plain data."""
    return {
        "machine": machine(),
        "rows": [{**asdict(row), "verdict": row.verdict} for row in rows],
    }


def read_rows(found: dict[str, Any]) -> list[Row]:
    """The rows of a document."""
    rows = []
    for fields in found["rows"]:
        kept = {name: value for name, value in fields.items() if name != "verdict"}
        kept["ratio"] = Spread(*kept["ratio"]) if kept.get("ratio") else None
        kept["goal"] = Goal(*kept["goal"]) if kept.get("goal") else None
        rows.append(Row(**kept))

    return rows


def merged(runs: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Several documents as one: where two have the same row, that of the later one."""
    found: dict[tuple[str, str, str], Row] = {}
    where: dict[str, Any] = {}
    for run in runs:
        where = run["machine"]
        found |= {row.key: row for row in read_rows(run)}

    return {**document(found.values()), "machine": where}


def table(rows: Iterable[Row]) -> str:
    """A Markdown table, aligned for reading."""
    cells = [_HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEAD))]
    lines = [_line(line, widths) for line in cells]
    rule = "| " + " | ".join("-" * max(3, width) for width in widths) + " |"

    return "\n".join([lines[0], rule, *lines[1:]])


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    padded = [cell.ljust(max(3, width)) for cell, width in zip(cells, widths, strict=True)]

    return "| " + " | ".join(padded) + " |"


def _cells(row: Row) -> tuple[str, ...]:
    if row.ratio is None or row.figure is None:
        note = f"skipped: {row.note}"
        return (row.question, row.column, "", row.against, "", "", "", note)

    sign = "≥ " if row.more else "≤ "
    suffix = " x" if row.against else ""
    least, aim = row.goal or (None, None)

    return (
        row.question,
        row.column,
        f"{number(row.figure)} {row.unit}",
        row.against or "the figure itself",
        f"{number(row.ratio.median)} [{number(row.ratio.low)}..{number(row.ratio.high)}]",
        "" if least is None else f"{sign}{least:g}{suffix}",
        "" if aim is None else f"{sign}{aim:g}{suffix}",
        " ".join(word for word in (row.verdict, row.note) if word),
    )


def number(value: float) -> str:
    """Three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def worse(rows: Iterable[Row], earlier: Iterable[Row]) -> Iterator[str]:
    """What got worse beyond the spread of both runs."""
    before = {row.key: row for row in earlier}
    for row in rows:
        old = before.get(row.key)
        if old is None or old.ratio is None or row.ratio is None:
            continue

        new_best = row.ratio.high if row.more else row.ratio.low
        old_worst = old.ratio.low if row.more else old.ratio.high
        if (new_best < old_worst) if row.more else (new_best > old_worst):
            was, now = number(old.ratio.median), number(row.ratio.median)
            yield f"{row.question} ({row.column or row.against or row.unit}): {was} -> {now}"
