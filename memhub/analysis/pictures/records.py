"""The records behind marks, as people read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import ibis

from memhub.abi import MDF_BUSY
from memhub.analysis.columns import ADDED
from memhub.analysis.pictures.palette import kind_of
from memhub.analysis.pictures.time_axis import readable_time
from memhub.analysis.pictures.words import range_text
from memhub.audit.fields import FIELDS
from memhub.escape import escape_controls

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from memhub.analysis import Analysis
    from memhub.analysis.pictures.figure import Key

Record = dict[str, Any]

#: The most items of a list, slots of a change, and characters of a text that are shown.
_ITEMS: Final = 24
_SLOTS: Final = 48
_TEXT: Final = 600

_SIDES: Final = tuple(
    f"{side}_{name}"
    for side in ("before", "after")
    for name in ("base", "length", "flags", "owner")
)

#: Integers that a double holds.
_EXACT: Final = 1 << 53


def read_shown(log: Analysis, keys: Iterable[Key]) -> dict[Key, Record]:
    """Some records, each as a line for people, its members, and the slots that it changed.

    Args:
        log: where they are.
        keys: which.

    Returns:
        for each that is there: `line`, `members` (text or numbers by name) and `slots` (lines).
    """
    by_log: dict[str, list[int]] = {}
    for name, n in keys:
        by_log.setdefault(name, []).append(n)

    t = log.views.records
    wanted = ibis.literal(False)
    for name, some in by_log.items():
        wanted |= (t.log == name) & t.n.isin(sorted(set(some)))

    rows = t.filter(wanted).order_by("log", "n").to_pyarrow().to_pylist() if by_log else []

    return {(row["log"], row["n"]): show_record(row) for row in rows}


def show_record(row: Record) -> Record:
    """One record for people: foreign text is escaped, addresses are hexadecimal."""
    changed = row.get("slots") is not None and row.get("after_base") is not None
    hidden = {*ADDED, *(("slots", *_SIDES) if changed else ())}
    members = {
        name: _value(name, value)
        for name, value in row.items()
        if value is not None and name not in hidden
    }

    return {
        "line": _line(row),
        "members": members,
        "slots": list(_slots(row)) if changed else [],
    }


def _line(row: Record) -> str:
    """The record in a line, as `memhub audit show` has it."""
    words = [
        str(row["seq"]),
        readable_time(row["wall_ns"]),
        row["event"],
        row.get("op") or row.get("cause") or "",
        row.get("machine") or "",
        row.get("process") or "",
    ]
    if row.get("base") is not None and row.get("length") is not None:
        words.append(range_text(row["base"], row["length"]))

    words += row.get("attributes") or ()
    text = " ".join(it for it in words if it)
    if row.get("errno") is not None:
        text += f": {row['errno']}: {row.get('reason') or ''}"

    return _cut(escape_controls(text))


def _slots(row: Record) -> Iterator[str]:
    for place, slot in enumerate(row["slots"][:_SLOTS]):
        after = _side(row, "after", place)
        before = _side(row, "before", place)
        yield escape_controls(f"slot {slot}: {before} -> {after}" if before else
                              f"slot {slot}: {after}")  # fmt: skip

    more = len(row["slots"]) - _SLOTS
    if more > 0:
        yield f"and {more} further slots"


def _side(row: Record, side: str, place: int) -> str:
    lists = [row.get(f"{side}_{name}") for name in ("base", "length", "flags", "owner")]
    if any(it is None or place >= len(it) for it in lists):
        return ""

    base, length, flags, owner = (it[place] for it in lists if it is not None)
    if not length and not flags & ~MDF_BUSY:
        return "empty"

    busy = ", BUSY" if flags & MDF_BUSY else ""

    return f"{range_text(base, length)} {kind_of(flags).name}, owner {owner or 'nobody'}{busy}"


def _value(name: str, value: Any) -> Any:  # noqa: ANN401 - a member has one of many types
    field = FIELDS.get(name)
    kind = "" if field is None else field.type
    if isinstance(value, list):
        items = [_value_of(kind.strip("[]"), it) for it in value[:_ITEMS]]
        more = len(value) - _ITEMS

        return ", ".join(map(str, items)) + (f", and {more} more" if more > 0 else "")

    if name == "flags" and isinstance(value, int):
        return hex(value)

    return _value_of(kind, value)


def _value_of(kind: str, value: Any) -> Any:  # noqa: ANN401 - likewise
    if isinstance(value, str):
        return _cut(escape_controls(value))

    if kind == "u64":
        return hex(value)

    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _EXACT:
        return str(value)

    return value


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT else f"{text[:_TEXT]}… ({len(text) - _TEXT} more)"
