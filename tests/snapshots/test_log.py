"""What the log's own commands make of a restore."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub import AuditLog, Hub
from memhub.abi import MDF_UNCACHEABLE, RangeDesc
from memhub.audit import read_records, state_at, verify
from memhub.audit.history.blame import blame
from memhub.audit.history.restore import restore_machines
from memhub.audit.history.travel import Travel
from memhub.core.files import Principal
from memhub.core.requests import Open, SetRange
from memhub.engine.lifecycle import open_file
from shell.kit import ARCHES, MTRR, M

if TYPE_CHECKING:
    from pathlib import Path

    from memhub.core.machine import Machine


def test_every_moment_around_a_restore_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    seen = dict[int, tuple[object, ...]]()
    with AuditLog.open(path) as log:
        hub = Hub([MTRR], arches=ARCHES, log=log)
        hub.begin()
        machine = hub.machines["mtrr"]
        handle = open_file(hub.engine, Open(Principal(1, "X"), "/dev/mem", "r+"))

        def update(base: int) -> None:
            hub.engine.submit(SetRange(handle, 0, RangeDesc(base, M, MDF_UNCACHEABLE)))
            seen[log.seq] = looks(machine)

        update(16 * M)
        then = hub.snapshot()
        update(32 * M)
        hub.restore(then)
        seen[log.seq] = looks(machine)
        update(48 * M)
        hub.reset()
        seen[log.seq] = looks(machine)

    assert verify(path).ok
    for seq, found in seen.items():
        state = state_at(path, seq, arches=ARCHES).machines["mtrr"]
        assert (state.slots, dict(state.msrs), state.claims) == found

    restored = [it for it in read_records(path) if it["event"] == "device.restore"]
    assert [it["cause"] for it in restored] == ["restore", "reset"]
    partial = state_at(path, restored[0]["seq"], arches=ARCHES)
    assert "its restore is not whole" in partial.notes[0]
    gone_on = restore_machines(path, arches=ARCHES).machines["mtrr"]
    assert gone_on.table is not None
    assert gone_on.table.state.slots == seen[max(seen)][0]

    (answer,) = blame(Travel(path, ARCHES), 32 * M)
    told = [(it.record["event"], *it.types) for it in answer.steps if it.types[0] != it.types[1]]
    assert told == [
        ("device.attach", None, "WB"),
        ("request.set", "WB", "UC"),
        ("device.restore", "UC", "WB"),
    ]


def looks(machine: Machine) -> tuple[object, ...]:
    assert machine.table is not None
    state = machine.table.state

    return state.slots, dict(state.msrs), tuple(machine.claims.claims.values())
