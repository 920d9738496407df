"""Logs replayed: against the same machines nothing differs; against others, what does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from memhub import Hub
from memhub.abi import (
    MDF_UNCACHEABLE,
    MDF_WRITECOMBINE,
    MDF_WRITETHROUGH,
    MEMRANGE_SET_UPDATE,
    RangeDesc,
)
from memhub.audit import AuditLog
from memhub.cli.demo.run import run_demo
from memhub.core.files import Principal
from memhub.core.requests import (
    BreakClaim,
    ClaimRange,
    Open,
    RefuseIoctl,
    ReleaseRange,
    RenewClaim,
    SetRange,
)
from memhub.engine.lifecycle import break_claim, open_file
from memhub.engine.log_keeping import snapshot_rows
from memhub.engine.pending import Pending
from memhub.errors import BadAddress, DeviceError, InvalidRange, UnknownIoctl
from memhub.rig import replay_log, shrink_log
from memhub.rig.log_replay.player import machine_again
from memhub.rig.log_replay.replaying import replay_run
from memhub.rig.log_replay.steps import LogStep, read_run
from ownership.rig import ARCHES, SPECS
from value.sick_traffic import SickTraffic
from value.traffic import Traffic

if TYPE_CHECKING:
    from pathlib import Path

    from memhub.core.drivers.driver import Arch

every_arch = pytest.mark.parametrize("arch", sorted(SPECS))
every_latency = pytest.mark.parametrize("latency", [0.0, 1.0], ids=["at-once", "in-time"])


def write_log(path: Path, arch: str, seed: int, steps: int, latency: float = 0.0) -> None:
    with AuditLog.open(path) as log:
        traffic = Traffic(arch, seed, latency=latency, log=log)
        for _ in range(steps):
            traffic.step()


@every_arch
@every_latency
def test_the_same_machine_answers_as_the_log_says(
    tmp_path: Path, arch: str, latency: float
) -> None:
    for seed in range(3):
        path = tmp_path / f"{seed}.jsonl"
        write_log(path, arch, seed, 250, latency)
        done = replay_log(path, arches=ARCHES)
        assert [str(it) for it in done.differences] == []
        assert done.steps > 100
        assert dict(done.unplayed) == {}


def test_a_multi_machine_log_of_a_demo_is_answered_alike(tmp_path: Path) -> None:
    run_demo(5, tmp_path / "a.jsonl")
    done = replay_log(tmp_path / "a.jsonl", arches=ARCHES)
    assert done.differences == []
    assert done.steps > 100
    one = replay_log(tmp_path / "a.jsonl", machine="desk", arches=ARCHES)
    assert 0 < one.steps < done.steps


@every_arch
@every_latency
def test_a_log_with_restores_resets_and_a_second_start_is_answered_alike(
    tmp_path: Path, arch: str, latency: float
) -> None:
    path = tmp_path / "a.jsonl"
    for seed in range(2):
        with AuditLog.open(path) as log:
            traffic = Traffic(arch, seed, latency=latency, log=log)
            then = traffic.hub.snapshot()
            for number in range(160):
                traffic.step()
                if number % 30 == 10:
                    then = traffic.hub.snapshot()
                elif number % 60 == 25:
                    traffic.hub.restore(then)
                elif number % 60 == 55:
                    traffic.hub.reset()

    done = replay_log(path, arches=ARCHES)
    assert [str(it) for it in done.differences] == []
    assert done.steps > 150


@every_arch
@every_latency
def test_a_log_of_sick_hardware_and_restores_is_answered_alike(
    tmp_path: Path, arch: str, latency: float
) -> None:
    for seed in range(3):
        path = tmp_path / f"{seed}.jsonl"
        with AuditLog.open(path) as log:
            traffic = SickTraffic(arch, seed, latency=latency, log=log)
            then = traffic.hub.snapshot()
            for number in range(200):
                traffic.step()
                if number % 30 == 10:
                    then = traffic.hub.snapshot()
                elif number % 60 == 25:
                    traffic.hub.restore(then)

        done = replay_log(path, arches=ARCHES)
        assert [str(it) for it in done.differences] == []
        assert done.steps > 100
        assert dict(done.unplayed) == {}


def go_on_in_a_fork(traffic: Traffic, log: AuditLog) -> None:
    """Let the traffic go on in a fork of its hub, which has a log of its own."""
    traffic.hub = traffic.hub.fork(log=log)
    traffic.hub.begin()
    traffic.engine = traffic.hub.engine
    traffic.machine = traffic.hub.machines[traffic.machine.name]
    traffic.pending.clear()


@every_arch
@every_latency
def test_the_log_of_a_fork_is_answered_alike(tmp_path: Path, arch: str, latency: float) -> None:
    for seed in range(4):
        path = tmp_path / f"{seed}.jsonl"
        traffic = Traffic(arch, seed, latency=latency)
        for _ in range(120):
            traffic.step()

        with AuditLog.open(path) as log:
            go_on_in_a_fork(traffic, log)
            for number in range(120):
                traffic.step()
                if number == 60:
                    traffic.hub.reset()

        done = replay_log(path, arches=ARCHES)
        assert [str(it) for it in done.differences] == []
        assert done.steps > 60
        assert dict(done.unplayed) == {}


def test_a_fork_that_nobody_used_is_replayed_and_its_claims_end(tmp_path: Path) -> None:
    hub = Hub([SPECS["amd64"]], arches=ARCHES)
    hub.begin()
    handle = open_file(hub.engine, Open(Principal(1, "X"), "/dev/mem", "r+", undo=True))
    hub.engine.submit(SetRange(handle, 0, RangeDesc(0, 4096, MDF_UNCACHEABLE)))
    with AuditLog.open(tmp_path / "a.jsonl") as log:
        fork = hub.fork(log=log)
        fork.begin()
        fork.end()

    for arch, differs in ((None, []), ("amd64-mtrr", ["undo"]), ("powerpc", ["undo"])):
        done = replay_log(tmp_path / "a.jsonl", arch=arch, arches=ARCHES)
        assert [it.request.split()[-1] for it in done.differences] == differs
        assert dict(done.unplayed) == {}


def test_a_log_that_begins_in_mid_life_is_answered_alike(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    traffic = Traffic("i386", 3)
    for _ in range(120):
        traffic.step()

    traffic.engine.end_due()
    with AuditLog.open(path) as log:
        for row in snapshot_rows(traffic.hub.machines.values(), traffic.engine.now()):
            log.record(row)

        traffic.engine.keep_log(log)
        for _ in range(120):
            traffic.step()

    done = replay_log(path, arches=ARCHES)
    assert [str(it) for it in done.differences] == []
    assert done.steps > 60


def test_the_log_of_a_fork_is_shrunk_with_its_start(tmp_path: Path) -> None:
    traffic = Traffic("i386", 3)
    for _ in range(60):
        traffic.step()

    with AuditLog.open(tmp_path / "a.jsonl") as log:
        go_on_in_a_fork(traffic, log)
        for _ in range(60):
            traffic.step()

    shrunk = shrink_log(
        tmp_path / "a.jsonl", against="k6", arches=ARCHES, out=tmp_path / "small.jsonl"
    )
    assert len(shrunk.steps) == 1
    assert replay_log(tmp_path / "small.jsonl", arches=ARCHES).differences == []
    assert replay_log(tmp_path / "small.jsonl", arch="k6", arches=ARCHES).differences != []


def test_malformed_ioctls_and_stale_fences_are_put(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        hub = Hub([SPECS["amd64"]], arches=ARCHES, log=log)
        hub.begin()
        engine = hub.engine
        files = [
            open_file(engine, Open(Principal(number, f"p{number}"), "/dev/mem", "r+"))
            for number in (1, 2)
        ]
        mine = engine.submit(ClaimRange(files[0], 0, 4096))
        engine.submit(ReleaseRange(files[0], 0, 4096))
        broken = engine.submit(ClaimRange(files[0], 8192, 4096))
        theirs = engine.submit(ClaimRange(files[1], 4096, 4096))
        assert not isinstance(mine, Pending)
        assert not isinstance(theirs, Pending)
        assert not isinstance(broken, Pending)
        break_claim(engine, BreakClaim("amd64", broken.fence, "stuck"))
        desc = RangeDesc(0, 4096, MDF_UNCACHEABLE)
        for fence in (mine.fence, theirs.fence, broken.fence, 77, 0, -1, 1 << 70):
            refused: list[Any] = [
                SetRange(files[0], MEMRANGE_SET_UPDATE, desc, fence),
                RenewClaim(files[0], fence, 3.0),
                ReleaseRange(files[0], 0, 4096, fence),
            ]
            for it in refused:
                with pytest.raises(DeviceError):
                    engine.submit(it)

        for bad in (BadAddress("a LP64 mem_range_op is 32 bytes, not 3"), UnknownIoctl("no")):
            with pytest.raises(DeviceError, match=bad.reason):
                engine.submit(RefuseIoctl(files[0], 0x1234, bad))

        hub.hardware.suspend()
        with pytest.raises(DeviceError, match="suspended"):
            engine.submit(RefuseIoctl(files[0], 0x1234, UnknownIoctl("no")))

        hub.end()

    done = replay_log(path, arches=ARCHES)
    assert [str(it) for it in done.differences] == []
    assert dict(done.unplayed) == {}


def stricter(arch: Arch) -> Arch:
    """The architecture as a later version of its plugin might have it: write-through is gone."""

    def make(cpu: Any, options: Any) -> Any:
        driver = arch.driver(cpu, options)  # type: ignore[misc]
        plan = driver.update

        def update(state: Any, desc: RangeDesc, *rest: Any, **named: Any) -> Any:
            if desc.mr_flags & MDF_WRITETHROUGH:
                raise InvalidRange("no write-through any more")

            return plan(state, desc, *rest, **named)

        driver.update = update  # type: ignore[method-assign]
        return driver

    return replace(arch, driver=make)


def test_another_version_of_a_plugin_differs_where_it_answers_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        hub = Hub([SPECS["i386"]], arches=ARCHES, log=log)
        hub.begin()
        handle = open_file(hub.engine, Open(Principal(1, "x"), "/dev/mem", "r+"))
        for number, flags in enumerate((MDF_UNCACHEABLE, MDF_WRITETHROUGH, MDF_WRITECOMBINE), 1):
            desc = RangeDesc(number << 24, 1 << 20, flags)
            hub.engine.submit(SetRange(handle, MEMRANGE_SET_UPDATE, desc))

        hub.end()

    newer = {**ARCHES, "i386": stricter(ARCHES["i386"])}
    done = replay_log(path, arches=newer)
    first = done.differences[0]
    assert (first.what, first.expected) == ("errno", "ok")
    assert first.request == "i386: x update 0x2000000+0x100000 write-through"
    assert first.found == "EINVAL (no write-through any more)"
    assert min(it.seq for it in done.differences) == first.seq


def test_the_machines_of_a_configuration_take_the_place_of_those_of_the_log(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.jsonl"
    write_log(path, "amd64", 3, 200)
    same = replay_log(path, specs={"amd64": Traffic("amd64", 3).machine.spec}, arches=ARCHES)
    assert same.differences == []
    fewer = replace(Traffic("amd64", 3).machine.spec, options={"slots": 1})
    done = replay_log(path, specs={"amd64": fewer}, arches=ARCHES)
    assert any(it.found.startswith("ENOSPC") for it in done.differences)
    none = replay_log(path, specs={}, arches=ARCHES)
    assert (none.steps, none.differences) == (0, [])


def test_a_record_that_was_changed_is_a_difference(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_log(path, "powerpc", 4, 150)
    run = read_run(path)
    for number, step in enumerate(run.steps):
        if step.row["event"] == "request.set" and step.row["errno"] is None:
            run.steps[number] = LogStep({**step.row, "errno": "ENOSPC", "reason": "planted"})
            break

    done = replay_run(run, machine_again(ARCHES))
    (difference,) = done.differences
    assert difference.seq == run.steps[number].seq
    assert (difference.expected, difference.found) == ("ENOSPC (planted)", "ok")

    missing = read_run(path)
    gone = missing.followed.pop()
    (difference,) = replay_run(missing, machine_again(ARCHES)).differences
    assert (difference.what, difference.expected) == ("more", "nothing")
    missing.followed.append({**gone, "base": 1})
    both = replay_run(missing, machine_again(ARCHES)).differences
    assert {it.what for it in both} == {"more", "missing"}
