"""A failing log shrinks to the fewest requests that still fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memhub.audit import read_records, verify
from memhub.rig import replay_log, shrink_log
from memhub.rig.log_replay.ddmin import find_fewest
from memhub.rig.log_replay.shrinking import NothingFails, command_check
from ownership.rig import ARCHES
from rig.test_log_replay import write_log

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@given(count=st.integers(0, 60), needed=st.sets(st.integers(0, 59)))
def test_ddmin_leaves_exactly_the_items_that_are_needed(count: int, needed: set[int]) -> None:
    needed = {it for it in needed if it < count}

    def fails(items: Sequence[int]) -> bool:
        assert list(items) == sorted(items)
        return needed <= set(items)

    left, _ = find_fewest(range(count), fails, 100_000)
    assert left == sorted(needed)


@given(sets=st.lists(st.sets(st.integers(0, 19), min_size=1), min_size=1, max_size=4))
def test_ddmin_leaves_nothing_that_can_be_left_out_alone(sets: list[set[int]]) -> None:
    def fails(items: Sequence[int]) -> bool:
        return any(it <= set(items) for it in sets)

    left, asked = find_fewest(range(20), fails, 100_000)
    assert fails(left)
    assert not any(fails([it for it in left if it != out]) for out in left)
    stopped, runs = find_fewest(range(20), fails, 3)
    assert fails(stopped)
    assert runs == min(asked, 3)


def test_a_log_shrinks_to_what_another_architecture_answers_otherwise(tmp_path: Path) -> None:
    path, out = tmp_path / "a.jsonl", tmp_path / "small.jsonl"
    write_log(path, "amd64-mtrr", 1, 300)
    whole = replay_log(path, arch="powerpc", arches=ARCHES)
    assert len(whole.differences) > 50
    found = shrink_log(path, against="powerpc", out=out, arches=ARCHES)
    assert [str(it) for it in found.steps] == [
        "amd64-mtrr: p3 open",
        "amd64-mtrr: p3 update 0x5000+0x1000 write-combine",
        "amd64-mtrr: p3 update 0x0+0x8000 uncacheable",
    ]
    assert verify(out).ok
    assert replay_log(out, arches=ARCHES).differences == []
    first = replay_log(out, arch="powerpc", arches=ARCHES).differences[0]
    assert first.expected.startswith("EINVAL")
    assert first.found == "ok"


def test_a_log_shrinks_by_a_check_of_the_caller(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_log(path, "k6", 3, 200, 1.0)

    def check(log: Path) -> bool:
        events = [it["event"] for it in read_records(log)]
        return "undo" in events and "claim.break" in events

    found = shrink_log(path, check=check, arches=ARCHES)
    assert len(found.steps) <= 8
    assert "break" in {str(it).split()[2] for it in found.steps}
    assert found.of > 100


def test_a_command_is_a_check(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_log(path, "amd64", 1, 120)
    check = command_check(["sh", "-c", "! grep -q claim.break {}"])
    found = shrink_log(path, check=check, arches=ARCHES)
    assert len(found.steps) <= 4
    assert command_check(["false", "{}"])(path)
    assert not command_check(["true"])(path)


def test_what_does_not_fail_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_log(path, "amd64", 1, 50)
    with pytest.raises(NothingFails, match=r"does not fail: its .* requests are answered alike"):
        shrink_log(path, against="amd64", arches=ARCHES)

    for wrong in ({}, {"against": "k6", "specs": {}}):
        with pytest.raises(ValueError, match="one of against, specs and check is needed"):
            shrink_log(path, arches=ARCHES, **wrong)  # type: ignore[arg-type]
