"""The JSON bodies as a JSON schema: of obstacles, reports, rules, calls and others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.audit.schema import EVENTS, FIELDS
from memhub.core.effective.typemap import CODE_OF_TYPE
from memhub.engine.subscriptions import CHANGES
from memhub.service.wire.calls import SAFE
from memhub.service.wire.refusals import OBSTACLE_TYPES
from memhub.service.wire.wide import WIDE
from memhub.service.wire_page.fault_members import (
    COUNTS,
    ENUMS,
    OUT_OF_STEP,
    RULE,
    SICK_ENUMS,
    SICKNESS,
    STRUCK,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Schema = dict[str, Any]

#: What an obstacle can be.
OBSTACLES: Final[Mapping[str, str]] = {
    "claim": "another process's claim, also where its fencing number is the one that was named",
    "commit": "a MEMRANGE_SET that is on its way to all CPUs; the process's own, too",
    "overlap": "a range in another slot, with which the new one conflicts",
    "unknown": "a slot of unknown type, which only MDF_FORCE overwrites",
    "slot": "a slot that is in use, where none is free",
    "fixed": "a fixed slot, which cannot be changed so",
    "wait": "another process that waits for these bytes and is served first",
    "fence": "the claim whose fencing number the request named, and which this process has lost",
    "broken": "a claim on these bytes that this process has lost to a break or to the end of its "
    "lease",
}

_OBSTACLE_MEANINGS: Final = {
    "kind": "what it is; see above",
    "slot": "index of the slot",
    "base": "first byte",
    "length": "bytes",
    "type": "the type there, in memcontrol(8)'s words",
    "owner": "the label in `mr_owner`",
    "process": "name of the process whose it is; of `fence` and `broken`, of the one that broke "
    "the claim, missing where a lease ran out",
    "process_id": "the service's number for that process",
    "pid": "its process id, where known",
    "since": "when it began, in seconds since 1970 UTC; of `fence` and `broken`, when the claim "
    "was taken that is lost",
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
REPORT: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "report": {
        "wall": ("float", "when it was made, in seconds since 1970 UTC"),
        "machines": ("[machine]", "those asked for that the client may look at"),
        "service": ("service", "only with `rates`, or if everything is asked for"),
    },
    "machine": {
        "machine": ("str", "its name"),
        "arch": ("str", "its architecture's name"),
        "slots": ("int", "how many slots its table has"),
        "used": ("int", "how many of them hold a range"),
        "generation": ("int", "rises with every change of the table or the claims"),
        "kernel": ("str", "only of a kernel other than FreeBSD: its name"),
        "files": ("[str]", "only of such a kernel: the files that it answers, as `/proc/mtrr`"),
        "dead": ("str?", "only of such a kernel: why it answers nothing more"),
        "failed": ("failure?", "why what is asked of its range driver is refused with EIO"),
        "sick": ("health?", "what is wrong with its hardware, or that it sleeps"),
        "processes": ("[process]", "who has it open"),
        "claims": ("[claim]", "who holds what, oldest first"),
        "commits": ("[commit]", "MEMRANGE_SETs that are on their way to all CPUs"),
        "waits": ("[wait]", "who waits for what, in order"),
        "waits_for": ("[[int]]", "pairs: the number of a process, and of one it waits for"),
        "hazards": ("[hazard]", "only of a machine that is not coherent: what it met"),
        "end": ("int", "only with `map`: one past the last physical address"),
        "pieces": ("[piece]", "only with `map`: the address space, in order, without gaps"),
        "ranges": ("[range]", "only with `map`: the slots that decide types, in order"),
        "notes": ("[str]", "only with `map`: what is not known of it"),
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
    "piece": {
        **_SPAN,
        "type": ("str?", "the effective type; null where the machine has none"),
        "also": ("[str]", "further types, where many stretches alternate"),
        "implementation_defined": ("bool", "whether the manual leaves the type to the CPU"),
        "kind": ("str", "what lies there: `ram`, `rom`, `device`, `hole`, …"),
        "device": ("str", "the device that answers, or nothing"),
        "slots": ("[int]", "the slots that cover it"),
        "busy": ("[str]", "names of the processes that hold it"),
    },
    "range": {
        "slot": ("int", "the slot's number"),
        "last": ("int", "the last number of a run of fixed slots that are alike"),
        **_SPAN,
        "type": ("str", "the type that it asks for"),
        "owner": ("str", "its label"),
        "fixed": ("bool", "whether its range cannot be moved"),
        "busy": ("[str]", "names of the processes that hold it"),
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

_PLAIN: Final[Schema] = {
    "description": f'an integer beyond {SAFE} is {{"int": "…"}}, its decimal digits in a text',
    "anyOf": [
        *({"type": it} for it in ("null", "boolean", "string")),
        {"type": "integer", "minimum": -SAFE, "maximum": SAFE},
        {"type": "array", "items": {"$ref": "#/$defs/plain"}},
        {"type": "object", "additionalProperties": {"$ref": "#/$defs/plain"}},
    ],
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
    if sort.startswith("{"):
        found = {"type": "object", "additionalProperties": _typed_schema(name, sort[1:-1])}
    elif sort.startswith("["):
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


def _digits_up_to(most: int) -> str:
    """A pattern of the decimal numbers from 0 to `most`, without leading zeros."""
    text = str(most)
    shorter = ["0", f"[1-9][0-9]{{0,{len(text) - 2}}}"]
    smaller = [
        f"{text[:place]}[{int(not place)}-{int(digit) - 1}][0-9]{{{len(text) - place - 1}}}"
        for place, digit in enumerate(text)
        if int(digit) > int(not place)
    ]

    return "|".join([*shorter, *smaller, text])


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
                {"type": "string", "pattern": f"^({_digits_up_to((1 << 64) - 1)})$"},
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
        **{name: _object_schema(members) for name, members in REPORT.items()},
        "fault_rule": _object_schema(RULE, ["action"]),
        "fault": _object_schema({**RULE, **COUNTS}, ["action", "name", *COUNTS]),
        "sickness_rule": _object_schema(SICKNESS, ["action"]),
        "sickness": _object_schema({**SICKNESS, **STRUCK}, ["action", "name", *STRUCK]),
        "faults": {
            "type": "array",
            "items": {"anyOf": [{"$ref": "#/$defs/fault"}, {"$ref": "#/$defs/sickness"}]},
        },
        "cpu": _object_schema(OUT_OF_STEP),
        "cpus": {"type": "array", "items": {"$ref": "#/$defs/cpu"}},
        "snapshot_put": _object_schema(
            {"bytes": ("int", "bytes of the file that have come, or that were loaded")}
        ),
        "snapshot_done": _object_schema({"machines": ("[str]", "their names")}),
        "device": _object_schema(_DEVICE),
        "devices": {"type": "array", "items": {"$ref": "#/$defs/device"}},
        "plain": _PLAIN,
        "call": {"type": "object", "additionalProperties": {"$ref": "#/$defs/plain"}},
    }
    enums = dict.fromkeys(("fault_rule", "fault"), ENUMS)
    for name, listed in (enums | dict.fromkeys(("sickness_rule", "sickness"), SICK_ENUMS)).items():
        for member, words in listed.items():
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
