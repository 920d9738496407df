"""A machine whose hardware is sick is a value too, and the log alone leads to it."""

from __future__ import annotations

import copy
import pickle
from random import Random
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from memhub.audit import AuditLog, read_records, verify
from memhub.audit.history.rebuild import Rebuilder, rebuild
from memhub.audit.rows import held_rows
from memhub.audit.schema import problems
from memhub.engine.lifecycle import close_all_files
from memhub.engine.startup import record_starts
from ownership.rig import ARCHES, SPECS
from value.sick_traffic import SickTraffic
from value.test_rebuild import Disk, same
from value.test_value import go_and_come_back

if TYPE_CHECKING:
    from pathlib import Path

every_arch = pytest.mark.parametrize("arch", sorted(SPECS))
every_latency = pytest.mark.parametrize("latency", [0.0, 1.0], ids=["at-once", "in-time"])

HARDWARE = {
    f"hardware.{op}" for op in ("sicken", "cure", "store", "reinit", "suspend", "resume", "check")
}


def follow(arch: str, seed: int, steps: int, latency: float) -> set[str]:
    """Compare after every step; which events there were."""
    traffic, rebuilder = SickTraffic(arch, seed, latency=latency), Rebuilder(ARCHES)
    rows, seen = list[dict[str, Any]](), set[str]()
    traffic.engine.listen(rows.append)
    record_starts(traffic.engine)
    for number in range(steps):
        traffic.step()
        for row in rows:
            assert not [it for it in problems(as_read(row)) if " is missing" not in it]
            rebuilder.read(as_read(row))
            seen.add(row["event"])

        rows.clear()
        rebuilt = rebuilder.machines[traffic.machine.name]
        assert same(rebuilt, traffic.machine), (arch, seed, number)

    return seen


def as_read(row: dict[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = orjson.loads(orjson.dumps(row))

    return read


@every_arch
@every_latency
def test_rebuild_equals_a_sick_machine_after_every_step(arch: str, latency: float) -> None:
    seen = set[str]()
    for seed in range(3):
        seen |= follow(arch, seed, 150, latency)

    assert HARDWARE - seen <= (
        {"hardware.store"} if "mtrr" not in arch and arch != "i386" else set()
    )


@pytest.mark.campaign
@every_arch
@every_latency
def test_rebuild_equals_a_sick_machine_in_long_histories(arch: str, latency: float) -> None:
    for seed in range(100, 130):
        follow(arch, seed, 400, latency)


@every_arch
@every_latency
def test_what_happens_to_hardware_can_be_taken_back(
    monkeypatch: pytest.MonkeyPatch, arch: str, latency: float
) -> None:
    for seed in range(2):
        traffic = SickTraffic(arch, seed, latency=latency)
        states = go_and_come_back(monkeypatch, traffic, 100)
        assert any(state.health is not None for _, state in states)


@every_arch
def test_a_sick_machine_can_be_pickled_copied_and_written_down_whole(arch: str) -> None:
    for seed in range(6):
        traffic = SickTraffic(arch, seed)
        for _ in range(60):
            traffic.step()

        machine = traffic.machine
        assert pickle.loads(pickle.dumps(machine)) == copy.deepcopy(machine) == machine
        rebuilder = Rebuilder(ARCHES)
        for row in held_rows(machine, traffic.engine.now()):
            rebuilder.read(as_read(row))

        assert same(rebuilder.machines[machine.name], machine)
        assert rebuilder.machines[machine.name].refusing == machine.refusing


@every_arch
def test_what_happens_to_hardware_is_logged_or_has_not_happened(tmp_path: Path, arch: str) -> None:
    path, disk = tmp_path / "a.jsonl", Disk(Random(7))
    with AuditLog.open(path, write=disk.write) as log:
        traffic = SickTraffic(arch, 11, log=log)
        disk.rate = 0.2
        checked = 0
        for _ in range(200):
            traffic.step()
            if not traffic.engine._recorder.owed:
                checked += 1
                if checked % 10 == 0:
                    rebuilt = rebuild(read_records(path), ARCHES)[traffic.machine.name]
                    assert same(rebuilt, traffic.machine), checked

        disk.rate = 0.0
        close_all_files(traffic.engine, "stop")

    assert verify(path).ok
    assert same(rebuild(read_records(path), ARCHES)[traffic.machine.name], traffic.machine)
    assert checked > 50
