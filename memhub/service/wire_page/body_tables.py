"""Tables of the page: what is in the JSON bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.audit.schema import EVENTS
from memhub.engine.subscriptions import CHANGES
from memhub.service.wire_page.schemas import OBSTACLES, REPORT, schema
from memhub.service.wire_page.tables import table

if TYPE_CHECKING:
    from memhub.service.wire_page.schemas import Schema


def obstacle_table() -> str:
    """The kinds of obstacles, and the members of one."""
    kinds = table(
        ("`kind`", "what stands in the way"), ((f"`{k}`", v) for k, v in OBSTACLES.items())
    )

    return f"{kinds}\n\n{member_table('obstacle')}"


def member_table(name: str) -> str:
    """The members of an object."""
    found = schema()["$defs"][name]
    lines = (
        (f"`{member}`", _json_type(it), it["description"])
        for member, it in found["properties"].items()
    )

    return table(("member", "type", "meaning"), lines)


def _json_type(it: Schema) -> str:
    if "anyOf" in it:
        return f"{_json_type(it['anyOf'][0])} or null"

    if "$ref" in it:
        return str(it["$ref"].rpartition("/")[2])

    if "additionalProperties" in it:
        return f"object of {_json_type(it['additionalProperties'])}"

    return f"list of {_json_type(it['items'])}" if it["type"] == "array" else str(it["type"])


def report_table() -> str:
    """All objects of a report."""
    return "\n\n".join(f"`{name}`:\n\n{member_table(name)}" for name in REPORT)


def event_table() -> str:
    """What a subscriber may be told of."""
    lines = ((f"`{name}`", it.meaning) for name, it in EVENTS.items() if name in CHANGES)

    return table(("event", "when"), lines)


def field_table() -> str:
    """The members of the record in an EVENT."""
    return member_table("event")


def wide_list() -> str:
    """The members that hold 64-bit numbers."""
    found = {
        name
        for it in schema()["$defs"].values()
        for name, sort in it.get("properties", {}).items()
        if "#/$defs/u64" in str(sort)
    }

    return ", ".join(f"`{name}`" for name in sorted(found))
