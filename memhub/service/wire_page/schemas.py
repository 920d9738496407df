"""The JSON bodies: of obstacles, REPORT, EXPLAIN, FAULTS and EVENT, as a JSON schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.audit.schema import EVENTS, FIELDS
from memhub.core.effective.typemap import CODE_OF_TYPE
from memhub.service.wire.refusals import OBSTACLE_TYPES
from memhub.service.wire.wide import WIDE
from memhub.service.wire_page.fault_members import COUNTS, ENUMS, RULE
from memhub.service.wire_page.tables import table
from memhub.subscriptions import CHANGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Schema = dict[str, Any]

#: What an obstacle can be.
OBSTACLES: Final[Mapping[str, str]] = {
    "claim": "another process's claim",
    "commit": "a MEMRANGE_SET that is on its way to all CPUs; the process's own, too",
    "overlap": "a range in another slot, with which the new one conflicts",
    "unknown": "a slot of unknown type, which only MDF_FORCE overwrites",
    "slot": "a slot that is in use, where none is free",
    "fixed": "a fixed slot, which cannot be changed so",
    "wait": "another process that waits for these bytes and is served first",
    "fence": "a fencing number that this process does not hold, or has lost",
    "broken": "a claim that this process has lost to a break or to the end of its lease",
}

_OBSTACLE_MEANINGS: Final = {
    "kind": "what it is; see above",
    "slot": "index of the slot",
    "base": "first byte",
    "length": "bytes",
    "type": "the type there, in memcontrol(8)'s words",
    "owner": "the label in `mr_owner`",
    "process": "name of the process whose it is",
    "process_id": "the service's number for that process",
    "pid": "its process id, where known",
    "since": "when it began, in seconds since 1970 UTC",
}

_WHO: Final = {
    "process": ("str", "name of the process"),
    "process_id": ("int", "the service's number for it"),
    "pid": ("int?", "its process id, where known"),
}
_SPAN: Final = {"base": ("int", "first byte"), "length": ("int", "bytes")}
_SINCE: Final = {
    "since": ("float", "when it began, in seconds since 1970 UTC"),
    "seconds": ("float", "how long ago that is"),
}

#: REPORT: the members of each kind of object; `[name]` is a list of those.
_REPORT: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "report": {
        "wall": ("float", "when it was made, in seconds since 1970 UTC"),
        "machines": ("[machine]", "those asked for that the client may look at"),
        "service": ("service", "only with `rates`, or if everything is asked for"),
    },
    "machine": {
        "machine": ("str", "its name"),
        "arch": ("str", "its architecture's name"),
        "slots": ("int", "how many slots its table has"),
        "used": ("int", "how many of them are active"),
        "generation": ("int", "rises with every change of the table or the claims"),
        "failed": ("failure?", "why what is asked of its range driver is refused with EIO"),
        "sick": ("health?", "what is wrong with its hardware, or that it sleeps"),
        "processes": ("[process]", "who has it open"),
        "claims": ("[claim]", "who holds what, oldest first"),
        "commits": ("[commit]", "MEMRANGE_SETs that are on their way to all CPUs"),
        "waits": ("[wait]", "who waits for what, in order"),
        "waits_for": ("[[int]]", "pairs: the number of a process, and of one it waits for"),
        "hazards": ("[hazard]", "only of a machine that is not coherent: what it met"),
    },
    "hazard": {
        "name": ("str", "which hazard: docs/memory.md lists them"),
        "level": ("str", "`error` or `warning`"),
        "address": ("int", "first byte of the first stretch that met it"),
        "length": ("int", "bytes of that stretch"),
        "process": ("str?", "name of the process that is to mend it, where known"),
        "process_id": ("int?", "the service's number for it"),
        "slot": ("int?", "the slot that gives the address its type"),
        "type": ("str", "the effective type of the address"),
        "since": ("int?", "the log's record from which on it was so"),
        "seen": ("int?", "the log's record that met it first"),
        "times": ("int", "how often it was met"),
        "what": ("str", "what was done"),
        "cure": ("str", "the cheapest way to mend it"),
    },
    "failure": {
        "reason": ("str", "the failure after which it was marked failed"),
        "failures": ("int", "how many failures of its driver there were"),
        **_SINCE,
    },
    "health": {
        "sicknesses": ("[str]", "the names of its sicknesses"),
        "cpus": ("[int]", "the CPUs whose registers are not what the kernel stored"),
        "suspended": ("moment?", "since when it is suspended"),
    },
    "moment": _SINCE,
    "process": {
        **_WHO,
        "uid": ("int?", "its user id, where known"),
        "handles": ("int", "how many handles it has open"),
    },
    "claim": {
        **_WHO,
        "fence": ("int", "fencing number"),
        "kind": ("str", "`range` (taken by CLAIM) or `update` (by MEMRANGE_SET)"),
        **_SPAN,
        "slots": ("[int]", "slots that it protects"),
        "owners": ("[str]", "the labels in them"),
        **_SINCE,
        "lease": ("float?", "seconds until it ends unless renewed"),
    },
    "commit": {**_WHO, **_SPAN, "slots": ("[int]", "slots that it writes"), **_SINCE},
    "wait": {
        **_WHO,
        "op": ("str", "`set`, `claim` or `wait`"),
        **_SPAN,
        **_SINCE,
        "waits_for": ("[int]", "numbers of the processes that it waits for"),
    },
    "service": {
        "software": ("str", "name and version"),
        "pid": ("int", "its process id"),
        "connections": ("int", "clients that are connected"),
        "requests": ("int", "requests answered since it began"),
        "mono_ns": ("int", "its monotonic clock, in nanoseconds"),
    },
}

#: The members that a machine has with `what` claims or waits alone, and with both.
_ALWAYS: Final = ("machine", "arch")

_EXPLAIN: Final = {
    "address": ("int", "the address asked for"),
    "physical": ("int", "the physical address that it means"),
    "type": ("str", f"one of {', '.join(f'`{name}`' for name in CODE_OF_TYPE)}"),
    "why": ("str", "which descriptor or register decides it, in words"),
    "implementation_defined": ("bool", "the architecture leaves this combination to the CPU"),
}

_DEVICE: Final = {
    "name": ("str", "its name"),
    "kind": ("str", "the name of its kind"),
    "source": ("str", "the plugin that ships the kind, and its distribution"),
    **_SPAN,
    "options": ("object", "the options of its kind, by name"),
    "limit": ("float", "seconds that it has for the answer to one access"),
    "shows": ("bool", "whether it is memory that it shows"),
}

_JSON_TYPES: Final = {
    "object": "object",
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
}


def _typed_schema(name: str, sort: str, meaning: str = "") -> Schema:
    found: Schema
    if sort.startswith("["):
        found = {"type": "array", "items": _typed_schema(name, sort[1:-1])}
    elif sort.endswith("?"):
        found = {"anyOf": [_typed_schema(name, sort[:-1]), {"type": "null"}]}
    elif sort in ("u64", "ns") or (sort == "int" and name in WIDE):
        found = {"$ref": "#/$defs/u64"}
    elif sort in _JSON_TYPES:
        found = {"type": _JSON_TYPES[sort]}
    else:
        found = {"$ref": f"#/$defs/{sort}"}

    return {**found, "description": meaning} if meaning else found


def _object_schema(
    members: Mapping[str, tuple[str, str]], required: Iterable[str] | None = None
) -> Schema:
    return {
        "type": "object",
        "required": list(members if required is None else required),
        "properties": {name: _typed_schema(name, *sort) for name, sort in members.items()},
    }


def _audited_names(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    return {
        name: (FIELDS[name].type + "?" * FIELDS[name].nullable, FIELDS[name].meaning)
        for name in names
    }


def _event_fields() -> list[str]:
    used = {it for name in CHANGES for it in (*EVENTS[name].required, *EVENTS[name].optional)}

    return ["seq", "event", "wall_ns", "mono_ns", *(it for it in FIELDS if it in used)]


def schema() -> Schema:
    """The schema; `$defs` has one entry for each body and each object in one."""
    obstacle = {
        name: ("float" if float in types else types[0].__name__, _OBSTACLE_MEANINGS[name])
        for name, types in OBSTACLE_TYPES.items()
    }
    defs: Schema = {
        "u64": {
            "description": "a string where the feature STRINGS was granted, else a number",
            "anyOf": [
                {"type": "string", "pattern": "^(0|[1-9][0-9]*)$"},
                {"type": "integer", "minimum": 0, "maximum": (1 << 64) - 1},
            ],
        },
        "obstacles": {"type": "array", "items": {"$ref": "#/$defs/obstacle"}},
        "obstacle": _object_schema(obstacle, ["kind"]),
        "event": _object_schema(
            {**_audited_names(_event_fields()), "event": ("str", "what happened; see above")},
            ["event", "wall_ns", "mono_ns"],
        ),
        "explain": _object_schema(_EXPLAIN),
        **{name: _object_schema(members) for name, members in _REPORT.items()},
        "fault_rule": _object_schema(RULE, ["action"]),
        "fault": _object_schema({**RULE, **COUNTS}, ["action", "name", *COUNTS]),
        "faults": {"type": "array", "items": {"$ref": "#/$defs/fault"}},
        "device": _object_schema(_DEVICE),
        "devices": {"type": "array", "items": {"$ref": "#/$defs/device"}},
    }
    for name in ("fault_rule", "fault"):
        for member, words in ENUMS.items():
            found = defs[name]["properties"][member]
            found.get("items", found)["enum"] = words

    defs["obstacle"]["properties"]["kind"]["enum"] = list(OBSTACLES)
    defs["explain"]["properties"]["type"]["enum"] = list(CODE_OF_TYPE)
    defs["event"]["properties"]["event"]["enum"] = sorted(CHANGES)
    defs["report"]["required"] = ["wall", "machines"]
    defs["machine"]["required"] = list(_ALWAYS)

    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The JSON bodies of memhub's protocol",
        "description": "Objects may gain members: ignore those that you do not know.",
        "$defs": defs,
    }


# Tables for the page


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

    return f"list of {_json_type(it['items'])}" if it["type"] == "array" else str(it["type"])


def report_table() -> str:
    """All objects of a report."""
    return "\n\n".join(f"`{name}`:\n\n{member_table(name)}" for name in _REPORT)


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
