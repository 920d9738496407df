"""A machine that was written down whole is the same machine when it is read again."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from memhub.audit.rebuild import Rebuilder
from memhub.audit.rows import held
from memhub.audit.schema import problems
from ownership.rig import ARCHES, SPECS
from value.test_rebuild import same
from value.traffic import Traffic

every_arch = pytest.mark.parametrize("arch", sorted(SPECS))
every_latency = pytest.mark.parametrize("latency", [0.0, 1.0], ids=["at-once", "in-time"])


def written(traffic: Traffic) -> list[dict[str, Any]]:
    """The machine's rows as a reader of the log gets them."""
    rows = held.held_rows(traffic.machine, traffic.engine.now())
    stamp = {"v": 1, "seq": 1, "prev": "", "hash": ""}
    read: list[dict[str, Any]] = [orjson.loads(orjson.dumps({**row, **stamp})) for row in rows]
    assert [problem for row in read for problem in problems(row)] == []

    return read


def begun(traffic: Traffic) -> Rebuilder:
    rebuilder = Rebuilder(ARCHES)
    for row in written(traffic):
        rebuilder.read(row)

    return rebuilder


@every_arch
@every_latency
def test_a_machine_is_read_as_it_was_written_and_goes_on_likewise(
    arch: str, latency: float
) -> None:
    traffic, told = Traffic(arch, 21, latency=latency), list[dict[str, Any]]()
    traffic.engine.listen(told.append)
    name, followers = traffic.machine.name, list[Rebuilder]()
    kinds = set[str]()
    for number in range(240):
        traffic.step()
        for record in told:
            for follower in followers:
                follower.read(orjson.loads(orjson.dumps(record)))

        told.clear()
        if number % 3 == 0:
            followers = [*followers[-5:], begun(traffic)]
            kinds |= {row["part"] for row in written(traffic) if "part" in row}

        for follower in followers:
            assert follower.partial == {}
            assert same(follower.machines[name], traffic.machine), number

    table = {"notes"} if traffic.machine.table is not None else set()
    commits = {"commits"} if latency else set()
    assert kinds >= {"files", "claims", "losses", "waits", "numbers"} | table | commits


def test_a_machine_that_is_there_already_is_not_made_again() -> None:
    traffic = Traffic("amd64", 3)
    for _ in range(60):
        traffic.step()

    rebuilder = begun(traffic)
    before = rebuilder.machines["amd64"]
    for row in written(traffic):
        rebuilder.read(row)

    assert rebuilder.machines["amd64"] is before
    assert same(before, traffic.machine)


def test_long_lists_are_cut_into_several_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    traffic = Traffic("amd64-mtrr", 8)
    for _ in range(150):
        traffic.step()

    whole = len(written(traffic))
    monkeypatch.setattr(held, "PART_MAX", 1)
    assert len(written(traffic)) > whole
    assert same(begun(traffic).machines["amd64-mtrr"], traffic.machine)


def test_a_machine_whose_rows_are_not_all_there_is_known_in_part() -> None:
    traffic = Traffic("amd64", 3)
    for _ in range(60):
        traffic.step()

    rebuilder = Rebuilder(ARCHES)
    for row in written(traffic)[:-1]:
        rebuilder.read(row)

    assert rebuilder.partial == {"amd64": "its snapshot is not whole"}
    assert rebuilder.machines["amd64"].table == traffic.machine.table
