"""Durability `disk`: one sync for the records of many requests, which are answered behind it."""

from __future__ import annotations

import errno
import os
from collections import Counter
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memhub import AuditLog, Hub
from memhub.abi import MDF_UNCACHEABLE, MDF_WRITECOMBINE
from memhub.audit import read_records, verify
from memhub.audit.history.rebuild import rebuild
from memhub.core.requests import ClaimRange
from memhub.engine.group_commit import Undurable
from memhub.errors import DeviceError, LogFailed
from shell.kit import ARCHES, PAT, Disk, K, Lab, M

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from memhub import Handle

WC, UC = MDF_WRITECOMBINE, MDF_UNCACHEABLE


class Syncs:
    """fdatasync(2), counted, and failing when it is told to.

    Attributes:
        count: how often it was called.
        failing: what of the next calls fail; none once it is empty.
        before: called first, each time.
    """

    def __init__(self) -> None:
        self.count = 0
        self.failing: list[bool] = []
        self.before: Callable[[], None] = lambda: None

    def __call__(self, _fd: int) -> None:
        self.count += 1
        self.before()
        if self.failing and self.failing.pop(0):
            raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Syncs]:
    found = Syncs()
    monkeypatch.setattr(os, "fdatasync", found)
    yield found
    found.failing.clear()


@asynccontextmanager
async def rig(folder: Path, syncs: Syncs) -> AsyncIterator[Lab]:
    """A hub with a log that waits for the disk."""
    path, disk = folder / "audit.jsonl", Disk()
    with AuditLog.open(path, durability="disk", write=disk.write) as log:
        async with Hub((PAT,), log=log, arches=ARCHES) as hub:
            yield Lab(hub, path, disk)
            syncs.failing.clear()

    assert verify(path).broken is None


async def open_files(lab: Lab, count: int) -> list[Handle]:
    return [await lab.hub.process(f"p{n}").open("/dev/mem", "r+") for n in range(count)]


def seq_of(lab: Lab) -> int:
    log = lab.hub.engine._recorder.log
    assert log is not None

    return log.seq


def hold(lab: Lab, request: Any) -> Undurable:
    """Submit a request, and leave its answer waiting for a sync."""
    commit = lab.hub.engine.commit
    assert commit is not None
    with pytest.raises(Undurable) as held:
        commit.submit(request)

    return held.value


async def test_requests_that_come_together_share_a_sync(tmp_path: Path, syncs: Syncs) -> None:
    async with rig(tmp_path, syncs) as lab:
        files = await open_files(lab, 32)
        before = syncs.count
        async with anyio.create_task_group() as tasks:
            for place, file in enumerate(files):
                tasks.start_soon(file.claim, (place + 8) * M, 4 * K)

        assert syncs.count == before + 1
        assert len(lab.hub.claims("pat")) == 32


async def test_nobody_is_answered_or_told_before_the_sync(tmp_path: Path, syncs: Syncs) -> None:
    async with rig(tmp_path, syncs) as lab:
        answered: list[int] = []
        events: list[str] = []
        seen: list[tuple[list[int], list[str]]] = []
        files = await open_files(lab, 4)
        stop = lab.hub.engine.listen(lambda row: events.append(row["event"]))
        syncs.before = lambda: seen.append((list(answered), list(events)))

        async def claim(place: int) -> None:
            await files[place].claim((place + 8) * M, 4 * K)
            answered.append(place)

        async with anyio.create_task_group() as tasks:
            for place in range(4):
                tasks.start_soon(claim, place)

        assert seen == [([], [])]
        assert sorted(answered) == [0, 1, 2, 3]
        assert events == ["claim.take"] * 4
        stop()


async def test_where_the_sync_fails_nobody_is_granted_anything_and_nothing_has_happened(
    tmp_path: Path, syncs: Syncs
) -> None:
    async with rig(tmp_path, syncs) as lab:
        files = await open_files(lab, 4)
        await files[0].pwrite(b"old bytes", 1 * M)
        await files[1].set_range(24 * M, 1 * M, WC)
        before, written, seq = lab.state(), lab.path.read_bytes(), seq_of(lab)
        failures: list[str] = []

        async def fail(request: Any) -> None:
            with pytest.raises(LogFailed, match="nothing was changed") as caught:
                await request
            failures.append(caught.value.code.name)

        syncs.failing = [True]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail, files[0].pwrite(b"new bytes", 1 * M))
            tasks.start_soon(fail, files[0].pwrite(b"newer", 1 * M + 2))
            tasks.start_soon(fail, files[1].set_range(24 * M, 1 * M, UC))
            tasks.start_soon(fail, files[2].claim(32 * M, 4 * K, lease=9))
            tasks.start_soon(fail, files[2].release(32 * M, 4 * K))
            tasks.start_soon(fail, files[3].read(64))
            tasks.start_soon(fail, files[3].claim(32 * M, 4 * K))
            tasks.start_soon(fail, files[3].set_range(24 * M, 1 * M, UC))

        assert failures == ["EIO"] * 8
        assert lab.state() == before
        assert lab.path.read_bytes() == written
        assert seq_of(lab) == seq

        await files[2].claim(32 * M, 4 * K)
        assert await files[0].pread(9, 1 * M) == b"old bytes"


async def test_what_cannot_wait_syncs_those_who_wait_too(tmp_path: Path, syncs: Syncs) -> None:
    """A `nowait` request cannot wait for its answer."""
    async with rig(tmp_path, syncs) as lab:
        mine, other = await open_files(lab, 2)
        held = hold(lab, ClaimRange(mine.number, 8 * M, 4 * K, None, None))
        done = [held.group.done]
        other.pread_nowait(8, 0)
        done += [held.group.done]

        assert done == [False, True]
        assert held.result().base == 8 * M
        last = [record["event"] for record in read_records(lab.path)][-2:]
        assert last == ["claim.take", "request.read"]


async def test_a_report_shows_no_change_that_the_disk_does_not_have(
    tmp_path: Path, syncs: Syncs
) -> None:
    async with rig(tmp_path, syncs) as lab:
        (mine,) = await open_files(lab, 1)
        held = hold(lab, ClaimRange(mine.number, 8 * M, 4 * K, None, None))
        syncs.failing = [True]

        assert lab.hub.report()["machines"][0]["claims"] == []
        with pytest.raises(LogFailed):
            held.result()


async def test_a_decision_on_what_a_failed_sync_takes_back_is_not_made_true(
    tmp_path: Path, syncs: Syncs
) -> None:
    """The waiting request was decided on a claim that is gone: it fails and does not wait."""
    async with rig(tmp_path, syncs) as lab:
        mine, other = await open_files(lab, 2)
        held = hold(lab, ClaimRange(mine.number, 8 * M, 4 * K, None, None))
        before = syncs.count
        syncs.failing = [True]
        with pytest.raises(LogFailed):
            await other.claim(8 * M, 4 * K, wait=10)

        assert syncs.count == before + 2  # the sync, and that of the file that was cut back
        assert not lab.hub.machines["pat"].waits.waits
        with pytest.raises(LogFailed):
            held.result()


async def test_a_batch_of_looks_is_refused_where_a_failed_sync_takes_what_it_had_buffered(
    tmp_path: Path, syncs: Syncs
) -> None:
    async with rig(tmp_path, syncs) as lab:
        mine, other = await open_files(lab, 2)
        with pytest.raises(LogFailed, match="in no log"), lab.hub.batch():  # noqa: PT012
            other.pread_nowait(8, 0)
            hold(lab, ClaimRange(mine.number, 8 * M, 4 * K, None, None))
            syncs.failing = [True]
            lab.hub.report()

        events = [record["event"] for record in read_records(lab.path)]
        assert "request.read" not in events


async def test_a_waiter_is_served_by_a_release_whose_record_is_on_the_disk(
    tmp_path: Path, syncs: Syncs
) -> None:
    async with rig(tmp_path, syncs) as lab:
        mine, other = await open_files(lab, 2)
        await mine.claim(8 * M, 4 * K)
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(other.claim, 8 * M, 4 * K, wait=10))
                while not lab.hub.machines["pat"].waits.waits:
                    await anyio.lowlevel.checkpoint()
                await mine.release(8 * M, 4 * K)

        assert [claim.process.name for claim in lab.hub.claims()] == ["p1"]


async def test_a_cancelled_caller_leaves_the_sync_to_nobody(tmp_path: Path, syncs: Syncs) -> None:
    """Whoever asks first leads the sync, also if it is cancelled meanwhile."""
    async with rig(tmp_path, syncs) as lab:
        files = await open_files(lab, 3)
        answered: list[str] = []

        async def lead(scope: anyio.CancelScope) -> None:
            with scope:
                await files[0].claim(8 * M, 4 * K)

        async def follow(place: int) -> None:
            scopes[0].cancel()
            await files[place].claim((8 + place) * M, 4 * K)
            answered.append(f"p{place}")

        scopes = [anyio.CancelScope()]
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lead, scopes[0])
                tasks.start_soon(follow, 1)
                tasks.start_soon(follow, 2)

        assert sorted(answered) == ["p1", "p2"]
        held = {claim.process.name for claim in lab.hub.claims()}
        logged = {r["process"] for r in read_records(lab.path) if r["event"] == "claim.take"}
        assert held == logged >= {"p1", "p2"}


async def act(file: Handle, step: int, base: int) -> None:
    match step:
        case 0:
            await file.claim(base, 4 * K)
        case 1:
            await file.release(base, 4 * K)
        case 2:
            await file.pwrite(b"%016d" % base, (base % M) + M)
        case 3:
            await file.set_range(base, M, WC)
        case 4:
            await file.remove_range(base, M)
        case 5:
            await file.read(8)
        case 6:
            await file.seek(base)
        case 7:
            await file.claim(base, 4 * K, lease=60)
        case _:
            await file.ranges()


STEPS = st.lists(st.tuples(st.integers(0, 8), st.integers(8, 11)), min_size=1, max_size=6)


@given(rounds=st.lists(STEPS, min_size=1, max_size=6), failing=st.lists(st.booleans(), max_size=8))
def test_the_log_alone_makes_the_machine_however_syncs_fail(
    tmp_path_factory: pytest.TempPathFactory,
    rounds: list[list[tuple[int, int]]],
    failing: list[bool],
) -> None:
    """What was granted is in the log, what failed is not, and the table follows from the log."""
    folder, syncs = tmp_path_factory.mktemp("group"), Syncs()
    granted: Counter[str] = Counter()

    async def one(file: Handle, step: int, base: int) -> None:
        try:
            await act(file, step, base * M)
        except LogFailed:
            return
        except DeviceError:
            pass
        if step != 6:
            granted[file.process.name] += 1

    async def main() -> None:
        async with rig(folder, syncs) as lab:
            files = await open_files(lab, 6)
            syncs.failing = failing
            for steps in rounds:
                async with anyio.create_task_group() as tasks:
                    for file, (step, base) in zip(files, steps, strict=False):
                        tasks.start_soon(one, file, step, base)

            records = list(read_records(lab.path))
            asked = ("request.set", "request.read", "request.write", "request.get", "claim.")
            logged = Counter(
                r["process"]
                for r in records
                if r["event"].startswith(asked) and r.get("cause") != "close"
            )
            live, told = lab.hub.machines["pat"], rebuild(records, ARCHES)["pat"]
            assert live.table is not None
            assert told.table is not None
            assert live.table.state == told.table.state
            assert set(live.claims.claims) == set(told.claims.claims)
            assert logged == granted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fdatasync", syncs)
        anyio.run(main)
