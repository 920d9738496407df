"""Logs written by hand: the records of one machine, with the members that each event needs."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from memhub import AuditLog
from memhub.abi import MDF_ACTIVE
from memhub.audit.schema import EVENTS, FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

SECOND = 10**9
WALL = 1_700_000_000 * SECOND
UC, WC, WB = (MDF_ACTIVE | kind for kind in (1, 2, 8))

#: A range in a slot: base, length, flags, label.
Range = tuple[int, int, int, str]

EMPTY: Range = (0, 0, 0, "")


def record(event: str, at: float, **members: Any) -> dict[str, Any]:
    """A record `at` seconds after the start, with a value for every member that it needs."""
    made: dict[str, Any] = {
        "event": event,
        "wall_ns": WALL + round(at * SECOND),
        "mono_ns": round(at * SECOND),
    }
    for name in EVENTS[event].required:
        field = FIELDS[name]
        blank = [] if field.type.startswith("[") else {"str": "", "bool": False}.get(field.type, 0)
        made[name] = None if field.nullable else blank

    if "machine" in made:
        made |= {"machine": "pc", "arch": "amd64-mtrr"}

    return made | members


def who(name: str, number: int) -> dict[str, Any]:
    return {"process": name, "process_id": number, "pid": 100 + number, "uid": 0}


def table(side: str, rows: Sequence[Range]) -> dict[str, Any]:
    return {
        f"{side}_{name}": [row[place] for row in rows]
        for place, name in enumerate(("base", "length", "flags", "owner"))
    }


def attach(at: float, rows: Sequence[Range], **members: Any) -> dict[str, Any]:
    slots = {"slots": list(range(len(rows)))}

    return record("device.attach", at, **slots, **table("after", rows), **members)


def change(
    at: float, by: tuple[str, int], slot: int, before: Range, after: Range, **members: Any
) -> dict[str, Any]:
    """A MEMRANGE_SET that succeeded."""
    asked = after if after[1] else before

    return record(
        "request.set",
        at,
        **who(*by),
        **{
            "op": "update" if after[1] else "remove",
            "owner": asked[3],
            "base": asked[0],
            "length": asked[1],
            "flags": asked[2],
            "slots": [slot],
            **table("before", [before]),
            **table("after", [after]),
            "errno": None,
            **members,
        },
    )


def opened(at: float, by: tuple[str, int]) -> dict[str, Any]:
    return record("request.open", at, **who(*by), op="open", errno=None)


def closed(at: float, by: tuple[str, int]) -> dict[str, Any]:
    return record("request.close", at, **who(*by), op="close", errno=None, cause="close")


def write_log(path: Path, records: Iterable[dict[str, Any]], log_id: str = "hand") -> Path:
    """A log of these records, with the log's own around them."""
    ticks = itertools.count(WALL)
    with AuditLog.open(path, wall=lambda: next(ticks), mono=lambda: 0, log_id=log_id) as log:
        for it in records:
            log.record(it)

    return path
