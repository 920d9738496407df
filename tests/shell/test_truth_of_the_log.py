"""What a record says is true, complete and said once."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import anyio
import pytest

from memhub.abi import MDF_UNCACHEABLE, MDF_WRITECOMBINE
from memhub.audit import read_records, summary
from memhub.clock import ManualClock
from memhub.engine.lifecycle import break_claim
from memhub.errors import RangeBusy, StaleClaim, TimedOut
from shell.kit import PAT, lab

if TYPE_CHECKING:
    from pathlib import Path

    from memhub import Handle

PAGE = 0x1000
SECOND = 1_000_000_000


async def _wait_in_vain(handle: Handle, wait: float) -> None:
    with pytest.raises(TimedOut):
        await handle.set_range(0, PAGE, MDF_UNCACHEABLE, wait=wait)


async def test_a_lease_is_in_the_record_of_whatever_took_or_renewed_the_claim(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path, PAT) as rig, await rig.hub.open("/dev/mem") as handle:
        rig.news()
        outcome = await handle.set_range(0, PAGE, MDF_WRITECOMBINE, lease=5)
        await handle.claim(8 * PAGE, PAGE, lease=2.5)
        await handle.claim(9 * PAGE, PAGE)
        assert outcome.fence is not None
        await handle.renew(outcome.fence, 7)
        ends = [
            None if r["expires_ns"] is None else r["expires_ns"] - r["wall_ns"] for r in rig.news()
        ]

    assert ends == [5 * SECOND, 5 * SECOND // 2, None, 7 * SECOND]


async def test_a_break_says_who_broke_the_claim_and_the_holder_is_told(tmp_path: Path) -> None:
    from memhub.core.requests import BreakClaim

    async with lab(tmp_path, PAT) as rig, await rig.hub.open("/dev/mem") as handle:
        claim = await handle.claim(0, PAGE)
        root = rig.hub.process("root").principal
        rig.news()
        break_claim(rig.hub.engine, BreakClaim("pat", claim.fence, "it is needed", root))
        (broken,) = rig.news()
        with pytest.raises(StaleClaim) as told:
            await handle.set_range(0, PAGE, MDF_WRITECOMBINE)

        (refused,) = rig.news()

    assert (broken["holder"], broken["holder_id"]) == ("root", root.id)
    assert told.value.obstacles[0].process == "root"
    assert (refused["holder"], refused["claim"]) == ("root", claim.fence)


async def test_a_stale_fence_does_not_name_the_caller_as_holder(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as rig, await rig.hub.process("me").open("/dev/mem") as handle:
        rig.news()
        with pytest.raises(StaleClaim):
            await handle.release(0, PAGE, fence=99)

        with pytest.raises(StaleClaim):
            await handle.set_range(0, PAGE, MDF_WRITECOMBINE, fence=99)

        records = rig.news()

    assert [record["errno"] for record in records] == ["EBUSY", "EBUSY"]
    assert [record.get("holder") for record in records] == [None, None]


async def test_a_wait_names_whom_it_waited_for_and_how_long_exactly(tmp_path: Path) -> None:
    clock = ManualClock(wall_ns=10**18, mono_ns=7)
    async with lab(tmp_path, PAT, clock=clock) as rig:
        holder = await rig.hub.process("holder").open("/dev/mem")
        waiter = await rig.hub.process("waiter").open("/dev/mem")
        await holder.claim(0, PAGE)
        rig.news()
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_wait_in_vain, waiter, 0.3)
                await anyio.wait_all_tasks_blocked()
                clock.advance(0.3)

        begin, end, refused = rig.news()
        holder.close()
        waiter.close()

    assert (begin["event"], end["event"]) == ("wait.begin", "wait.end")
    assert begin["wait"] == end["wait"]
    assert begin["holder"] == end["holder"] == "holder"
    assert (end["cause"], end["duration_ns"]) == ("timeout", 3 * SECOND // 10)
    assert refused["duration_ns"] == 3 * SECOND // 10
    assert begin["expires_ns"] == begin["wall_ns"] + 3 * SECOND // 10


async def test_a_wait_that_timed_out_is_one_refusal(tmp_path: Path) -> None:
    clock = ManualClock()
    async with lab(tmp_path, PAT, clock=clock) as rig:
        holder = await rig.hub.process("holder").open("/dev/mem")
        waiter = await rig.hub.process("waiter").open("/dev/mem")
        await holder.claim(0, PAGE)
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_wait_in_vain, waiter, 1)
                await anyio.wait_all_tasks_blocked()
                clock.advance(1)

        holder.close()
        waiter.close()

    counted = summary(rig.path)
    assert counted.refused == 1
    assert counted.errors == {"ETIMEDOUT": 1}


async def test_what_ends_with_a_close_carries_its_cause_and_its_moment(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as rig:
        process = rig.hub.process("killed")
        handle = await process.open("/dev/mem", undo=True)
        await handle.set_range(0, PAGE, MDF_WRITECOMBINE)
        await handle.claim(8 * PAGE, PAGE)
        rig.news()
        process.close("disconnect")
        records = rig.news()

    assert [r["event"] for r in records] == ["undo", "claim.release", "request.close"]
    assert [r["cause"] for r in records] == ["undo", "disconnect", "disconnect"]
    assert len({(r["wall_ns"], r["mono_ns"]) for r in records}) == 1


async def test_an_open_says_undo_and_data_model_and_a_write_what_it_wrote(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as rig:
        rig.news()
        async with await rig.hub.open("/dev/mem", "r+", undo=True) as handle:
            await handle.pwrite(b"some bytes", 0x100000)
            opened, written = rig.news()

    assert (opened["undo"], opened["model"], opened["flags"]) == (True, "LP64", 2)
    assert written["digest"] == sha256(b"some bytes").hexdigest()


async def test_a_refused_request_of_another_names_its_holder_once(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as rig:
        one = await rig.hub.process("one").open("/dev/mem")
        two = await rig.hub.process("two").open("/dev/mem")
        await one.set_range(0, PAGE, MDF_WRITECOMBINE)
        with pytest.raises(RangeBusy):
            await two.set_range(0, PAGE, MDF_UNCACHEABLE)

        one.close()
        two.close()

    refused = [r for r in read_records(rig.path) if r.get("errno")]
    assert [(r["event"], r["holder"]) for r in refused] == [("request.set", "one")]
