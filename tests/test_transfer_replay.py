"""Recorded reads, writes and seeks of real kernels are answered alike, and faults show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from memhub.arches import load_arches
from memhub.rig import TraceError, parse_trace, replay, trace_lines

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(__file__).parent / "data" / "transfers"
ARCHES = load_arches()

#: Steps judged, and those that are not: mmap, user faults, addresses beyond the CPU's width, and
#: walks outside the kernel's page tables.
FILES = {
    "amd64-9.3": (4306, {"mmap": 212, "user fault": 141, "page tables outside the kernel's": 14}),
    "amd64-12.1": (4209, {"mmap": 225, "user fault": 210}),
    "i386-9.3": (4201, {"mmap": 274, "user fault": 222}),
    "i386-10.4": (4202, {"mmap": 233, "user fault": 223}),
    "i386-12.1": (4258, {"mmap": 240, "user fault": 195}),
    "i386-14": (4224, {"mmap": 233, "user fault": 190}),
    "i386pae-12.1": (4167, {"mmap": 243, "user fault": 173}),
    "arm64-12.1": (3364, {"mmap": 171, "user fault": 165}),
    "powerpc32-12.1": (4187, {"mmap": 278, "user fault": 203}),
    "powerpc64-12.1": (
        4263,
        {"mmap": 253, "user fault": 159, "beyond the CPU's address width": 10},
    ),
    "powerpc64-14": (
        4224,
        {"mmap": 235, "user fault": 155, "beyond the CPU's address width": 6},
    ),
}


def lines_of(name: str) -> list[bytes]:
    return trace_lines(DATA / f"freebsd-{name}.open.jsonl.gz")


@pytest.mark.parametrize("name", FILES)
def test_every_recorded_transfer_is_answered_alike(name: str) -> None:
    done = [replay(parse_trace(line), ARCHES) for line in lines_of(name)]
    unjudged: dict[str, int] = {}
    for it in done:
        for reason, count in it.unjudged.items():
            unjudged[reason] = unjudged.get(reason, 0) + count

    assert [mismatch for it in done for mismatch in it.mismatches] == []
    assert len(done) == 300
    assert (sum(it.steps for it in done), unjudged) == FILES[name]


# One place altered


def found(raw: dict[str, Any]) -> list[tuple[int | None, str]]:
    mismatches = replay(parse_trace(json.dumps(raw).encode()), ARCHES).mismatches

    return [(it.step, it.what) for it in mismatches]


def errno(step: dict[str, Any]) -> None:
    step["errno"] = "EPERM"


def count(step: dict[str, Any]) -> None:
    step["moved"] += 1


def value(step: dict[str, Any]) -> None:
    step["ret"] += 1


def offset(step: dict[str, Any]) -> None:
    step["at"] += 1


def content(step: dict[str, Any]) -> None:
    step["crc"] ^= 1


@pytest.mark.parametrize(
    ("op", "alter", "what"),
    [
        ("open", errno, "errno"),
        ("pread", errno, "errno"),
        ("pread", count, "bytes moved"),
        ("pread", value, "return value"),
        ("pread", content, "bytes read"),
        ("read", offset, "offset"),
        ("pwrite", count, "bytes moved"),
        ("preadv", content, "bytes read"),
        ("writev", offset, "offset"),
        ("seek", errno, "errno"),
        ("seek", value, "return value"),
        ("seek", offset, "offset"),
    ],
)
def test_a_step_altered_in_one_place_is_reported_there(
    op: str, alter: Callable[[dict[str, Any]], None], what: str
) -> None:
    for line in lines_of("amd64-12.1"):
        raw = json.loads(line)
        for number, step in enumerate(raw["steps"]):
            usable = step.get("moved", 1) and "notes" not in step and "mode" not in step
            if step["op"] == op and (usable or op == "open") and step["errno"] == 0:
                alter(step)
                assert (number, what) in found(raw)
                return

    raise AssertionError("no such step")


def test_a_page_that_should_have_changed_is_reported() -> None:
    raw = next(it for it in map(json.loads, lines_of("i386-10.4")) if it["changed"])
    page = raw["changed"].pop()[0]

    assert found(raw) == [(len(raw["steps"]) - 1, f"memory at {page * 4096:#x}")]


def test_rules_of_another_release_do_not_pass() -> None:
    """The eras differ: the traces of one fail on the rules of another."""
    wrong = 0
    for line in lines_of("i386-12.1"):
        raw = json.loads(line)
        raw["id"] = raw["id"].replace("i386-12.1", "i386-14")
        wrong += bool(found(raw))

    assert wrong > 10


# What is no trace


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "linux-x86_64-6.18-open-0000"}, "of a kernel that memhub does not have"),
        ({"id": "freebsd-riscv-12.1-open-0000"}, "of a kernel that memhub does not have"),
        ({"machine": {}}, "'params' is missing"),
        ({"steps": [{"op": "ioctl", "fd": 0}]}, "step 'ioctl' is none of open"),
        ({"steps": [{"op": "pread", "fd": 0, "iov": [[1]]}]}, "'offset' is missing"),
        ({"changed": [[1, 2, 3]]}, "has not 2 values"),
        ({"touched": None}, "'touched' is None, not list"),
    ],
)
def test_what_is_no_transfer_trace_is_refused_with_the_reason(
    change: dict[str, Any], message: str
) -> None:
    raw = {**json.loads(lines_of("amd64-12.1")[0]), **change}

    with pytest.raises(TraceError) as caught:
        parse_trace(json.dumps(raw).encode())

    assert message in str(caught.value)
