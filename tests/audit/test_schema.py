"""The schema holds together, the log's own records fit it, and the page for readers matches."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest

from memhub.audit import read_records
from memhub.audit.reading.damage import BreakKind
from memhub.audit.schema import ALWAYS, EVENTS, FIELDS, markdown, problems

if TYPE_CHECKING:
    from audit.conftest import Opener

PAGE = (Path(__file__).parents[2] / "docs" / "audit.md").read_text()

GET: dict[str, Any] = {
    "event": "request.get",
    "wall_ns": 1_764_000_000_000_000_000,
    "mono_ns": 7,
    "machine": "lab",
    "arch": "i386",
    "device": "/dev/mem",
    "process": "xorg",
    "process_id": 1,
    "pid": 42,
    "uid": None,
    "op": "list",
    "errno": None,
    "reason": None,
    "duration_ns": 900,
    "count": 96,
    "generation": 3,
}
UNDO: dict[str, Any] = {
    **{name: GET[name] for name in ("wall_ns", "mono_ns", "machine", "arch", "pid", "uid")},
    **{name: GET[name] for name in ("process", "process_id", "generation")},
    "event": "undo",
    "cause": "close",
    "slots": [88],
    **{f"{when}_{what}": [1] for when in ("before", "after") for what in ("base", "length")},
    **{f"{when}_flags": [1 << 31] for when in ("before", "after")},
    **{f"{when}_owner": ["a\0b"] for when in ("before", "after")},
}


def written(opened: Opener, path: Path, event: dict[str, Any]) -> dict[str, Any]:
    with opened() as log:
        log.record(event)

    return next(r for r in read_records(path) if r["event"] == event["event"])


def test_every_field_belongs_to_an_event_and_every_events_field_is_described() -> None:
    used = {*ALWAYS}
    for event in EVENTS.values():
        used.update(event.required, event.optional)

    assert used == set(FIELDS)


def test_no_event_names_a_field_twice() -> None:
    for name, event in EVENTS.items():
        names = [*ALWAYS, *event.required, *event.optional]
        assert len(names) == len(set(names)), name


def test_names_are_flat_words() -> None:
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in FIELDS)
    assert all(re.fullmatch(r"[a-z]+(\.[a-z]+)?", name) for name in EVENTS)


def test_the_logs_own_records_fit(opened: Opener, path: Path) -> None:
    opened(software="memhub 0.1.0", header={"pid": 7, "uid": 0}).close()
    path.write_bytes(path.read_bytes() + b'{"v":1,"se')
    opened(software=None).close()

    records = list(read_records(path))

    assert len(records) == 5
    assert [problems(record) for record in records] == [[]] * 5


@pytest.mark.parametrize("event", [GET, UNDO])
def test_a_record_that_fits_has_no_problems(
    opened: Opener, path: Path, event: dict[str, Any]
) -> None:
    assert problems(written(opened, path, event)) == []


@pytest.mark.parametrize(
    ("event", "change", "problem"),
    [
        (GET, {"machine": None}, "machine is None, which is not str"),
        (GET, {"count": "96"}, "count is '96', which is not int"),
        (GET, {"count": True}, "count is True, which is not int"),
        (GET, {"duration_ns": -1}, "duration_ns is -1, which is not ns"),
        (GET, {"wall_ns": 1.5}, "wall_ns is 1.5, which is not ns"),
        (GET, {"colour": 1}, "colour is not a field of request.get"),
        (UNDO, {"after_owner": [1]}, "after_owner is [1], which is not [str]"),
        (UNDO, {"slots": 88}, "slots is 88, which is not [int]"),
        (UNDO, {"after_base": []}, "after_base and slots differ in length"),
        (UNDO, {"before_flags": [1, 2]}, "before_flags and slots differ in length"),
    ],
)
def test_a_misfit_is_named(
    opened: Opener, path: Path, event: dict[str, Any], change: dict[str, Any], problem: str
) -> None:
    assert problem in problems(written(opened, path, {**event, **change}))


@pytest.mark.parametrize("name", sorted(EVENTS["request.get"].required))
def test_a_missing_field_is_named(opened: Opener, path: Path, name: str) -> None:
    record = written(opened, path, GET)
    del record[name]

    assert problems(record) == [f"{name} is missing"]


def test_an_unknown_event_is_named() -> None:
    assert problems({"event": "request.mmap"}) == ["event 'request.mmap' is unknown"]


def test_the_page_holds_the_tables_of_the_schema() -> None:
    assert PAGE.endswith("\n\n" + markdown())


def test_the_pages_shell_line_gives_the_hash_of_a_line(
    opened: Opener, path: Path, tmp_path: Path
) -> None:
    record = written(opened, path, GET)
    found = re.search(r"^sed -n 2p .*$", PAGE, re.MULTILINE)
    assert found
    run = subprocess.run(
        found[0], shell=True, cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert run.stdout.split()[0] == record["hash"]


def test_the_pages_breaks_are_those_of_verify() -> None:
    kinds = get_args(BreakKind)
    table = PAGE.split("| break | meaning |")[1].split("**What")[0]

    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == sorted(kinds)
