"""What machines are rebuilt from a log of several processes, and from one file of several."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import orjson

from memhub import Hub
from memhub.audit import AuditLog, State, read_records, state_at
from memhub.audit.history.rebuild import rebuild
from memhub.audit.history.states import MachineState, machine_state
from memhub.audit.history.travel import Travel
from memhub.audit.rows import machine_of
from memhub.cli.log_file import _record_machines
from memhub.clock import ManualClock
from memhub.core.drivers.driver import Cpu
from memhub.core.spec import MachineSpec
from memhub.engine.startup import record_starts
from ownership.rig import ARCHES, SPECS
from value.test_state_at import alike
from value.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


def test_machines_of_a_killed_process_end_where_the_log_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for name, arch in (("one", "k6"), ("two", "powerpc")):
        made = SPECS[arch]
        renamed = MachineSpec(name=name, arch=arch, cpu=made.cpu)
        log = AuditLog.open(path)
        hub = Hub([renamed], arches=ARCHES, log=log)
        record_starts(hub.engine)
        log.flush()
        log.writer.require_sink().close()  # as a kill does: there is no log.close

    assert list(state_at(path).machines) == ["two"]
    assert list(rebuild(read_records(path), ARCHES)) == ["two"]


def rotated_traffic(path: Path, seed: int) -> Generator[tuple[Traffic, AuditLog]]:
    with AuditLog.open(path) as log:
        traffic = Traffic("amd64-mtrr", seed, log=log)
        for _ in range(150):
            traffic.step()

        path.rename(path.with_suffix(".1"))
        ended = log.reopen()
        assert ended is not None
        _record_machines(traffic.hub, log, ended)
        yield traffic, log
        for _ in range(150):
            traffic.step()
            yield traffic, log


def test_a_rotated_file_tells_all_that_the_machines_hold(tmp_path: Path) -> None:
    path, live = tmp_path / "a.jsonl", dict[int, MachineState]()
    with closing(rotated_traffic(path, 8)) as steps:
        for traffic, log in steps:
            live[log.seq] = machine_state(traffic.machine, traffic.engine.now())

    states: list[State] = Travel(path=path, arches=ARCHES).states(sorted(live))
    for state, seq in zip(states, sorted(live), strict=True):
        assert state.notes == ()
        assert alike(state.machines["amd64-mtrr"], live[seq]), seq

    assert live[min(live)].claims


def write_as_before(path: Path, old: Path) -> None:
    """Write a rotated file as versions did that wrote tables alone."""
    with AuditLog.open(old) as log:
        for record in read_records(path):
            if record["event"] != "held.part" and not record["event"].startswith("log."):
                record.pop("count" if record["event"] == "device.attach" else "hash")
                log.record({k: v for k, v in record.items() if k not in ("seq", "prev", "hash")})


def test_a_rotated_file_of_an_earlier_version_tells_tables_and_says_so(tmp_path: Path) -> None:
    path, old = tmp_path / "a.jsonl", tmp_path / "old.jsonl"
    tables = dict[int, MachineState]()
    with closing(rotated_traffic(path, 8)) as steps:
        for traffic, log in steps:
            tables[log.seq] = machine_state(traffic.machine, traffic.engine.now())

    write_as_before(path, old)
    records = list(read_records(path))
    left_out = sum(1 for it in records if it["event"] == "held.part")
    for seq, live in tables.items():
        state = state_at(old, seq - left_out, arches=ARCHES)
        told = state.machines["amd64-mtrr"]
        assert (told.slots, told.msrs, told.generation) == (live.slots, live.msrs, live.generation)
        assert (told.claims, told.waits, told.commits) == (None, None, None)
        assert state.facts()["notes"] == list(state.notes)
        assert "the log begins in the middle (the file before ends in record" in state.notes[0]


def test_the_end_of_the_old_file_has_what_was_held_at_the_rotation(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with closing(rotated_traffic(path, 8)) as steps:
        traffic, _ = next(steps)
        live = machine_state(traffic.machine, traffic.engine.now())

    told = state_at(path.with_suffix(".1")).machines["amd64-mtrr"]
    assert alike(told, live)
    assert live.claims


def test_the_description_in_the_log_has_the_whole_cpu() -> None:
    cpu = Cpu(vendor="AMD", signature=0x100F22, phys_bits=48, tom2=0x2_4000_0000)
    made = SPECS["amd64-mtrr"]
    hub = Hub(
        [MachineSpec(name="m", arch=made.arch, cpu=cpu, msrs=made.msrs)],
        arches=ARCHES,
        clock=ManualClock(),
    )
    told: list[dict[str, Any]] = []
    hub.engine.listen(told.append)
    record_starts(hub.engine)
    again = machine_of(orjson.loads(orjson.dumps(told[0])), ARCHES)

    live = hub.machines["m"].table
    assert again.spec.cpu == cpu
    assert live is not None
    assert again.table is not None
    assert again.table.types.at(0x1_8000_0000) == live.types.at(0x1_8000_0000)
