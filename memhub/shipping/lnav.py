"""A log format for lnav: https://docs.lnav.org. It is made from the schema, so that both agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.audit.fields import FIELDS

if TYPE_CHECKING:
    from memhub.audit.fields import Field

#: The name that lnav gives the format, and the table of its records.
FORMAT: Final = "memhub_audit"

#: Members whose equal values lnav can show in one colour and jump between.
_IDENTIFIERS: Final = frozenset(
    {"event", "machine", "device", "process", "owner", "op", "errno", "cause", "holder", "peer"}
)

#: Members that have no column: lnav does not quote these names, and SQL has words of its own.
_SQL_WORDS: Final = frozenset({"commit"})

#: Members that are shown in the line; the others are below it, and in SQL.
_SHOWN: Final = ("event", "op", "machine", "process", "owner", "errno", "reason")


def lnav_format() -> dict[str, Any]:
    """The format as the object that lnav's file has."""
    return {
        "$schema": "https://lnav.org/schemas/format-v1.schema.json",
        FORMAT: {
            "title": "memhub audit log",
            "description": "Range requests, claims and waits of memhub, hash-chained",
            "file-type": "json",
            "timestamp-field": "wall_ns",
            "timestamp-divisor": 1_000_000_000,
            "level-field": "errno",
            "level": {"warning": "^E[A-Z0-9]+$"},
            "opid-field": "process",
            "hide-extra": True,
            "line-format": _line_format(),
            "value": {
                name: _value(name, field)
                for name, field in FIELDS.items()
                if name not in _SQL_WORDS
            },
        },
    }


def _line_format() -> list[Any]:
    parts: list[Any] = [
        {"field": "__timestamp__"},
        " ",
        {"field": "seq", "min-width": 6, "align": "right"},
    ]
    for name in _SHOWN:
        width = {"min-width": 13} if name == "event" else {}
        parts += [" ", {"field": name, "default-value": "", **width}]

    return parts


def _value(name: str, field: Field) -> dict[str, Any]:
    kind = {"int": "integer", "u64": "integer", "ns": "integer", "bool": "boolean", "str": "string"}
    value: dict[str, Any] = {
        "kind": kind.get(field.type, "json"),
        "description": field.meaning,
    }
    if name in _IDENTIFIERS:
        value["identifier"] = True
    elif value["kind"] == "integer":
        value["foreign-key"] = True

    if name not in _SHOWN and name != "seq":
        value["hidden"] = True

    return value
