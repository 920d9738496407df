"""What a live service sends as JSON is what `docs/protocol.schema.json` says."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import anyio
import pytest

from memhub import FaultRule
from memhub.abi import MDF_UNCACHEABLE, MDF_WRITECOMBINE
from memhub.audit.schema import FIELDS
from memhub.core.health.sickness import Sickness
from memhub.service import wire
from memhub.service.wire.wide import WIDE
from memhub.service.wire_page.schemas import OBSTACLES
from memhub.service.wire_page.tables import ABORTS
from service.service_rig import MIB, WINDOW, RawClient, lab, machine
from shell.kit import MTRR
from source_rules import sources

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = json.loads((DOCS / "protocol.schema.json").read_text())

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def faults(value: Any, schema: dict[str, Any], at: str = "") -> list[str]:
    """Where a value is not as a schema says; a member that the schema does not know is one too."""
    known = {"type", "required", "properties", "items", "enum", "anyOf", "$ref", "description"}
    assert schema.keys() <= known | {"pattern", "minimum", "maximum", "additionalProperties"}
    found: list[str] = []
    if "$ref" in schema:
        found += faults(value, SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], at)

    if "anyOf" in schema and all(faults(value, it, at) for it in schema["anyOf"]):
        found.append(f"{at}: {value!r} is none of {schema['anyOf']}")

    sort = schema.get("type")
    if sort is not None and not (
        isinstance(value, _TYPES[sort]) and (sort == "boolean" or not isinstance(value, bool))
    ):
        return [*found, f"{at}: {value!r} is not of type {sort}"]

    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at}: {value!r} is not one of {schema['enum']}")

    if "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"{at}: {value!r} does not match {schema['pattern']}")

    if (
        not schema.get("minimum", value) <= value <= schema.get("maximum", value)
        if (sort == "integer")
        else False
    ):
        found.append(f"{at}: {value!r} is out of bounds")

    if sort == "array" and "items" in schema:
        for number, item in enumerate(value):
            found += faults(item, schema["items"], f"{at}[{number}]")

    if sort == "object":
        properties = schema.get("properties", {})
        found += [f"{at}: no {name}" for name in schema.get("required", ()) if name not in value]
        for name, item in value.items():
            more = properties.get(name) or schema.get("additionalProperties")
            found += (
                faults(item, more, f"{at}.{name}")
                if more
                else [f"{at}: {name} is not in the schema"]
            )

    return found


def body(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


@pytest.mark.parametrize("features", [0, wire.FEATURES])
async def test_live_bodies_are_as_the_schema_says(tmp_path: Path, features: int) -> None:
    """Of both ways to write 64-bit numbers; and where they are asked for, all are strings."""
    other = machine("slow", commit_latency=0.05)
    async with lab(tmp_path, machine(), other) as it, it.connect("rival") as hub:
        client = await RawClient.dial(it.address, features=features)
        options = wire.SUBSCRIBE_REFUSED if features else None
        await client.ask(wire.Subscribe(0, 0, 0, 0, "", options))
        handle = await client.open()
        slow = await hub.open("slow:/dev/mem")
        rival = await hub.open("pc:/dev/mem")
        bodies: list[tuple[str, Any]] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(slow.set_range, WINDOW, MIB, MDF_WRITECOMBINE)
            claim = await rival.claim(WINDOW, MIB, lease=90)
            await rival.set_range(0, MIB, MDF_UNCACHEABLE)
            client.send(*client.protocol.send(wire.Claim(99, handle, 0, 500, WINDOW, MIB)))
            for what in ("", "claims", "waits", "machines,rates", "map"):
                answer: Any = await client.ask(wire.Report(0, what, ""))
                bodies.append(("report", json.loads(answer.data)))

            for address in (0, 0xA0000, WINDOW, (1 << 36) - 1):
                answer = await client.ask(wire.Explain(0, handle, address))
                bodies.append(("explain", json.loads(answer.data)))

            refused: Any = await client.ask(wire.Claim(0, handle, 0, 0, WINDOW, MIB))
            bodies.append(("obstacles", json.loads(refused.obstacles)))
            it.hub.break_claim("pc", claim.fence, "why")

        events: list[Any] = []
        while not any(event.event == "claim.break" for event in events):
            events += [m for m in await client.receive() if isinstance(m, wire.Event)]

        bodies += [("event", json.loads(event.detail)) for event in events]
        for name, value in bodies:
            assert faults(value, body(name)) == []
            assert wide_types(value) <= {str if features else int}

        assert {name for name, _ in bodies} >= {"report", "explain", "obstacles", "event"}
        client.close()


def wide_types(value: Any) -> set[type]:
    """The types of the 64-bit numbers in a body."""
    if isinstance(value, list):
        return {kind for item in value for kind in wide_types(item)}

    if not isinstance(value, dict):
        return set()

    found = {kind for key, it in value.items() if key not in WIDE for kind in wide_types(it)}
    wide = [value[key] for key in WIDE & value.keys() if value[key] is not None]

    return found | {
        type(it) for many in wide for it in (many if isinstance(many, list) else [many])
    }


@pytest.mark.parametrize(
    "name",
    ["report", "explain", "faults", "cpus", "snapshot_put", "snapshot_done", "call", "plain"],
)
def test_the_examples_of_the_page_fit_the_schema(name: str) -> None:
    found = re.search(
        rf"^```json {name}\n(.*?)^```", (DOCS / "protocol.md").read_text(), re.M | re.S
    )
    assert found is not None
    assert faults(json.loads(found[1]), body(name)) == []


def test_the_schema_refuses_what_is_not_so() -> None:
    fine = {"kind": "claim", "base": "5"}
    for base in ("5", "0", str(10**19), str((1 << 64) - 1), str((1 << 64) - 1000), "9" * 19, 7):
        assert faults([{**fine, "base": base}], body("obstacles")) == []

    for wrong in (
        {},
        {"kind": "x"},
        {**fine, "base": "-5"},
        {**fine, "new": 1},
        {**fine, "slot": "1"},
        *({**fine, "base": wrong} for wrong in (1 << 64, str(1 << 64), "9" * 20, "05", "")),
    ):
        assert faults([wrong], body("obstacles"))


def test_the_wide_members_are_those_of_the_log_and_two_more() -> None:
    wide = {name for name, it in FIELDS.items() if it.type.strip("[]") in ("u64", "ns")}
    assert {*wide, "seq", "address", "physical"} == WIDE


def test_every_member_that_the_page_calls_64_bits_wide_is_one_of_a_body() -> None:
    page = (DOCS / "protocol.md").read_text()
    listed = re.search(r"They are called `u64` in the tables: (.*)\.", page)
    assert listed is not None
    used = {
        member
        for it in SCHEMA["$defs"].values()
        for member, sort in it.get("properties", {}).items()
        if "$defs/u64" in json.dumps(sort)
    }
    assert set(re.findall(r"`(\w+)`", listed[1])) == used <= WIDE


def test_a_fault_rule_has_the_members_that_the_schema_lists() -> None:
    members = set(SCHEMA["$defs"]["fault_rule"]["properties"])
    assert members == {it.name for it in dataclasses.fields(FaultRule)}


@pytest.mark.parametrize("features", [wire.FEATURE_FAULTS, wire.FEATURES])
async def test_live_fault_rules_are_as_the_schema_says(tmp_path: Path, features: int) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address, features=features)
        for rule in (
            FaultRule("short", op="read", base=1 << 60, length=1, moved=5, nth=2, times=1),
            FaultRule("delay", machine="pc", process="X", delay=0.5, probability=0.5, seed=4),
            FaultRule("errno", op=["set", "get"], errno="ENOSPC"),
        ):
            text = json.dumps(rule.as_dict())
            assert faults(json.loads(text), body("fault_rule")) == []
            added: Any = await client.ask(wire.Faults(0, "add", text))
            assert faults(json.loads(added.data), body("faults")) == []

        listed: Any = await client.ask(wire.Faults(0, "list", ""))
        assert len(json.loads(listed.data)) == 3
        assert faults(json.loads(listed.data), body("faults")) == []
        assert wide_types(json.loads(listed.data)) == {
            str if features & wire.FEATURE_STRINGS else int
        }
        client.close()


def test_a_sickness_has_the_members_that_the_schema_lists() -> None:
    members = set(SCHEMA["$defs"]["sickness_rule"]["properties"])
    assert members == {it.name for it in dataclasses.fields(Sickness)}


SICK = (
    Sickness(action="cpu_out_of_step", cpu=1, registers={0x2FF: 0xC00}),
    Sickness(action="mask_holes", slot=90, holes=1 << 20, name="holes"),
    Sickness(action="firmware_rewrite", registers={0x2FF: 0xC00}, moment="set", times=3),
    Sickness(action="lost_store", register=0x2FF),
    Sickness(action="forgetful_resume", reinit=True, machine="mtrr"),
)


@pytest.mark.parametrize("features", [wire.FEATURE_FAULTS, wire.FEATURES])
async def test_live_sicknesses_are_as_the_schema_says(tmp_path: Path, features: int) -> None:
    async with lab(tmp_path, MTRR) as it:
        client = await RawClient.dial(it.address, features=features)

        async def ask(what: str, rule: str = "") -> Any:
            answer: Any = await client.ask(wire.Faults(0, what, rule))
            return json.loads(answer.data)

        for sickness in SICK:
            assert faults(sickness.as_dict(), body("sickness_rule")) == []
            assert faults(await ask("add", json.dumps(sickness.as_dict())), body("faults")) == []

        listed = await ask("list")
        assert [it["action"] for it in listed] == [it.action for it in SICK]
        assert faults(listed, body("faults")) == []
        out = await ask("check")
        assert [it["cpu"] for it in out] == [1]
        assert faults(out, body("cpus")) == []
        assert faults(await ask("remove", "holes"), body("faults")) == []
        client.close()


@pytest.mark.parametrize("features", [wire.FEATURE_SNAPSHOTS, wire.FEATURES])
async def test_live_answers_of_snapshot_are_as_the_schema_says(
    tmp_path: Path, features: int
) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address, features=features)
        for what, name in (("put", "snapshot_put"), ("reset", "snapshot_done")):
            answer: Any = await client.ask(wire.Snapshot(0, what, "", b"one"))
            assert faults(json.loads(answer.data), body(name)) == []

        client.close()


def test_every_word_for_what_stood_in_the_way_is_on_the_page() -> None:
    text = "".join(source.text for source in sources("memhub/core", "plugins", "memhub/x86"))
    made = set(re.findall(r'Obstacle\(\s*kind="(\w+)"|, kind="(\w+)"\)', text))
    assert {word for pair in made for word in pair if word} <= set(OBSTACLES)


def test_every_word_of_an_abort_is_on_the_page() -> None:
    text = "".join(source.text for source in sources("memhub/service/wire"))
    said = set(
        re.findall(r'^\s+(?:f?"[^\n]*", )?"([a-z]+-[a-z-]+)",?$|, "([a-z]+-[a-z-]+)"\)', text, re.M)
    )
    assert {word for pair in said for word in pair if word} | {"malformed"} == set(ABORTS)
