"""Snapshots of machines that are sick or suspended."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from memhub import AuditLog, Hub, MachineSpec, Sickness, Snapshot
from memhub.audit import read_records
from memhub.audit.history.rebuild import rebuild
from memhub.core.files import Principal
from memhub.core.requests import GetRanges, Open
from memhub.engine.lifecycle import open_file
from memhub.errors import DeviceError, InvalidArgument, LogFailed
from memhub.snapshots.snapshot_file import SnapshotError
from ownership.rig import ARCHES, SPECS
from shell.kit import ARCHES as ALL
from shell.kit import MTRR, Disk
from snapshots.test_snapshot_file import changed
from value.sick_traffic import SickTraffic
from value.test_rebuild import same

if TYPE_CHECKING:
    from pathlib import Path

OUT_OF_STEP = Sickness(action="cpu_out_of_step", cpu=1, registers={0x2FF: 0x800}, name="late")


def hub_of(*specs: MachineSpec, **options: Any) -> Hub:
    cpu = replace(MTRR.cpu, count=4)
    hub = Hub([replace(it, cpu=cpu) for it in specs or (MTRR,)], arches=ALL, **options)
    hub.begin()

    return hub


def test_a_machine_goes_back_to_its_sicknesses_and_its_sleep() -> None:
    hub = hub_of()
    handle = open_file(hub.engine, Open(Principal(1, "X"), "/dev/mem", "r+"))
    asked = GetRanges(handle, 0)
    well = hub.snapshot()
    hub.hardware.add(OUT_OF_STEP)
    hub.hardware.suspend()
    asleep = hub.snapshot()
    assert asleep != well

    hub.restore(well)
    assert list(hub.hardware) == []
    assert hub.hardware.check_cpus() == ()
    hub.engine.submit(asked)

    hub.restore(asleep)
    assert hub.snapshot() == asleep
    with pytest.raises(DeviceError, match="mtrr is suspended"):
        hub.engine.submit(asked)

    hub.hardware.remove("late")
    hub.hardware.resume()
    hub.restore(asleep)
    assert [it.sickness.name for it in hub.hardware] == ["late"]
    hub.reset()
    assert hub.machines["mtrr"].health is None
    hub.engine.submit(asked)


def test_a_sickness_moves_with_its_snapshot_to_a_machine_of_another_name() -> None:
    hub = hub_of()
    hub.hardware.add(OUT_OF_STEP)
    other = hub_of(replace(MTRR, name="other"))
    other.restore(hub.snapshot(), "other")
    (active,) = other.hardware
    assert active.sickness == replace(OUT_OF_STEP, machine="other")
    assert [it.cpu for it in other.hardware.check_cpus()] == [1]


def test_a_sickness_whose_name_another_machine_has_is_not_brought_back() -> None:
    hub = hub_of(MTRR, replace(MTRR, name="other"))
    hub.hardware.add(OUT_OF_STEP)
    then = hub.snapshot("mtrr")
    hub.hardware.remove("late")
    hub.hardware.add(replace(OUT_OF_STEP, machine="other"))
    before = hub.snapshot()
    with pytest.raises(InvalidArgument, match="cannot have a sickness 'late', since other has one"):
        hub.restore(then)

    assert hub.snapshot() == before


def test_a_snapshot_does_not_fit_a_machine_with_fewer_cpus() -> None:
    hub = hub_of()
    hub.hardware.add(replace(OUT_OF_STEP, cpu=3))
    small = Hub([replace(MTRR, cpu=replace(MTRR.cpu, count=2))], arches=ALL)
    small.begin()
    with pytest.raises(InvalidArgument, match="mtrr has 2 CPUs, and none of number 3"):
        small.restore(hub.snapshot())


def test_a_restore_that_cannot_be_logged_leaves_the_machine_sick(tmp_path: Path) -> None:
    disk = Disk()
    with AuditLog.open(tmp_path / "a.jsonl", write=disk.write) as log:
        hub = hub_of(log=log)
        well = hub.snapshot()
        hub.hardware.add(OUT_OF_STEP)
        hub.hardware.suspend()
        before = hub.snapshot()
        disk.full = True
        with pytest.raises(LogFailed):
            hub.restore(well)

        disk.full = False
        assert hub.snapshot() == before
        assert hub.machines["mtrr"].refusing
        hub.end()


@pytest.mark.parametrize("arch", sorted(SPECS))
def test_a_sick_machine_comes_back_from_a_file(arch: str) -> None:
    sick = 0
    for seed in range(8):
        traffic = SickTraffic(arch, seed)
        for _ in range(80):
            traffic.step()

        traffic.engine.end_due()
        found = traffic.hub.snapshot()
        sick += traffic.machine.health is not None
        again = Snapshot.from_bytes(found.to_bytes(), arches=ARCHES)
        assert again == found
        assert again.to_bytes() == found.to_bytes()

    assert sick


def test_a_fork_is_as_sick_and_its_log_says_so(tmp_path: Path) -> None:
    hub, path = hub_of(), tmp_path / "a.jsonl"
    hub.hardware.add(OUT_OF_STEP)
    hub.hardware.suspend()
    with AuditLog.open(path) as log:
        twin = hub.fork(log=log)
        twin.begin()
        machine = twin.machines["mtrr"]
        assert machine.health == hub.machines["mtrr"].health
        assert machine.refusing
        log.flush()
        assert same(rebuild(read_records(path), ALL)["mtrr"], machine)
        twin.hardware.resume()
        twin.hardware.remove("late")
        assert [it.sickness.name for it in hub.hardware] == ["late"]
        assert hub.machines["mtrr"].refusing
        log.flush()
        assert same(rebuild(read_records(path), ALL)["mtrr"], machine)
        twin.end()


def with_health(data: bytes, **members: Any) -> bytes:
    """The file whose first machine has another health."""
    facts = orjson.loads(data.split(b"\n")[1])
    held = facts["machines"][0]["held"]
    for row in held:
        if row["part"] == "health":
            (health,) = orjson.loads(row["held"])
            row["held"] = orjson.dumps([{**health, **members}]).decode()

    return changed(data, held=held)


LATE: dict[str, Any] = {
    "what": {**OUT_OF_STEP.as_dict(), "machine": "mtrr"},
    "bits": [],
    "count": 0,
}


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"strayed": 1}, "strayed 1 is not bool"),
        ({"suspended_ns": "x"}, "suspended_ns 'x' is not ns"),
        ({"cpus": [[4, [[0x2FF, 0]]]]}, "has 4 CPUs, and none of number 4"),
        ({"sicknesses": [LATE, LATE]}, "2 sicknesses of mtrr are called 'late'"),
        ({"sicknesses": [{**LATE, "what": {**LATE["what"], "name": ""}}]}, "are called ''"),
        ({"sicknesses": [{**LATE, "what": {"action": "x"}}]}, "action 'x' is none of"),
        (
            {"sicknesses": [{**LATE, "what": {"action": "stuck_slot", "slot": 999, "name": "s"}}]},
            "and none of number 999",
        ),
    ],
)
def test_a_file_with_what_cannot_be_wrong_is_refused(members: Any, says: str) -> None:
    hub = hub_of()
    hub.hardware.add(OUT_OF_STEP)
    with pytest.raises(SnapshotError, match=says):
        Snapshot.from_bytes(with_health(hub.snapshot().to_bytes(), **members), arches=ALL)
