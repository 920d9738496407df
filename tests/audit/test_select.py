"""A selection says which records of a log a question is about."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from memhub.abi import MDF_ACTIVE, MDF_UNCACHEABLE
from memhub.audit import Selection, Window, read_lines, read_records, summary
from memhub.cli.demo.run import run_demo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Record = dict[str, Any]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "a.jsonl"
    run_demo(1, path)

    return path


@pytest.fixture(scope="module")
def records(log: Path) -> list[Record]:
    return list(read_records(log))


def record(**members: Any) -> Record:
    return {"v": 1, "seq": 7, "event": "request.set", "wall_ns": 500, "mono_ns": 5, **members}


@pytest.mark.parametrize(
    ("selection", "wanted"),
    [
        (Selection(), lambda it: True),
        (Selection(events=("undo",)), lambda it: it["event"] == "undo"),
        (
            Selection(events=("claim.*", "log.open")),
            lambda it: it["event"].startswith("claim.") or it["event"] == "log.open",
        ),
        (Selection(operations=("pread",)), lambda it: it.get("op") == "pread"),
        (Selection(errors=("EBUSY", "EPERM")), lambda it: it.get("errno") in ("EBUSY", "EPERM")),
        (Selection(refused=True), lambda it: it.get("errno") is not None),
        (Selection(machines=("k6",)), lambda it: it.get("machine") == "k6"),
        (Selection(processes=("Xorg", "mpi")), lambda it: it.get("process") in ("Xorg", "mpi")),
        (Selection(processes=(1, "mpi")), lambda it: it.get("process") in ("Xorg", "mpi")),
        (Selection(first_seq=10, last_seq=20), lambda it: 10 <= it["seq"] <= 20),
        (
            Selection(machines=("desk",), refused=True, operations=("update", "remove")),
            lambda it: (
                it.get("machine") == "desk"
                and it.get("errno") is not None
                and it.get("op") in ("update", "remove")
            ),
        ),
    ],
)
def test_what_is_selected_has_one_value_of_each_that_is_given(
    records: list[Record], selection: Selection, wanted: Callable[[Record], bool]
) -> None:
    expected = [it["seq"] for it in records if wanted(it)]

    assert expected
    assert [it["seq"] for it in records if selection.matches(it)] == expected


def test_times_bound_both_ends(records: list[Record]) -> None:
    early, late = records[20]["wall_ns"], records[40]["wall_ns"]
    found = [it for it in records if Selection(since_ns=early, until_ns=late).matches(it)]

    assert found == [it for it in records if early <= it["wall_ns"] <= late]
    assert {20, 40} <= {it["seq"] - 1 for it in found}


def slots(side: str, *rows: tuple[int, int, int]) -> Record:
    names = (f"{side}_base", f"{side}_length", f"{side}_flags")

    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


@pytest.mark.parametrize(
    ("members", "touches"),
    [
        ({"base": 0x1000, "length": 0x1000}, True),
        ({"base": 0x0, "length": 0x1000}, False),
        ({"base": 0x0, "length": 0x1001}, True),
        ({"base": 0x1FFF, "length": 1}, True),
        ({"base": 0x2000, "length": 1}, False),
        ({"base": 0x1800, "length": 0}, True),
        ({"base": 0x1800, "length": None}, True),
        ({"base": 0, "length": (1 << 64) - 1}, True),
        ({"base": (1 << 64) - 1, "length": 9}, False),
        ({"base": None, "length": None}, False),
        ({}, False),
        (slots("before", (0, 0, 0), (0x1000, 0x10, MDF_ACTIVE)), True),
        (slots("after", (0, 1 << 36, MDF_UNCACHEABLE)), False),
        (slots("after", (0x1000, 0, MDF_ACTIVE)), False),
        ({"base": 0x9000, "length": 1, **slots("after", (0x1000, 1, MDF_ACTIVE))}, True),
        ({"after_base": [0x1000], "after_length": [], "after_flags": [MDF_ACTIVE]}, False),
    ],
)
def test_a_window_is_touched_by_the_range_asked_for_and_by_slots(
    members: Record, touches: bool
) -> None:
    assert Selection(windows=(Window(0x1000, 0x2000),)).matches(record(**members)) == touches


def test_an_owner_is_that_of_the_request_or_of_a_slot_it_changed() -> None:
    xorg = Selection(owners=("Xorg",))

    assert xorg.matches(record(owner="Xorg"))
    assert xorg.matches(record(owner="", before_owner=["BIOS", "Xorg"]))
    assert xorg.matches(record(after_owner=["Xorg"]))
    assert not xorg.matches(record(owner="Xorg2", before_owner=["xorg"]))
    assert not xorg.matches(record(owner=None))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"events": ("request.sett",)}, "'request.sett' is not an event of the log: the nearest"),
        ({"events": ("clam.*",)}, "the nearest are claim.*"),
        ({"events": ("zzz",)}, "known are bus.*, bus.access, "),
        ({"errors": ("EBUSSY",)}, "'EBUSSY' is not an errno of the log: the nearest are EBUSY"),
        ({"windows": (Window(5, 5),)}, "no address is in 0x5 to 0x5"),
    ],
)
def test_what_no_log_can_have_is_refused_with_what_is_near(values: Any, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        Selection(**values)


def test_a_summary_counts_what_is_selected(log: Path, records: list[Record]) -> None:
    total = summary(log, Selection(machines=("legacy",)))
    legacy = [it for it in records if it.get("machine") == "legacy"]

    assert (total.records, dict(total.machines)) == (len(legacy), {"legacy": len(legacy)})
    assert total.first_ns == legacy[0]["wall_ns"]


def test_lines_come_with_their_records(log: Path, records: list[Record]) -> None:
    lines, parsed = zip(*read_lines(log), strict=True)

    assert b"\n".join((*lines, b"")) == log.read_bytes()
    assert list(parsed) == records


@pytest.mark.parametrize(
    ("op", "args", "span"),
    [
        ("write", {"data": "base=0xd0000000 size=0x1000000 type=nothing\n"}, (0xD0000000, 1 << 24)),
        ("write", {"data": "base= 0400 size=4096type=uncachable"}, (0o400, 4096)),
        ("ioctl", {"cmd": "ADD", "base": 0xD0000000, "size": 4096, "type": 1}, (0xD0000000, 4096)),
        ("ioctl", {"cmd": "KILL_PAGE", "base": 0xD0000, "size": 2}, (0xD0000000, 8192)),
        ("add_page", {"base": 0xD0000, "size": 2, "type": 1}, (0xD0000000, 8192)),
        ("set", {"entries": [[0, 4096, 0, 4], [0xD0000000, 8192, 1, 4]]}, (0xD0000000, 8192)),
        ("memtype_reserve", {"start": 0xD0000000, "end": 0xD0001000}, (0xD0000000, 4096)),
        ("pfnmap_track", {"pfn": 0xD0000, "size": 4096, "want": "WC"}, (0xD0000000, 4096)),
    ],
)
def test_a_call_to_another_kernel_is_found_by_the_range_that_it_names(
    op: str, args: Record, span: tuple[int, int]
) -> None:
    call = record(event="kernel.call", op=op, args=json.dumps(args))
    base, end = span[0], sum(span)
    for lo, hi, is_found in (
        (base, base + 1, True),
        (end - 1, end, True),
        (end, end + 1, False),
        (base - 1, base, False),
    ):
        assert Selection(windows=(Window(lo, hi),)).matches(call) is is_found


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"data": "disable=1"},
        {"data": 5, "entries": [[None, 1], 7, [1]], "cmd": [], "pfn": "x"},
        {"base": -1, "size": 1 << 70},
        {"start": 4096, "end": 0},
    ],
)
def test_a_call_that_names_no_range_is_at_no_address(args: Record) -> None:
    everywhere = Selection(windows=(Window(0, 1 << 64),))
    assert not everywhere.matches(record(event="kernel.call", op="write", args=json.dumps(args)))
