"""The state that a log tells of a moment is that of the live machine at that moment."""

from __future__ import annotations

import gzip
import os
import threading
from random import Random
from typing import TYPE_CHECKING, Any

import anyio
import orjson
import pytest

from memhub import Hub, Sickness
from memhub.audit import AuditError, AuditLog, DamagedLog, read_records, state_at
from memhub.audit.history.diff import diff_states
from memhub.audit.history.states import machine_state
from memhub.audit.history.travel import Travel
from memhub.cli.audit.travel_view import print_state
from memhub.core.spec import MachineSpec
from memhub.engine.startup import record_starts
from ownership.rig import ARCHES, SPECS, bench, spec
from value.test_rebuild import _client
from value.traffic import Traffic

if TYPE_CHECKING:
    from pathlib import Path

    from memhub.audit.history.states import MachineState
    from memhub.core.machine import Machine
    from memhub.engine.engine import Engine

every_arch = pytest.mark.parametrize("arch", sorted(SPECS))
every_latency = pytest.mark.parametrize("latency", [0.0, 1.0], ids=["at-once", "in-time"])


class Witness:
    """What a live machine was whenever a log's records were complete, by the last `seq`."""

    def __init__(self, machine: Machine, engine: Engine, log: AuditLog) -> None:
        self.seen: dict[int, MachineState] = {}
        self._of = machine, engine, log

    def look(self) -> None:
        machine, engine, log = self._of
        if not engine._recorder.owed:
            self.seen[log.seq] = machine_state(machine, engine.now())


def check(path: Path, witness: Witness) -> None:
    """Every state that was seen, against the one that the log tells; in one pass."""
    name = witness._of[0].name
    moments = sorted(witness.seen)
    for seq, state in zip(moments, Travel(path=path, arches=ARCHES).states(moments), strict=True):
        assert (state.seq, state.notes) == (seq, ())
        assert alike(state.machines[name], witness.seen[seq]), seq


def alike(told: MachineState, live: MachineState) -> bool:
    """Whether both are the same, also as JSON; the clocks went on since the last record."""
    parts = ("slots", "msrs", "generation", "claims", "waits", "commits")

    return all(getattr(told, it) == getattr(live, it) for it in parts) and (
        told.facts() == live.facts()
    )


def follow(path: Path, arch: str, seed: int, steps: int, latency: float) -> Witness:
    with AuditLog.open(path) as log:
        traffic = Traffic(arch, seed, latency=latency, log=log)
        witness = Witness(traffic.machine, traffic.engine, log)
        for _ in range(steps):
            traffic.step()
            witness.look()

    check(path, witness)

    return witness


@every_arch
@every_latency
def test_the_state_at_every_record_is_that_of_the_live_machine(
    tmp_path: Path, arch: str, latency: float
) -> None:
    witness = follow(tmp_path / "a.jsonl", arch, 3, 250, latency)

    assert any(it.waits for it in witness.seen.values())
    assert any(claim.expires_ns for it in witness.seen.values() for claim in it.claims or ())
    assert any(it.commits for it in witness.seen.values()) == (latency > 0)


@pytest.mark.campaign
@every_arch
@every_latency
def test_the_state_at_every_record_of_long_histories(
    tmp_path: Path, arch: str, latency: float
) -> None:
    for seed in range(200, 212):
        path = tmp_path / f"{seed}.jsonl"
        follow(path, arch, seed, 400, latency)


@every_arch
async def test_the_state_of_tasks_that_wait_and_are_cancelled(tmp_path: Path, arch: str) -> None:
    rng, path = Random(arch), tmp_path / "a.jsonl"
    latency = rng.choice([0.0, 1.0])
    with AuditLog.open(path) as log:
        async with bench(arch, latency=latency, log=log) as b:
            witness = Witness(b.machine, b.hub.engine, log)
            witness._of[1].listen(lambda _: None)
            with anyio.fail_after(30):
                async with anyio.create_task_group() as clients:
                    for number in range(3):
                        clients.start_soon(_client, b, f"client-{number}", Random(rng.random()))

                    for _ in range(40):
                        for _ in range(3):
                            await anyio.lowlevel.checkpoint()
                            witness.look()

                        b.clock.advance(0.5)
                        b.hub.engine.tick()
                        witness.look()

                    clients.cancel_scope.cancel()

            witness.look()

    check(path, witness)
    assert len(witness.seen) > 20


# Moments


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("travel") / "a.jsonl"
    follow(path, "amd64", 5, 200, 0.0)

    return path


def test_a_moment_is_a_record_a_time_or_the_end(log: Path) -> None:
    records = list(read_records(log))
    for record in records[1::40]:
        when = record["wall_ns"]
        hubs = [it for it in records if not it["event"].startswith("log.")]
        later = [it["seq"] for it in hubs if it["wall_ns"] > when]
        last = min(later) - 1 if later else records[-1]["seq"]

        assert state_at(log, record["seq"]).seq == record["seq"]
        assert state_at(log, _time(when)).seq == last
        assert state_at(log, _time(when).replace(tzinfo=None)).seq == last

    assert state_at(log).seq == len(records)
    assert state_at(log, _time(records[-2]["wall_ns"] + 10**12)).seq == len(records)
    assert (state_at(log, 1).seq, state_at(log, 1).machines) == (1, {})


def _time(wall_ns: int) -> Any:
    from datetime import UTC, datetime, timedelta

    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=wall_ns // 1000)


def test_a_moment_outside_the_log_is_refused(log: Path) -> None:
    count = len(list(read_records(log)))
    with pytest.raises(AuditError, match=f"record {count + 1} is not in .* with record {count}$"):
        state_at(log, count + 1)

    for at, begin in ((0, "record 1 at 2"), (_time(0), "record 2 at 2023-11-14T22:13:20.0")):
        with pytest.raises(AuditError, match=f"the log begins later, with {begin}"):
            state_at(log, at)


def test_moments_come_in_the_order_asked_for(log: Path) -> None:
    states = Travel(path=log, arches=ARCHES).states([90, None, 40, 90])

    assert [it.seq for it in states] == [90, len(list(read_records(log))), 40, 90]
    assert states[0] == states[3]


def test_a_pipe_and_a_compressed_log_are_read_likewise(log: Path, tmp_path: Path) -> None:
    packed, pipe = tmp_path / "a.jsonl.gz", tmp_path / "pipe"
    packed.write_bytes(gzip.compress(log.read_bytes()))
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(log.read_bytes(),))
    writer.start()
    of_pipe = state_at(pipe)
    writer.join()

    assert state_at(packed) == of_pipe == state_at(log)


# Damage


def test_damage_before_the_moment_refuses_it_and_damage_behind_does_not(
    log: Path, tmp_path: Path
) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    broken = tmp_path / "broken.jsonl"
    broken.write_bytes(b"".join((*lines[:100], *lines[101:])))

    assert state_at(broken, 100) == state_at(log, 100)
    for at in (101, 150, None):
        with pytest.raises(DamagedLog, match=r"after 100 records: line 101, .* 101 are missing"):
            state_at(broken, at)


def test_an_unverified_log_is_taken_as_it_is(log: Path, tmp_path: Path) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    altered = tmp_path / "altered.jsonl"
    altered.write_bytes(b"".join(lines).replace(b'"prev":"a', b'"prev":"b'))

    with pytest.raises(DamagedLog, match="altered"):
        state_at(altered)

    assert state_at(altered, verified=False) == state_at(log)


def test_an_unfinished_last_line_is_left_out_and_named(log: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.jsonl"
    torn.write_bytes(log.read_bytes()[:-40])

    told, before = state_at(torn), state_at(log, len(list(read_records(log))) - 1)
    (note,) = told.notes
    assert (told.seq, told.machines) == (before.seq, before.machines)
    assert f"line {told.seq + 1}, byte " in note
    assert "the last line is unfinished" in note
    assert state_at(torn, told.seq).notes == ()


def test_a_log_without_its_beginning_tells_nothing_and_says_so(log: Path, tmp_path: Path) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    tail = tmp_path / "tail.jsonl"
    tail.write_bytes(b"".join(lines[20:]))

    with pytest.raises(DamagedLog, match="the log's beginning is missing"):
        state_at(tail)

    state = state_at(tail, verified=False)
    assert state.machines == {}
    (note,) = state.notes
    assert note.startswith("machine amd64: record ")
    assert note.endswith("is not in the log: nothing of it is known")


def test_a_record_that_cannot_follow_is_refused_by_its_number(log: Path, tmp_path: Path) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    (first,) = [n for n, it in enumerate(lines) if b'"claim.take"' in it and b'"errno":null' in it][
        :1
    ]
    ends = next(n for n, it in enumerate(lines) if n > first and b'"claim.expire"' in it)
    missing = tmp_path / "missing.jsonl"
    taken = [it for it in lines if b'"fence":%d,' % orjson.loads(lines[ends])["fence"] in it]
    missing.write_bytes(b"".join(it for it in lines if it != taken[0]))

    with pytest.raises(AuditError, match=r"record \d+ cannot follow those before it: "):
        state_at(missing, verified=False)


# JSON


def test_a_machine_without_ranges_has_no_slots(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path / "a.jsonl") as log:
        hub = Hub([MachineSpec(name="board", arch="arm64")], arches=ARCHES, log=log)
        record_starts(hub.engine)

    (facts,) = state_at(tmp_path / "a.jsonl").facts()["machines"]
    assert facts == {
        "machine": "board", "arch": "arm64", "generation": 0,
        "slots": [], "claims": [], "waits": [], "msrs": {},
    }  # fmt: skip


def test_the_json_of_a_state(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        traffic = Traffic("amd64", 5, log=log)
        for _ in range(120):
            traffic.step()

    facts = orjson.loads(orjson.dumps(state_at(path, 100).facts()))
    (machine,) = facts["machines"]
    assert set(facts) == {"seq", "time", "machines"}
    assert set(machine) == {
        "machine", "arch", "generation", "slots", "claims", "waits", "msrs"
    }  # fmt: skip
    assert [set(it) for it in machine["slots"]] == [
        {"slot", "base", "length", "flags", "owner"}
    ] * 6
    assert machine["msrs"]["0x2ff"] == spec("amd64").msrs[0x2FF]


async def test_a_state_tells_what_is_wrong_with_a_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        async with Hub([SPECS["i386"]], log=log) as hub:
            well, name = log.seq, SPECS["i386"].name
            off = Sickness(action="cpu_out_of_step", name="lost", cpu=1, registers={0x2FF: 0xC01})
            hub.hardware.add(off)
            hub.hardware.suspend(name)
            asleep = log.seq

    before, after = state_at(path, well), state_at(path, asleep)
    wrong = after.facts()["machines"][0]["wrong"]
    assert wrong.keys() == {"suspended", "sicknesses", "cpus"}
    assert (wrong["sicknesses"], wrong["cpus"]) == (["lost"], [1])
    assert "wrong" not in before.facts()["machines"][0]

    print_state(after)
    shown = capsys.readouterr().out
    assert "  sick: lost\n  CPUs out of step: 1\n" in shown
    assert f"  suspended: {wrong['suspended']}\n" in shown

    found = {it["name"]: it for it in diff_states(before, after)["machines"][0]["wrong"]}
    assert found["suspended"]["before"] is None
    assert found["sicknesses"]["after"] == ["lost"]
