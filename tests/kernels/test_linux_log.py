"""A machine with Linux is rebuilt from its log, goes back to snapshots, and can be forked."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kernels.linux_kit import SCREEN
from kernels.linux_traffic import MIB, SPEC, LinuxTraffic
from memhub import AuditLog, Hub
from memhub.arches import load_arches
from memhub.audit import read_records, state_at, verify
from memhub.audit.history.rebuild import rebuild
from memhub.audit.history.restore import restore_machines
from memhub.audit.reading.select import Selection, Window
from memhub.audit.schema import problems
from memhub.core.files import Principal
from memhub.core.requests import ClaimRange, Open, Write
from memhub.core.spec import MachineSpec
from memhub.engine.lifecycle import open_file
from memhub.errors import DeviceError, LogFailed
from memhub.plugin import Cpu
from memhub.snapshots.snapshot import Snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from memhub.core.machine import Machine

ARCHES = load_arches()
OLD_PROCESSORS = {
    "K6": ("k6", Cpu(vendor="AMD", signature=0x588, phys_bits=32, mtrr=False)),
    "Centaur": ("i386", Cpu(vendor="Centaur", signature=0x541, phys_bits=32, mtrr=False)),
    "Cyrix": ("i386", Cpu(vendor="Cyrix", phys_bits=32, mtrr=False)),
}


def looks(machine: Machine) -> dict[str, Any]:
    """What a machine is, without its memory and what a seek of `/dev/mem` leaves."""
    assert machine.served is not None
    table = machine.table  # a Cyrix and a Centaur have no MTRRs
    return {
        "spec": machine.spec,
        "state": None if table is None else table.state,
        "generation": None if table is None else table.generation,
        "kernel": machine.served.state,
        "claims": machine.claims,
        "files": {it.caller.handle: (it.caller, it.model) for it in machine.files},
        "health": machine.health,
    }


def check_rebuilt(path: Path | str, machine: Machine) -> None:
    """That a log makes a machine again as it is."""
    again = rebuild(read_records(path), ARCHES)["pc"]
    assert looks(again) == looks(machine)
    again.close()


@pytest.mark.parametrize("seed", range(4))
def test_the_log_alone_makes_the_machine_again(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        traffic = LinuxTraffic(seed, log)
        for number in range(150):
            traffic.step()
            if number % 30 == 29:
                check_rebuilt(path, traffic.machine)

    assert verify(path).ok
    rows = [*read_records(path)]
    assert [fault for row in rows for fault in problems(row)] == []
    called = [row for row in rows if row["event"] == "kernel.call"]
    assert len({row["op"] for row in called}) >= 9
    assert {row["errno"] for row in called} >= {None, "EINVAL", "EBADF"}


@pytest.mark.parametrize("release", ["linux-6.18", "linux-2.6.32"])
@pytest.mark.parametrize("processor", OLD_PROCESSORS)
def test_the_log_alone_makes_a_machine_with_an_old_processor_again(
    tmp_path: Path, processor: str, release: str
) -> None:
    arch, cpu = OLD_PROCESSORS[processor]
    spec = MachineSpec(name="pc", arch=arch, cpu=cpu, kernel=release)
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        traffic = LinuxTraffic(7, log, spec)
        hub = traffic.hub
        hub.kernels.call("add", base=MIB, size=MIB, type=1)
        check_rebuilt(path, traffic.machine)
        hub.kernels.call("del", base=MIB, size=MIB, reg=-1)
        hub.hardware.suspend()
        hub.hardware.resume()
        check_rebuilt(path, traffic.machine)
        for _ in range(120):
            traffic.step()

        check_rebuilt(path, traffic.machine)


def test_each_moment_of_a_log_has_the_state_of_then(tmp_path: Path) -> None:
    path, seen = tmp_path / "a.jsonl", dict[int, Any]()
    with AuditLog.open(path) as log:
        traffic = LinuxTraffic(5, log)
        for _ in range(60):
            traffic.step()
            served, table = traffic.machine.served, traffic.machine.table
            assert served is not None
            assert table is not None
            seen[log.seq] = table.state.slots, dict(table.state.msrs)

    for seq, found in seen.items():
        state = state_at(path, seq, arches=ARCHES).machines["pc"]
        assert (state.slots, dict(state.msrs)) == found


def test_a_log_that_is_cut_into_segments_has_the_kernel_in_each(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with AuditLog.open(f"{folder}/") as log:
        traffic = LinuxTraffic(6, log)
        for _ in range(60):
            traffic.step()

        assert traffic.hub.log_keeper is not None
        traffic.hub.log_keeper.rotate()
        for _ in range(40):
            traffic.step()

        last = log.path
        check_rebuilt(last, traffic.machine)


@pytest.mark.parametrize("seed", range(3))
def test_a_machine_goes_back_to_any_snapshot(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        traffic = LinuxTraffic(seed, log)
        kept = []
        for number in range(120):
            traffic.step()
            if number % 20 == 7:
                kept.append(traffic.hub.snapshot())

            if number % 20 == 15:
                then = traffic.rng.choice(kept)
                assert Snapshot.from_bytes(then.to_bytes(), arches=ARCHES) == then
                assert pickle.loads(pickle.dumps(then)) == then
                traffic.hub.restore(then)
                kernel = traffic.machine.served
                assert kernel is not None
                assert traffic.machine.table is not None
                assert traffic.machine.table.state.msrs == kernel.state.msrs
                here = {it.caller.handle for it in traffic.machine.files}
                assert set(kernel.state.files) <= here
                check_rebuilt(path, traffic.machine)


def test_a_snapshot_that_is_gone_back_to_at_once_changes_nothing() -> None:
    traffic = LinuxTraffic(3)
    for _ in range(80):
        traffic.step()

    then = traffic.hub.snapshot()
    traffic.hub.restore(then)
    assert traffic.hub.snapshot() == then


def test_a_hub_goes_on_where_a_log_ended(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        traffic = LinuxTraffic(11, log)
        for _ in range(120):
            traffic.step()

    found = restore_machines(path, arches=ARCHES).machines["pc"]
    assert found.table is not None
    assert found.table.kernel is not None
    assert found.table.kernel.files == {}
    assert found.table.kernel.msrs == found.table.state.msrs
    with AuditLog.open(tmp_path / "b.jsonl") as log:
        hub = Hub([SPEC], log=log, tables={"pc": found.table})
        hub.begin()
        hub.kernels.call("add", base=0xF0000000, size=1 << 20, type=0)
        check_rebuilt(tmp_path / "b.jsonl", hub.machines["pc"])
        hub.reset()
        served = hub.machines["pc"].served
        assert served is not None
        assert served.state == found.table.kernel

    with pytest.raises(ValueError, match="has no state of its kernel"):
        Hub([SPEC], tables={"pc": found.table._replace(kernel=None)})


def test_a_fork_lives_its_own_life() -> None:
    traffic = LinuxTraffic(8)
    for _ in range(60):
        traffic.step()

    then = looks(traffic.machine)
    twin = traffic.hub.fork().machines["pc"]
    assert looks(twin) == then
    before = copy.deepcopy(then)
    for _ in range(60):
        traffic.step()

    assert looks(twin) == before
    assert looks(traffic.machine) != before


def test_a_reset_is_the_machine_as_it_booted() -> None:
    traffic = LinuxTraffic(9)
    served = traffic.machine.served
    assert served is not None
    first, table = served.state, traffic.machine.table
    assert table is not None
    slots = table.state
    for _ in range(60):
        traffic.step()

    traffic.hub.reset()
    files = [it.caller for it in traffic.machine.files]
    here: dict[int, Any] = {it.handle: {} for it in files if it.device == "mtrr"}
    assert (served.state.cpus, served.state.own) == (first.cpus, first.own)
    assert served.state.files == here
    assert table.state == slots


@pytest.mark.parametrize("seed", range(3))
def test_what_cannot_be_logged_has_not_happened(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with AuditLog.open(tmp_path / "a.jsonl") as log:
        traffic = LinuxTraffic(seed, log)
        failed = 0
        for number in range(120):
            traffic.step()
            if number % 2 or not traffic.files:
                continue

            then = looks(traffic.machine)
            with monkeypatch.context() as patch:
                patch.setattr(traffic.engine._recorder, "append", refuse)
                for _ in range(3):
                    traffic.ask_any()
                    failed += isinstance(traffic.refused[-1], LogFailed)

            assert looks(traffic.machine) == then

        assert failed > 50

    check_rebuilt(tmp_path / "a.jsonl", traffic.machine)


@pytest.mark.parametrize("release", ["linux-6.18", "linux-2.6.32"])
def test_a_record_says_which_range_a_number_meant(tmp_path: Path, release: str) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        hub = Hub([replace(SPEC, kernel=release, kernel_options={"pat": False})], log=log)
        hub.begin()
        call = hub.kernels.call
        for _ in range(2):
            register = call("add", base=SCREEN, size=MIB, type=1)

        handle = call("wc_add", base=SCREEN + MIB, size=MIB)
        file, other = (
            open_file(hub.engine, Open(Principal(it, "p"), "pc:/proc/mtrr", "w")) for it in (1, 2)
        )
        line = b"disable=%d\n" % register
        hub.engine.submit(Write(file, line))  # one use less, and no slot is different
        hub.engine.submit(ClaimRange(other, SCREEN, MIB))
        with pytest.raises(DeviceError, match="claimed"):
            hub.engine.submit(Write(file, line))

        call("del", reg=register, base=0, size=0)
        with pytest.raises(DeviceError, match="not used"):
            hub.engine.submit(Write(file, line))

        call("wc_del", handle=handle)
        check_rebuilt(path, hub.machines["pc"])
        hub.engine.submit(Write(file, b"base=0x90000000 size=0x1000 type=uncachable\n"))

    rows = [row for row in read_records(path) if row.get("op") in ("write", "del", "wc_del")]
    meant = [(row.get("base"), row.get("length")) for row in rows]
    none = (None, None)
    assert meant == [(SCREEN, MIB)] * 3 + [none, (SCREEN + MIB, MIB), none]
    assert [fault for row in rows for fault in problems(row)] == []
    there = Selection(windows=(Window(SCREEN, SCREEN + 4096),), operations=("write",))
    assert [row["errno"] for row in rows if there.matches(row)] == [None, "EBUSY"]
