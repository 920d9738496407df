"""The log alone leads to the live machine, record by record, whatever happened."""

from __future__ import annotations

import errno
import os
from random import Random
from typing import TYPE_CHECKING, Any

import anyio
import orjson
import pytest
from anyio.lowlevel import checkpoint

from memhub.audit import AuditLog, read_records
from memhub.audit.history.rebuild import Rebuilder, rebuild
from memhub.audit.rows import event_of, row_of
from memhub.audit.schema import EVENTS
from memhub.engine.lifecycle import close_file
from memhub.engine.startup import record_starts
from ownership.clients import Recorder
from ownership.rig import ARCHES, SPECS, Bench, bench
from value.traffic import Traffic

if TYPE_CHECKING:
    from pathlib import Path

    from memhub.core.machine import Machine

every_arch = pytest.mark.parametrize("arch", sorted(SPECS))
every_latency = pytest.mark.parametrize("latency", [0.0, 1.0], ids=["at-once", "in-time"])


def same(rebuilt: Machine, live: Machine) -> bool:
    """Whether two machines are alike in all that the log tells; it does not keep memory."""
    return (
        rebuilt.table == live.table
        and rebuilt.claims == live.claims
        and rebuilt.waits == live.waits
        and rebuilt.commits == live.commits
        and rebuilt.files == live.files
        and rebuilt.notes == live.notes
        and rebuilt.health == live.health
    )


class Follower:
    """A machine rebuilt from what subscribers are told, as JSON, and compared with the live one."""

    def __init__(self) -> None:
        self.rebuilder = Rebuilder(ARCHES)
        self.records: list[dict[str, Any]] = []

    def take(self, record: dict[str, Any]) -> None:
        self.records.append(orjson.loads(orjson.dumps(record)))

    def catch_up(self) -> None:
        for record in self.records:
            self.rebuilder.read(record)

        self.records.clear()


def follow(arch: str, seed: int, steps: int, latency: float) -> set[str]:
    """Compare after every request; which events there were."""
    traffic, follower, seen = Traffic(arch, seed, latency=latency), Follower(), set[str]()
    name = traffic.machine.name
    follower.rebuilder.machines[name] = _fresh(arch, latency)
    traffic.engine.listen(follower.take)
    for number in range(steps):
        traffic.step()
        seen |= {record["event"] for record in follower.records}
        follower.catch_up()
        rebuilt = follower.rebuilder.machines[name]
        assert same(rebuilt, traffic.machine), (arch, seed, number)

    return seen


def _fresh(arch: str, latency: float) -> Machine:
    """A machine as its `device.attach` record has it."""
    found = Follower()
    started = Traffic(arch, 0, latency=latency)
    started.engine.listen(found.take)
    record_starts(started.engine)
    found.catch_up()

    return found.rebuilder.machines[started.machine.name]


@every_arch
@every_latency
def test_rebuild_equals_the_live_machine_after_every_request(arch: str, latency: float) -> None:
    seen = set[str]()
    for seed in range(2):
        seen |= follow(arch, seed, 200, latency)

    assert {"request.set", "claim.take", "claim.expire", "claim.break", "wait.end"} <= seen
    assert ("commit.begin" in seen) == (latency > 0)


@pytest.mark.campaign
@every_arch
@every_latency
def test_rebuild_equals_the_live_machine_in_long_histories(arch: str, latency: float) -> None:
    for seed in range(100, 140):
        follow(arch, seed, 400, latency)


class Disk:
    """A write(2) that now and then fails."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.rate = 0.0

    def write(self, fd: int, data: bytes) -> int:
        if self.rng.random() < self.rate:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        return os.write(fd, data)


@every_arch
@every_latency
def test_rebuild_equals_the_live_machine_where_the_log_fails_now_and_then(
    tmp_path: Path, arch: str, latency: float
) -> None:
    """What could not be logged has not happened, or is logged before anything else is."""
    disk = Disk(Random(7))
    with AuditLog.open(tmp_path / "a.jsonl", write=disk.write) as log:
        traffic = Traffic(arch, 11, latency=latency, log=log)
        disk.rate = 0.2
        checked = 0
        for _ in range(300):
            traffic.step()
            if not traffic.engine._recorder.owed:
                checked += 1
                log_now = list(read_records(tmp_path / "a.jsonl")) if checked % 10 == 0 else None
                if log_now is not None:
                    live = rebuild(log_now, ARCHES)[traffic.machine.name]
                    assert same(live, traffic.machine), checked

        disk.rate = 0.0
        for handle in list(traffic.engine.files.machines):
            close_file(traffic.engine, handle)

    rebuilt = rebuild(read_records(tmp_path / "a.jsonl"), ARCHES)[traffic.machine.name]
    assert same(rebuilt, traffic.machine)
    assert checked > 100


@every_latency
@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.campaign) for seed in range(2, 6))]
)
async def test_rebuild_equals_the_live_machine_with_tasks_that_wait_and_are_cancelled(
    tmp_path: Path, seed: int, latency: float
) -> None:
    rng, path = Random(seed), tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        async with bench("amd64", latency=latency, log=log) as b:
            with anyio.fail_after(30):
                async with anyio.create_task_group() as clients:
                    for number in range(4):
                        clients.start_soon(_client, b, f"client-{number}", Random(rng.random()))

                    for _ in range(60):
                        for _ in range(5):
                            await checkpoint()

                        b.clock.advance(0.5)
                        b.hub.engine.tick()
                        _compare(b, path)

                    clients.cancel_scope.cancel()

            _compare(b, path)


def _compare(b: Bench, path: Path) -> None:
    rebuilt = rebuild(read_records(path), ARCHES)[b.machine.name]
    assert same(rebuilt, b.machine)


async def _client(b: Bench, name: str, rng: Random) -> None:
    recorder = Recorder()
    async with await b.open(name, undo=rng.random() < 0.5) as handle:
        for _ in range(30):
            op = rng.choice(("set", "set", "remove", "claim", "release", "get"))
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as killer:
                    if rng.random() < 0.3:
                        killer.start_soon(_cancel, scope, rng.randrange(1, 9))

                    target, value = rng.randrange(3), rng.choice([1, 2, 4])
                    await recorder.make(handle, op, target, value, wait=rng.random() < 0.4)
                    killer.cancel_scope.cancel()


async def _cancel(scope: anyio.CancelScope, turns: int) -> None:
    for _ in range(turns):
        await checkpoint()

    scope.cancel()


@every_arch
@every_latency
def test_a_row_read_back_is_the_same_row(arch: str, latency: float) -> None:
    """`event_of` is the opposite of `row_of`, with the machine as it was before the fact."""
    traffic = Traffic(arch, 5, latency=latency)
    rebuilder, told = Rebuilder(ARCHES), list[dict[str, Any]]()
    name = traffic.machine.name
    rebuilder.machines[name] = _fresh(arch, latency)
    traffic.engine.listen(told.append)
    kinds = set[str]()
    for _ in range(400):
        traffic.step()
        for record in told:
            machine = rebuilder.machines[name]
            row = orjson.loads(orjson.dumps(record))
            del row["seq"]  # a number of the listeners, where there is no log
            event = event_of(row, machine)
            if event is not None:
                kinds.add(row["event"])
                again = row_of(event, row["mono_ns"])
                again = orjson.loads(orjson.dumps(again))
                for key in ("duration_ns", "holder", "holder_id", "pid", "uid", "digest"):
                    again.pop(key, None)
                    row.pop(key, None)

                assert again == {key: row[key] for key in again}, row["event"]
                assert set(row) == set(again)

            rebuilder.read(record)

        told.clear()

    assert kinds >= {"request.set", "claim.take", "wait.begin", "wait.end", "request.close"}
    assert set(EVENTS) >= kinds
