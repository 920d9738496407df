"""Answers recorded from other kernels: each step is answered alike, and a planted fault shows."""

from __future__ import annotations

import copy
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from memhub.arches import load_arches
from memhub.kernels import load_kernels
from memhub.rig import Replay, TraceError, parse_trace, replay, trace_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(__file__).parents[1] / "data" / "kernels"
KERNELS = load_kernels()
ARCHES = load_arches()


def replay_line(line: bytes) -> Replay:
    return replay(parse_trace(line), ARCHES, None, KERNELS)


@pytest.mark.parametrize(
    ("name", "scenarios", "steps"),
    [
        ("linux-mtrr-6.18.2-x86_64.open.jsonl.gz", 300, 8502),
        ("linux-mtrr-6.18.2-i386.open.jsonl.gz", 300, 8508),
        ("linux-mtrr-2.6.32-x86_64.open.jsonl.gz", 300, 8484),
        ("linux-mtrr-2.6.32-i386.open.jsonl.gz", 300, 8864),
        ("linux-mtrr-cleanup-6.18.2.open.jsonl.gz", 300, 600),
        ("linux-pat-6.18.2.open.jsonl.gz", 300, 7784),
        ("netbsd-i686.open.jsonl.gz", 300, 5457),
        ("netbsd-k6.open.jsonl.gz", 120, 2566),
    ],
)
def test_every_recorded_step_is_answered_alike(name: str, scenarios: int, steps: int) -> None:
    done = [replay_line(line) for line in trace_lines(DATA / name)]

    assert [str(mismatch) for it in done for mismatch in it.mismatches] == []
    assert [it.unjudged for it in done if it.unjudged] == []
    assert (len(done), sum(it.steps for it in done)) == (scenarios, steps)


OFF = "a CPU that starts while ranges are off"
PANIC = "a request that kills the kernel"


@pytest.mark.parametrize(
    ("name", "scenarios", "steps", "unjudged"),
    [
        ("dragonfly", 300, 9670, {OFF: 6}),
        ("openbsd-amd64", 300, 9890, {OFF: 4}),
        ("openbsd-i386", 300, 9515, {OFF: 8, PANIC: 2}),
        ("openbsd-k6", 100, 3020, {}),
    ],
)
def test_every_step_of_another_mem4_is_answered_alike(
    name: str, scenarios: int, steps: int, unjudged: dict[str, int]
) -> None:
    done = [replay_line(line) for line in trace_lines(DATA / f"{name}.open.jsonl.gz")]

    assert [str(mismatch) for it in done for mismatch in it.mismatches] == []
    assert sum((it.unjudged for it in done), Counter()) == unjudged
    assert (len(done), sum(it.steps for it in done)) == (scenarios, steps)


@pytest.mark.parametrize("name", ["dragonfly", "openbsd-amd64", "openbsd-i386", "openbsd-k6"])
def test_each_altered_answer_of_another_mem4_is_a_mismatch(name: str) -> None:
    lines = trace_lines(DATA / f"{name}.open.jsonl.gz")
    raw = next(it for it in map(json.loads, lines) if any(s.get("changed") for s in it["steps"]))
    missed = []
    for number, step in enumerate(raw["steps"]):
        if step["op"] != "resume":
            other = copy.deepcopy(raw)
            other["steps"][number]["errno"] = "EXDEV"
            if not replay_line(json.dumps(other).encode()).mismatches:
                missed.append(number)

    assert missed == []


def scenario_with(*ops: str, release: str = "6.18.2") -> dict[str, Any]:
    for line in trace_lines(DATA / f"linux-mtrr-{release}-x86_64.open.jsonl.gz"):
        raw: dict[str, Any] = json.loads(line)
        if {*ops} <= {step["op"] for step in raw["steps"] if step.get("changed")}:
            return raw

    pytest.fail(f"no scenario with {ops}")


def altered(raw: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Copies of a scenario, each with one answer that is not the kernel's."""
    for number, step in enumerate(raw["steps"]):
        for what, wrong in {
            "errno": "EXDEV",
            "ret": 77,
            "text": "reg00\n",
            "changed": [[0, 1, 2, 3, 4]],
            "msr": {"0x200": 1},
            "msr_other": {"1": {"0x200": 1}},
            "log": [["warn", "a line that no kernel prints"]],
            "held": [[0, 9]],
            "out": {"base": 1, "size": 1, "type": 1},
            "uniform": 7,
            "index": 99,
        }.items():
            if what in step:
                other = copy.deepcopy(raw)
                other["steps"][number][what] = wrong
                yield f"{number} {what}", other


@pytest.mark.parametrize("release", ["6.18.2", "2.6.32"])
def test_each_altered_answer_is_a_mismatch(release: str) -> None:
    raw = scenario_with("write", "ioctl", release=release)
    missed = [
        where
        for where, other in altered(raw)
        if not replay_line(json.dumps(other).encode()).mismatches
    ]

    assert missed == []


@pytest.mark.parametrize("what", ["enabled", "proc", "count", "log", "table", "after"])
def test_each_altered_state_after_boot_is_a_mismatch(what: str) -> None:
    raw = scenario_with("write")
    raw[what] = "another"

    assert [it.what for it in replay_line(json.dumps(raw).encode()).mismatches] == [what]


@pytest.mark.parametrize("what", ["log", "table", "after", "trim"])
def test_each_altered_plan_of_the_boot_is_a_mismatch(what: str) -> None:
    lines = trace_lines(DATA / "linux-mtrr-cleanup-6.18.2.open.jsonl.gz")
    raw = next(raw for raw in map(json.loads, lines) if raw["trim"]["trimmed"])
    if what == "trim":
        raw[what]["reserved"] = [[0, 4096]]
    else:
        raw[what] = "another"

    assert [it.what for it in replay_line(json.dumps(raw).encode()).mismatches] == [
        "reserved" if what == "trim" else what
    ]


def test_each_altered_answer_of_page_attributes_is_a_mismatch() -> None:
    lines = trace_lines(DATA / "linux-pat-6.18.2.open.jsonl.gz")
    raw = next(raw for raw in map(json.loads, lines) if raw["enabled"] and raw["ram"])
    missed = []
    for number, step in enumerate(raw["steps"]):
        for what in {"errno", "got", "tracked", "pages", "log", "answer", "allowed"} & {*step}:
            other = copy.deepcopy(raw)
            other["steps"][number][what] = "another"
            if not replay_line(json.dumps(other).encode()).mismatches:
                missed.append((number, what))

    heads = [
        what
        for what in ("enabled", "pat_msr", "modes", "log", "list")
        if not replay_line(json.dumps({**raw, what: "another"}).encode()).mismatches
    ]

    assert (missed, heads) == ([], [])


@pytest.mark.parametrize("name", ["netbsd-i686", "netbsd-k6"])
def test_each_altered_answer_of_netbsd_is_a_mismatch(name: str) -> None:
    lines = trace_lines(DATA / f"{name}.open.jsonl.gz")
    raw = next(raw for raw in map(json.loads, lines) if any("msr" in it for it in raw["steps"]))
    missed = []
    for number, step in enumerate(raw["steps"]):
        for what in {"errno", "done", "changed", "msr", "cleaned"} & {*step}:
            other = copy.deepcopy(raw)
            other["steps"][number][what] = "another"
            if not replay_line(json.dumps(other).encode()).mismatches:
                missed.append((number, what))

    assert missed == []


def test_a_damaged_scenario_is_a_mismatch() -> None:
    raw = scenario_with("write")
    del raw["cpu"]["vendor"]

    assert "KeyError" in replay_line(json.dumps(raw).encode()).mismatches[0].found


def test_a_kernel_that_nobody_has_is_named() -> None:
    raw = {**scenario_with("write"), "kernel": "plan9-4"}
    with pytest.raises(TraceError, match=r"no kernel answers as 'plan9-4' \(linux-6.18.2"):
        replay_line(json.dumps(raw).encode())


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        (["msr"], [], "'msr' is [], not dict"),
        (["msr", "0x2ff"], "0", "'msr.0x2ff' is '0', not int"),
        (["cpu", "family"], True, "'cpu.family' is True, not int"),
        (["boot", "options"], 5, "'boot.options' is 5, not list"),
        (["ap_msr"], {"1": 3}, "'ap_msr.1' is 3, not dict"),
        (["steps"], {}, "'steps' is {}, not list"),
        (["steps", 1], "x", "'step 1' is 'x', not dict"),
        (["steps", 1, "op"], None, "'step 1: op' is None, not str"),
        (["steps", 1], {}, "step 1: 'op' is missing"),
        (["steps", 1, "base"], "0x1000", "'step 1: base' is '0x1000', not int"),
    ],
)
def test_a_field_of_another_type_is_named_with_its_scenario(
    path: list[Any], value: object, why: str
) -> None:
    raw = json.loads(trace_lines(DATA / "linux-mtrr-2.6.32-i386.open.jsonl.gz")[0])
    *parents, last = path
    place = raw
    for it in parents:
        place = place[it]

    place[last] = value
    with pytest.raises(TraceError) as caught:
        parse_trace(json.dumps(raw).encode())

    assert str(caught.value) == f"scenario {raw['id']}: {why}"
