"""A machine that was written down whole is the same machine when it is read again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from memhub.audit.history.rebuild import Rebuilder
from memhub.audit.rows import held, holdings_in
from memhub.audit.schema import problems
from ownership.rig import ARCHES, SPECS
from value.test_rebuild import same
from value.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all single values in JSON."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from _leaves(value[key], (*path, key))
    elif value is not None:
        yield path


@every_latency
def test_each_value_of_another_type_is_refused(latency: float) -> None:
    traffic, parts = Traffic("amd64-mtrr", 21, latency=latency), dict[str, dict[str, Any]]()
    for _ in range(240):
        traffic.step()
        parts |= {row["part"]: row for row in written(traffic) if "part" in row}

    assert len(parts) >= 6
    for row in parts.values():
        machine = begun(traffic).machines["amd64-mtrr"]
        for *path, last in _leaves(orjson.loads(row["held"])):
            changed = orjson.loads(row["held"])
            place = changed
            for key in path:
                place = place[key]

            place[last] = 7 if isinstance(place[last], str | bool) else place[last] + 0.5
            with pytest.raises(ValueError, match=" is not "):
                holdings_in({**row, "held": orjson.dumps(changed).decode()}, machine)


@pytest.mark.parametrize(
    ("part", "item", "rule"),
    [
        ("claims", '{"base":330511155999999999999999}', "is not u64"),
        ("claims", '{"base":9,"last":7}', "base 0x9 is behind last 0x7"),
        ("claims", '{"slots":[[64,0,1]]}', "64 is not from 0 to 5"),
        ("claims", '{"kind":"other"}', "is not one of"),
        ("losses", '{"by":{"process":1}}', "losses.0..by.process 1 is not str"),
        ("notes", '{"states":[{"slots":[],"msrs":[]}]}', "a state of 0 slots"),
        ("numbers", '{"last_fence":-1}', "-1 is not u64"),
        ("files", "5", "files.0. 5 is not an object"),
    ],
)
def test_values_out_of_range_are_refused_by_their_place(part: str, item: str, rule: str) -> None:
    traffic = Traffic("amd64", 3)
    row = {**written(traffic)[-1], "part": part, "held": f"[{item}]"}
    with pytest.raises(ValueError, match=rule):
        holdings_in(row, traffic.machine)


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
