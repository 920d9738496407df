"""A hub that runs keeps its log: segments, seals and snapshots come when they are due."""

from __future__ import annotations

import errno
import os
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.lowlevel import checkpoint

from audit.test_damage import KEY
from memhub import Hub, MachineSpec
from memhub.abi import MDF_UNCACHEABLE, MDF_WRITECOMBINE
from memhub.audit import AuditLog, read_records, verify
from memhub.audit.writing.keeping import Keeping
from memhub.clock import ManualClock
from ownership.rig import ARCHES

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from memhub.clock import Clock
    from memhub.handles.handle import Handle

SPEC = MachineSpec(name="pc", arch="amd64")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


def segments(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def events(folder: Path) -> list[str]:
    return [record["event"] for record in read_records(folder)]


@asynccontextmanager
async def opened(log: AuditLog, clock: Clock | None = None) -> AsyncGenerator[tuple[Hub, Handle]]:
    """A hub with a log, and its machine's memory."""
    hub = Hub([SPEC], arches=ARCHES, log=log, clock=clock)
    async with hub, await hub.open("/dev/mem", "r+") as handle:
        yield hub, handle


async def change(handle: Handle, times: int) -> None:
    for number in range(times):
        flags = MDF_UNCACHEABLE if number % 2 else MDF_WRITECOMBINE
        await handle.set_range(0xF0000000, 1 << 20, flags, owner="x")


def put_in_the_way(folder: Path) -> None:
    (folder / "00000002.jsonl").write_text("in the way")


def move(folder: Path, name: str) -> None:
    folder.rename(folder.with_name(name))


def is_sealed(folder: Path, times: int) -> bool:
    return events(folder).count("log.seal") == times


async def until(reached: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not reached():
            await checkpoint()


async def test_a_segment_that_is_long_enough_ends_and_is_compressed(folder: Path) -> None:
    keeping = Keeping(max_bytes=20_000, snapshot_every=1 << 20)
    with AuditLog.open(f"{folder}/", keeping=keeping, key=KEY) as log:
        async with opened(log) as (_, handle):
            await change(handle, 60)
            await until(lambda: "00000002.jsonl.zst" in segments(folder))
            await change(handle, 1)

    assert segments(folder)[:2] == ["00000001.jsonl.zst", "00000002.jsonl.zst"]
    verdict = verify(folder, keys=[KEY.verifier()])
    assert (verdict.ok, verdict.closed, verdict.sealed) == (True, True, verdict.records - 1)
    assert events(folder).count("request.set") == 61


async def test_a_segment_ends_by_its_age_and_records_are_sealed_in_time(folder: Path) -> None:
    clock = ManualClock(wall_ns=1_700_000_000_000_000_000, mono_ns=5_000_000_000)
    keeping = Keeping(max_age=100.0, seal_every=30.0)
    with AuditLog.open(f"{folder}/", keeping=keeping, key=KEY) as log:
        async with opened(log, clock) as (_, handle):
            await anyio.wait_all_tasks_blocked()
            for seals in (1, 2, 3):
                await change(handle, 1)
                assert events(folder).count("log.seal") == seals - 1
                clock.advance(30.0)
                await until(partial(is_sealed, folder, seals))

            clock.advance(30.0)
            await until(lambda: "log.rotate" in events(folder))

    assert verify(folder, keys=[KEY.verifier()]).ok
    assert events(folder).count("log.segment") == 1


async def test_nothing_new_is_not_sealed_again(folder: Path) -> None:
    clock = ManualClock(wall_ns=1_700_000_000_000_000_000, mono_ns=5_000_000_000)
    with AuditLog.open(f"{folder}/", keeping=Keeping(seal_every=1.0), key=KEY) as log:
        async with Hub([SPEC], arches=ARCHES, log=log, clock=clock):
            for _ in range(5):
                await anyio.wait_all_tasks_blocked()
                clock.advance(1.0)

            await until(lambda: "log.seal" in events(folder))
            assert events(folder).count("log.seal") == 1


async def test_snapshots_come_between_requests(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path, keeping=Keeping(snapshot_every=64)) as log:
        async with opened(log) as (_, handle):
            await change(handle, 300)

    found = events(path)
    assert 2 <= found.count("log.snapshot") <= 5
    assert found.count("held.machine") == found.count("log.snapshot")
    assert verify(path).ok


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("every", range(2, 14))
def test_a_log_that_gets_long_when_its_loop_has_ended_is_closed(
    tmp_path: Path, backend: str, every: int
) -> None:
    path = tmp_path / "a.jsonl"

    async def open_and_close() -> None:
        async with opened(log) as (_, handle):
            await change(handle, 2)
            await anyio.wait_all_tasks_blocked()

    with AuditLog.open(path, keeping=Keeping(snapshot_every=every)) as log:
        anyio.run(open_and_close, backend=backend)

    assert events(path)[-1] == "log.close"
    assert verify(path).ok


async def test_a_rotation_that_fails_is_tried_again_and_requests_go_on(folder: Path) -> None:
    clock = ManualClock(wall_ns=1_700_000_000_000_000_000, mono_ns=5_000_000_000)
    full = [False]

    def write(fd: int, data: bytes) -> int:
        if full[0] and b'"log.segment"' in data:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        return os.write(fd, data)

    with AuditLog.open(f"{folder}/", keeping=Keeping(max_bytes=20_000), write=write) as log:
        async with Hub([SPEC], arches=ARCHES, log=log, clock=clock) as hub:
            keeper = hub.log_keeper
            assert keeper is not None
            async with await hub.open("/dev/mem", "r+") as handle:
                full[0] = True
                await change(handle, 60)
                await until(lambda: keeper.failure is not None)
                await change(handle, 3)
                assert segments(folder) == ["00000001.jsonl"]
                full[0] = False
                await anyio.wait_all_tasks_blocked()
                clock.advance(1.0)
                await until(lambda: len(segments(folder)) > 1)
                assert keeper.failure is None

    assert verify(folder).ok
    assert events(folder).count("request.set") == 63


async def test_seals_go_on_while_a_rotation_fails_and_it_is_told_once(folder: Path) -> None:
    clock = ManualClock(wall_ns=1_700_000_000_000_000_000, mono_ns=5_000_000_000)
    told: list[str] = []
    keeping = Keeping(max_bytes=20_000, seal_every=5.0)
    with AuditLog.open(f"{folder}/", keeping=keeping, key=KEY) as log:
        async with opened(log, clock) as (hub, handle):
            assert hub.log_keeper is not None
            hub.log_keeper.report = told.append
            put_in_the_way(folder)
            await change(handle, 60)
            await until(lambda: bool(told))
            for seals in (1, 2, 3):
                await change(handle, 1)
                await anyio.wait_all_tasks_blocked()
                clock.advance(5.0)
                await until(partial(is_sealed, folder / "00000001.jsonl", seals))

    assert len(told) == 1
    assert "00000002.jsonl" in told[0]


async def test_a_folder_that_is_moved_away_for_a_moment_ends_nothing(folder: Path) -> None:
    with AuditLog.open(f"{folder}/", keeping=Keeping(max_bytes=20_000)) as log:
        async with opened(log) as (hub, handle):
            assert hub.log_keeper is not None
            move(folder, "away")
            hub.log_keeper._ended.set()
            await anyio.wait_all_tasks_blocked()
            assert hub.log_keeper.failure is not None
            move(folder.with_name("away"), folder.name)
            await change(handle, 60)

    assert verify(folder).ok


async def test_a_batch_of_looks_is_not_torn_apart(folder: Path) -> None:
    keeping = Keeping(max_bytes=20_000)
    with AuditLog.open(f"{folder}/", keeping=keeping) as log:
        async with opened(log) as (hub, handle):
            await change(handle, 18)
            with hub.batch():
                await handle.ranges()
                assert log.pending
                log.writer._tell_due()
                await checkpoint()
                await checkpoint()
                assert log.pending

    assert verify(folder).ok


async def test_a_log_that_its_embedder_closes_first_stops_nothing(folder: Path) -> None:
    log = AuditLog.open(f"{folder}/", keeping=Keeping(snapshot_every=1))
    with anyio.fail_after(20), pytest.raises(OSError, match="closed"):
        await _end_after(log)


async def _end_after(log: AuditLog) -> None:
    async with Hub([SPEC], arches=ARCHES, log=log):
        log.close()
        await anyio.wait_all_tasks_blocked()


async def test_a_burst_of_requests_rotates_in_time(folder: Path) -> None:
    """No task has its turn between `nowait` requests."""
    keeping = Keeping(max_bytes=20_000)
    with AuditLog.open(f"{folder}/", keeping=keeping) as log:
        async with opened(log) as (_, handle):
            sizes = []
            for _ in range(1000):
                handle.pread_nowait(8, 0)
                sizes.append(log.writer.require_sink().size)

    assert max(sizes) < 24_000
    assert verify(folder).ok
    assert events(folder).count("log.rotate") > 10


async def test_machines_larger_than_a_segment_do_not_rotate_for_ever(folder: Path) -> None:
    """A segment holds at least as much of its own as what it begins with."""
    keeping = Keeping(max_bytes=4096)
    with AuditLog.open(f"{folder}/", keeping=keeping) as log:
        hub = Hub(
            [MachineSpec(name=f"pc{n}", arch="amd64") for n in range(8)], arches=ARCHES, log=log
        )
        async with hub, await hub.open("/dev/mem", "r+") as handle:
            with anyio.fail_after(20):
                for _ in range(300):
                    await handle.pread(8, 0)

    read = events(folder).count("request.read")
    assert read == 300
    assert events(folder).count("log.rotate") < 60
