"""The replay kit: recorded drivers, machines and types are answered alike, and faults show."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from memhub.abi import MDF_ACTIVE
from memhub.arches import ArchNotInstalled, load_arches
from memhub.config import import_dump
from memhub.rig import DriverTrace, TraceError, parse_trace, replay, trace_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.core.drivers.driver import Arch, Change, Cpu, RangeDriver, RangeState
    from memhub.core.spec import MachineSpec

DATA = Path(__file__).parent / "data"
ARCHES = load_arches()
X86 = trace_lines(DATA / "freebsd-x86.open.jsonl.gz")


def importer(text: str, phys_bits: int, arch: str) -> MachineSpec:
    return import_dump(text, phys_bits=phys_bits, arch=arch).spec


@pytest.mark.parametrize(
    ("name", "scenarios", "steps"),
    [
        ("freebsd-i386.open.jsonl.gz", 400, 13550),
        ("freebsd-x86.open.jsonl.gz", 400, 13740),
        ("freebsd-k6.open.jsonl.gz", 100, 3100),
        ("freebsd-powerpc.open.jsonl.gz", 100, 2820),
        ("effective-mtrr.open.jsonl.gz", 150, 13537),
        ("machines.open.jsonl", 53, 752),
    ],
)
def test_every_recorded_step_is_answered_alike(name: str, scenarios: int, steps: int) -> None:
    done = [replay(parse_trace(line), ARCHES, importer) for line in trace_lines(DATA / name)]

    assert [mismatch for it in done for mismatch in it.mismatches] == []
    assert (len(done), sum(it.steps for it in done)) == (scenarios, steps)


# One place altered


def lively() -> dict[str, Any]:
    """A scenario with a step that changes a slot and a register, and a GET."""
    for line in X86:
        raw: dict[str, Any] = json.loads(line)
        ops = {step["op"] for step in raw["steps"]}
        if len(raw["table"]) > 88 and ops == {"get", "set"} and any(map(busy_step, raw["steps"])):
            return raw

    raise AssertionError("no such scenario")


def busy_step(step: Mapping[str, Any]) -> bool:
    return bool(step.get("changed") and step.get("msr"))


def first(raw: dict[str, Any], found: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    step: dict[str, Any] = next(step for step in raw["steps"] if found(step))

    return step


def slot(raw: dict[str, Any]) -> None:
    first(raw, busy_step)["changed"][0][1] ^= 0x1000


def owner(raw: dict[str, Any]) -> None:
    first(raw, busy_step)["changed"][0][4] = "other"


def missing(raw: dict[str, Any]) -> None:
    first(raw, busy_step)["changed"].pop(0)


def register(raw: dict[str, Any]) -> None:
    msrs = first(raw, busy_step)["msr"]
    msrs[next(iter(msrs))] ^= 0x1000


def errno(raw: dict[str, Any]) -> None:
    first(raw, busy_step)["errno"] = "EBUSY"


def count(raw: dict[str, Any]) -> None:
    first(raw, lambda step: step["op"] == "get")["count"] += 1


def start(raw: dict[str, Any]) -> None:
    raw["table"][3][2] ^= MDF_ACTIVE


def unsupported(raw: dict[str, Any]) -> None:
    raw["supported"] = False


@pytest.mark.parametrize(
    ("alter", "what"),
    [
        (slot, "slot "),
        (owner, "slot "),
        (missing, "slot "),
        (register, "register 0x"),
        (errno, "errno"),
        (count, "count"),
        (start, "slot 3"),
        (unsupported, "supported"),
    ],
)
def test_a_trace_altered_in_one_place_is_reported_there(
    alter: Callable[[dict[str, Any]], None], what: str
) -> None:
    raw = lively()
    assert replay(parse_trace(json.dumps(raw).encode()), ARCHES).mismatches == []

    alter(raw)
    found = replay(parse_trace(json.dumps(raw).encode()), ARCHES).mismatches
    assert found
    assert found[0].what.startswith(what)
    assert len({mismatch.step for mismatch in found}) == 1


def test_a_type_or_a_register_of_a_machine_altered_is_reported() -> None:
    line = (DATA / "machines.open.jsonl").read_bytes().splitlines()
    raw = next(row for row in map(json.loads, line) if row.get("types"))
    raw["types"][4][1] = "WC"
    raw["msr"]["0x2ff"] ^= 1
    found = replay(parse_trace(json.dumps(raw).encode()), ARCHES, importer).mismatches

    assert [(it.step, it.what) for it in found] == [
        (1, "register 0x2ff"),
        (6, f"type of {raw['types'][4][0]:#x}"),
    ]


# A driver with a fault


def broken(arch: Arch, method: str, fault: Callable[[Any], Any]) -> dict[str, Arch]:
    """The architectures, one of them with a driver whose one method is wrong."""
    make = arch.driver
    assert make is not None

    def driver(cpu: Cpu, options: Mapping[str, Any]) -> RangeDriver:
        made = make(cpu, options)
        sound = getattr(made, method)
        setattr(made, method, lambda *a: fault(sound(*a)))

        return made

    return {**ARCHES, arch.name: replace(arch, driver=driver)}


def forgets_a_register(change: Change) -> Change:
    return replace(change, msrs=dict(list(change.msrs.items())[1:]))


def touches_another_slot(change: Change) -> Change:
    other = 0 if 0 not in change.slots else 1
    row = next(iter(change.slots.values()), None)

    if not row:
        return change

    return replace(change, wrote=(*change.wrote, other), slots={**change.slots, other: row})


def fails(_change: Change) -> Change:
    raise ZeroDivisionError("a bug")


def loses_a_slot(state: RangeState) -> RangeState:
    return state.with_slots(state.slots[:-1])


@pytest.mark.parametrize(
    ("method", "fault", "what"),
    [
        ("update", forgets_a_register, "register 0x"),
        ("update", touches_another_slot, "slot "),
        ("update", fails, "errno"),
        ("attach", loses_a_slot, "descriptors"),
    ],
)
def test_a_driver_with_a_fault_does_not_pass(
    method: str, fault: Callable[[Any], Any], what: str
) -> None:
    arches = broken(ARCHES["amd64-mtrr"], method, fault)
    found = replay(parse_trace(json.dumps(lively()).encode()), arches).mismatches

    assert found
    assert found[0].what.startswith(what)


# Files


def test_plain_files_and_gzip_are_told_apart_by_their_first_bytes(tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.gz", tmp_path / "b"
    plain.write_bytes(b"\n".join(X86[:3]) + b"\n\n")
    packed.write_bytes(gzip.compress(plain.read_bytes()))

    assert trace_lines(plain) == trace_lines(packed) == X86[:3]


def test_the_architecture_is_that_of_the_id_unless_one_is_named() -> None:
    told, named = parse_trace(X86[0]), parse_trace(X86[0], "i386")
    assert isinstance(told, DriverTrace)
    assert isinstance(named, DriverTrace)
    assert (told.arch, named.arch) == ("amd64-mtrr", "i386")
    with pytest.raises(ArchNotInstalled):
        replay(parse_trace(X86[0], "vax"), ARCHES)


def _without(key: str) -> dict[str, Any]:
    raw = lively()
    del raw[key]

    return raw


def _with_step(**fields: object) -> dict[str, Any]:
    raw = lively()
    raw["steps"][0] = {**first(raw, lambda step: step["op"] == "set"), **fields}

    return raw


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (_without("cpu"), "'cpu' is missing"),
        (_without("table"), "'table' is missing"),
        ({**lively(), "msr": {"0x2ff": "3072"}}, "'0x2ff' is '3072', not int"),
        ({**lively(), "id": "mystery"}, "its id does not tell the architecture"),
        ({**lively(), "table": [[1, 2, 3]]}, "row [1, 2, 3] is not [base, length, flags, owner]"),
        (_with_step(op="put"), "step 'put' is none of 'get', 'set', 'ioctl' and 'resume'"),
        (_with_step(base=True), "'base' is True, not int"),
        (_with_step(errno=None), "'errno' is None, not str"),
        (_with_step(changed=[[]]), "changed row [] does not name a slot"),
        ({"id": "x"}, "not a trace: it has neither 'steps' nor 'types' nor 'text'"),
        ([1], "not a JSON object but list"),
    ],
)
def test_what_is_no_trace_is_refused_with_the_reason(raw: object, message: str) -> None:
    with pytest.raises(TraceError) as caught:
        parse_trace(json.dumps(raw).encode())

    assert message in str(caught.value)
