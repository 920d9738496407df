"""One line of a log as a record: which lines are refused, and what reading one may cost.

A line comes from a file that anybody may have written. It is measured before it is parsed, since
a few bytes of JSON can become a large object, and it is refused where two readers could
understand it differently: a member that is there twice, a number that does not fit 64 bits.
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

from memhub.audit.schema import ALWAYS, FIELDS, SCHEMA_VERSION, Field

#: The longest line that is written or read, newline included.
MAX_LINE: Final = 16 << 20

#: The most members and list items of a line. A shorter line cannot have more.
MAX_VALUES: Final = 1 << 20

#: A string of JSON, also one without an end: what it holds does not count as structure.
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)

_SCALARS: Final[dict[str, type]] = {"int": int, "u64": int, "ns": int, "bool": bool, "str": str}


def check_size(line: bytes) -> None:
    """Refuse a line that would take much memory to parse; needed above MAX_VALUES bytes only.

    Raises:
        ValueError: it is too long, or holds too many values.
    """
    if len(line) >= MAX_LINE:
        raise ValueError(f"a line has at most {MAX_LINE} bytes")

    if _count_values(line) > MAX_VALUES and _count_values(_STRING.sub(b"", line)) > MAX_VALUES:
        raise ValueError(f"a line has at most {MAX_VALUES} values")


def _count_values(line: bytes) -> int:
    """How many commas and brackets there are, which is at least the number of values."""
    return line.count(b",") + line.count(b"[") + line.count(b"{")


def parse_object(line: bytes) -> dict[str, Any]:
    """Parse a line (without its newline) that must be one JSON object.

    Raises:
        ValueError: it is not, it is too large, a member is there twice, or an integer does not
            fit 64 bits. The text is one sentence without the line's number.
    """
    if len(line) > MAX_VALUES:
        check_size(line)

    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos + 1}") from None

    if not isinstance(record, dict):
        raise ValueError("not a JSON object")

    # What the writer wrote comes out the same again. A member that was there twice does not, and
    # neither does an integer beyond 64 bits, which orjson reads as a float.
    try:
        same = orjson.dumps(record) == line
    except TypeError:
        # orjson reads deeper nesting than it writes; a record is flat
        raise ValueError("nested too deeply for a record") from None

    if not same:
        _check_members(line)

    return record


def _check_members(line: bytes) -> None:
    import json

    json.loads(line.decode(), object_pairs_hook=_check_names, parse_int=_check_integer)


def _check_names(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise ValueError(f"the member {show_value(name)} is there twice")

        seen.add(name)


def _check_integer(digits: str) -> None:
    # 20 digits are 2**64 with its sign or its last digit: int() of more may be refused or slow
    if len(digits) > 20 or not -(1 << 63) <= int(digits) < 1 << 64:
        raise ValueError(f"the number {show_value(digits)} does not fit 64 bits")


def parse_record(line: bytes, *, typed: bool = False) -> dict[str, Any]:
    """Parse a line (without its newline) that must be a record of this schema version.

    Members that the schema does not know are left as they are.

    Args:
        line: without its newline.
        typed: whether to refuse every member that is not of its type, and a record without one
            that all have; otherwise only a list or an object in place of a single value.

    Raises:
        ValueError: `parse_object` refuses it, it has another schema version, or a member is
            refused.
    """
    record = parse_object(line)
    if record.get("v") != SCHEMA_VERSION:
        found = show_value(record.get("v"))
        raise ValueError(f"v is {found}, where schema version {SCHEMA_VERSION} is read")

    if typed:
        _check_types(record)
    else:
        for name, value in record.items():
            if type(value) in _NESTED and name in _SINGLE:
                raise _misfit(name, value)

    return record


def _check_types(record: dict[str, Any]) -> None:
    for name in ALWAYS:
        if name not in record:
            raise ValueError(f"{name} is missing")

    for name, value in record.items():
        kind = type(value)
        if kind not in _TYPES.get(name, _ANY):
            raise _misfit(name, value)

        if kind is list and value and name in FIELDS:
            item = _SCALARS[FIELDS[name].type[1:-1]]
            if any(type(it) is not item for it in value):
                raise _misfit(name, value)


def _misfit(name: str, value: object) -> ValueError:
    field = FIELDS[name]
    due = f"{field.type} or null" if field.nullable else field.type

    return ValueError(f"{name} is {show_value(value)}, which is not {due}")


def _types(field: Field) -> frozenset[type]:
    kind = _SCALARS.get(field.type, list)

    return frozenset({kind, type(None)} if field.nullable else {kind})


_NESTED: Final = frozenset({list, dict})
_ANY: Final = frozenset({int, float, str, bool, type(None), list, dict})
_TYPES: Final = {name: _types(field) for name, field in FIELDS.items()}
_SINGLE: Final = frozenset(name for name, field in FIELDS.items() if field.type in _SCALARS)


def show_value(value: object) -> str:
    """A value of a record for a message: one line, and never more than a few words."""
    if isinstance(value, dict):
        return "an object"

    if isinstance(value, list):
        return "a list"

    text = str(value)
    short = text if len(text) <= 80 else f"{text[:60]}… ({len(text)} characters)"

    return short if short.isprintable() else ascii(short)
