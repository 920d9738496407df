"""The rows of earlier versions: one small file for each, `benchmarks/history/VERSION.json`."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from benchmarks.harness import Goal, Row, Spread
from benchmarks.report import read_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FOLDER: Final = Path(__file__).parent / "history"
_VERSION: Final = re.compile(r"\d+(\.\d+)*")
#: Digits that are kept of a figure; more would only be noise.
_DIGITS: Final = 3


class Version(NamedTuple):
    """What was measured of one version.

    Attributes:
        name: as `0.1.0`.
        rows: those that ran.
    """

    name: str
    rows: list[Row]


def checked_name(text: str) -> str:
    """The name of a version.

    Raises:
        ValueError: it is not one.
    """
    if not _VERSION.fullmatch(text):
        raise ValueError(f"{text!r} is no version: numbers with dots between them, as 0.1.0")

    return text


def keep(name: str, rows: Iterable[Row], where: Mapping[str, Any], folder: Path = FOLDER) -> Path:
    """Write the rows of a version, one a line; those that did not run are left out.

    Args:
        name: the version; what was kept of it before is replaced.
        rows: of one run of every question.
        where: the machine, as `report.machine` tells it.
        folder: where.
    """
    lines = [orjson.dumps(_kept(row), default=tuple) for row in rows if row.ratio is not None]
    head = orjson.dumps({"machine": where})[:-1]
    folder.mkdir(exist_ok=True)
    path = folder / f"{checked_name(name)}.json"
    path.write_bytes(head + b',"rows":[\n' + b",\n".join(lines) + b"\n]}\n")

    return path


def versions(folder: Path = FOLDER) -> list[Version]:
    """All that are kept, the earliest version first."""
    paths = sorted(folder.glob("*.json"), key=lambda path: _order(path.stem))

    return [Version(path.stem, read_rows(orjson.loads(path.read_bytes()))) for path in paths]


def _order(name: str) -> list[int]:
    return [int(number) for number in checked_name(name).split(".")]


def _kept(row: Row) -> dict[str, Any]:
    """The fields of a row that are not as in any row."""
    found = {it.name: getattr(row, it.name) for it in fields(row) if it.name != "note"}
    plain = {it.name: it.default for it in fields(row)}

    return {name: _rounded(it) for name, it in found.items() if it != plain[name]}


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")

    if isinstance(value, (Goal, Spread)):
        return [_rounded(it) for it in value]

    return value
