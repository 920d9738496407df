"""A hub goes on where a log ended, with the tables that are left when all users are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from memhub import Hub, MachineSpec
from memhub.abi import MDF_UNCACHEABLE, MDF_WRITECOMBINE
from memhub.audit import AuditError, AuditLog, DamagedLog, read_records, state_at, verify
from memhub.audit.history.restore import restore_machines
from memhub.core.drivers.driver import RangeState
from memhub.core.ranges.range_table import TableState
from memhub.engine.lifecycle import close_all_files
from memhub.engine.startup import record_ends, record_starts
from ownership.rig import ARCHES, SPECS
from value.traffic import Traffic

if TYPE_CHECKING:
    from pathlib import Path

every_arch = pytest.mark.parametrize("arch", sorted(SPECS))


@every_arch
@pytest.mark.parametrize("latency", [0.0, 1.0], ids=["at-once", "in-time"])
def test_a_killed_hub_goes_on_as_if_all_users_had_closed(
    tmp_path: Path, arch: str, latency: float
) -> None:
    path = tmp_path / "a.jsonl"
    log = AuditLog.open(path)
    traffic = Traffic(arch, 6, latency=latency, log=log)
    for _ in range(200):
        traffic.step()

    log.writer.require_sink().close()  # as a kill does
    seq, name = log.seq, traffic.machine.name
    found = restore_machines(path, arches=ARCHES)

    live = Traffic(arch, 6, latency=latency)
    for _ in range(200):
        live.step()

    close_all_files(live.engine, "stop")
    assert found.seq == seq
    table = live.machine.table
    assert table is not None
    kept = found.machines[name].table
    assert kept is not None
    assert (kept.state, kept.generation) == (table.state, table.generation)


def test_a_hub_that_ended_in_order_goes_on_from_there_and_its_log_too(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        traffic = Traffic("amd64-mtrr", 6, log=log)
        for _ in range(150):
            traffic.step()

        close_all_files(traffic.engine, "stop")
        record_ends(traffic.engine)

    found = restore_machines(path, arches=ARCHES)
    ((name, machine),) = found.machines.items()
    assert machine.table is not None
    with AuditLog.open(path) as log:
        hub = Hub([machine.spec], arches=ARCHES, log=log, tables={name: machine.table})
        record_starts(hub.engine)
        assert hub.machines[name].table == traffic.machine.table

    told = state_at(path, arches=ARCHES).machines[name]
    assert traffic.machine.table is not None
    assert told.slots == traffic.machine.table.state.slots
    assert told.generation == traffic.machine.generation > 0
    assert verify(path).ok


@every_arch
def test_any_moment_can_be_gone_on_from(tmp_path: Path, arch: str) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        traffic = Traffic(arch, 2, log=log)
        for _ in range(120):
            traffic.step()

    for seq in range(2, sum(1 for _ in read_records(path)), 17):
        found = restore_machines(path, seq, arches=ARCHES)
        ((name, machine),) = found.machines.items()
        tables = {} if machine.table is None else {name: machine.table}
        hub = Hub([machine.spec], arches=ARCHES, tables=tables)
        live = hub.machines[name].table
        assert found.seq == seq
        assert (live is None) == (machine.table is None)
        if live is not None and machine.table is not None:
            assert (live.state, live.generation, None) == tuple(machine.table)
            assert live.types.at(0) is not None  # what follows from the state is made anew


def test_what_cannot_be_restored_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    AuditLog.open(empty).close()
    with pytest.raises(AuditError, match="there is no machine up to record 2"):
        restore_machines(empty, arches=ARCHES)

    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        for _ in range(9):
            Traffic("amd64", 2, log=log)

    data = path.read_bytes()
    path.write_bytes(b"".join(line for n, line in enumerate(data.splitlines(True)) if n != 4))
    with pytest.raises(DamagedLog):
        restore_machines(path, arches=ARCHES)


def test_a_table_of_another_machine_is_refused() -> None:
    board = MachineSpec(name="board", arch="arm64")
    pc = MachineSpec(name="pc", arch="amd64")
    with pytest.raises(ValueError, match="machine 'board' has no ranges to begin with"):
        Hub([board], arches=ARCHES, tables={"board": TableState(RangeState(()), 0)})

    with pytest.raises(ValueError, match="'pc': the state has 0 slots, and the machine has 64"):
        Hub([pc], arches=ARCHES, tables={"pc": TableState(RangeState(()), 0)})


def test_tables_of_unknown_machines_and_other_things_are_refused() -> None:
    pc = MachineSpec(name="pc", arch="amd64")
    table = TableState(RangeState(()), 0)
    for tables, wrong, rule in (
        ({"cp": table}, ValueError, r"the table of 'cp' is of none of the machines \['pc'\]"),
        ([1], TypeError, r"tables \[1\] is not a Mapping"),
        ([], TypeError, r"tables \[\] is not a Mapping"),
        ({"pc": 1}, TypeError, "the table of 'pc' 1 is not a TableState"),
        ({1: table}, TypeError, "tables: name 1 is not text"),
    ):
        with pytest.raises(wrong, match=rule):
            Hub([pc], arches=ARCHES, tables=tables)  # type: ignore[arg-type]


async def test_a_restored_hub_answers_as_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    spec = MachineSpec(name="pc", arch="amd64")
    with AuditLog.open(path) as log:
        async with Hub([spec], arches=ARCHES, log=log) as hub:
            async with await hub.open("/dev/mem", "r+") as handle:
                await handle.set_range(0xF0000000, 1 << 20, MDF_WRITECOMBINE, owner="x")
                await handle.set_range(0xF0100000, 1 << 20, MDF_UNCACHEABLE, owner="y")

            async with await hub.open("/dev/mem", "r") as handle:
                before = await handle.ranges()

    (machine,) = restore_machines(path, arches=ARCHES).machines.values()
    assert machine.table is not None
    again = Hub([spec], arches=ARCHES, tables={"pc": machine.table})
    async with again, await again.open("/dev/mem", "r+") as handle:
        assert await handle.ranges() == before
        await handle.remove_range(0xF0000000, 1 << 20)
