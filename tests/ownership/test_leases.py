"""Leases and fencing numbers: a claim with an end, and a holder that has missed it."""

from __future__ import annotations

import math

import anyio
import pytest

from memhub.abi import MDF_UNCACHEABLE, MDF_WRITECOMBINE
from memhub.core.requests import ClaimRange
from memhub.errors import (
    InvalidArgument,
    NoSuchRange,
    RangeBusy,
    StaleClaim,
    TimedOut,
)
from ownership.rig import PAGE, bench, busy, settle


async def test_a_lease_ends_at_its_instant_and_not_before() -> None:
    async with bench() as b, await b.open("tenant") as tenant:
        claim = await tenant.claim(0, PAGE, lease=10)
        await b.pass_time(9.999999999)
        assert b.holders() == [("tenant", 0, PAGE)]

        await b.pass_time(0.000000001)
        assert b.holders() == []
        (ended,) = b.events("claim.expire")
        assert (ended["fence"], ended["cause"]) == (claim.fence, "expire")


@pytest.mark.parametrize("step", [0.1, 0.2, 0.7, 1 / 3])
async def test_no_rounding_lets_a_lease_slip(step: float) -> None:
    async with bench() as b, await b.open("tenant") as tenant:
        for _ in range(50):
            await tenant.claim(0, PAGE, lease=step)
            await b.pass_time(step)
            assert b.holders() == []


async def test_a_renewed_lease_runs_from_its_renewal() -> None:
    async with bench() as b, await b.open("tenant") as tenant:
        fence = (await tenant.claim(0, PAGE, lease=10)).fence
        await b.pass_time(8)
        await tenant.renew(fence, 10)
        await b.pass_time(8)
        assert b.holders() == [("tenant", 0, PAGE)]

        await tenant.renew(fence, None)
        await b.pass_time(1e6)
        assert b.holders() == [("tenant", 0, PAGE)]


async def test_a_lease_of_an_update_ends_the_claim_and_not_the_range() -> None:
    async with bench() as b, await b.open("tenant") as tenant, await b.open("next") as after:
        await tenant.set_range(0, PAGE, MDF_WRITECOMBINE, lease=5)
        assert await busy(after) == [0]

        await b.pass_time(5)
        assert await busy(after) == []
        assert b.table()[0].mr_len == PAGE
        await after.set_range(0, PAGE, MDF_UNCACHEABLE)


async def test_a_stale_fence_is_refused_by_every_use_of_it() -> None:
    async with bench() as b, await b.open("tenant") as tenant, await b.open("next") as after:
        old = (await tenant.claim(0, PAGE, lease=5)).fence
        await b.pass_time(5)
        new = (await after.claim(0, PAGE)).fence
        assert new > old

        for _ in range(2):
            with pytest.raises(StaleClaim, match="its lease ran out"):
                await tenant.renew(old, 5)

            with pytest.raises(StaleClaim, match="its lease ran out"):
                await tenant.set_range(8 * PAGE, PAGE, MDF_WRITECOMBINE, fence=old)

        assert b.holders() == [("next", 0, PAGE)]


async def test_anothers_fence_is_refused() -> None:
    async with bench() as b, await b.open("one") as one, await b.open("two") as two:
        fence = (await one.claim(0, PAGE)).fence
        with pytest.raises(StaleClaim, match="is not held by two"):
            await two.renew(fence, 1)

        await two.set_range(8 * PAGE, PAGE, MDF_WRITECOMBINE)
        with pytest.raises(StaleClaim, match="is not held by two"):
            await two.remove_range(8 * PAGE, PAGE, fence=fence)


async def test_the_fencing_number_rises_with_every_change_of_owner() -> None:
    async with bench() as b, await b.open("one") as one, await b.open("two") as two:
        fences = []
        for turn in range(6):
            handle = (one, two)[turn % 2]
            fences.append((await handle.set_range(0, PAGE, MDF_WRITECOMBINE)).fence or 0)
            await handle.release(0, PAGE)

        assert fences == sorted(set(fences))


async def test_the_victim_of_a_break_is_told_once_and_clearly() -> None:
    async with bench() as b, await b.open("victim") as victim:
        fence = (await victim.set_range(0, PAGE, MDF_WRITECOMBINE)).fence
        assert fence is not None
        b.hub.break_claim("", fence, "the rig needs the card")
        (broken,) = b.events("claim.break")
        assert broken["reason"] == "the rig needs the card"

        with pytest.raises(StaleClaim, match="the rig needs the card") as told:
            await victim.set_range(0, PAGE, MDF_UNCACHEABLE)
        assert told.value.obstacles[0].kind == "broken"
        assert b.events("request.set")[-1]["errno"] == "EBUSY"

        await victim.set_range(0, PAGE, MDF_UNCACHEABLE)
        assert b.holders() == [("victim", 0, PAGE)]


async def test_a_lost_claim_says_nothing_of_other_bytes() -> None:
    async with bench() as b, await b.open("victim") as victim:
        fence = (await victim.claim(0, PAGE)).fence
        b.hub.break_claim("", fence, "why not")
        await victim.set_range(PAGE, PAGE, MDF_WRITECOMBINE)


async def test_claiming_anew_settles_a_loss() -> None:
    async with bench() as b, await b.open("victim") as victim:
        fence = (await victim.claim(0, PAGE)).fence
        b.hub.break_claim("", fence, "why not")
        again = await victim.claim(0, PAGE)
        assert again.fence > fence
        await victim.set_range(0, PAGE, MDF_WRITECOMBINE)


async def test_a_loss_is_told_although_the_caller_would_wait() -> None:
    """Waiting cannot bring a claim back, so nobody is left waiting for that."""
    async with bench() as b, await b.open("victim") as victim:
        fence = (await victim.claim(0, PAGE)).fence
        b.hub.break_claim("", fence, "why not")
        with anyio.fail_after(5):
            with pytest.raises(StaleClaim):
                await victim.set_range(0, PAGE, MDF_WRITECOMBINE, fence=fence, wait=math.inf)

            with pytest.raises(StaleClaim):
                await victim.set_range(0, PAGE, MDF_WRITECOMBINE, wait=math.inf)

        await victim.set_range(0, PAGE, MDF_WRITECOMBINE, wait=math.inf)


async def test_a_claim_broken_during_a_commit_stops_it() -> None:
    async with bench(latency=1) as b, await b.open("victim") as victim:
        async with anyio.create_task_group() as tasks:

            async def change() -> None:
                with pytest.raises(StaleClaim, match="broken"):
                    await victim.set_range(0, PAGE, MDF_WRITECOMBINE)

            fence = (await victim.claim(0, PAGE)).fence
            tasks.start_soon(change)
            await settle()
            b.hub.break_claim("", fence, "why not")
            await b.pass_time(1)

        assert b.table()[0].mr_len == 0
        b.check()


async def test_breaking_what_is_not_there_is_enoent() -> None:
    async with bench() as b:
        with pytest.raises(NoSuchRange, match="no claim 7"):
            b.hub.break_claim("", 7, "why not")


@pytest.mark.parametrize("lease", [0, -1, math.inf, math.nan])
async def test_a_lease_that_is_no_time_to_come_is_einval_and_changes_nothing(lease: float) -> None:
    async with bench() as b, await b.open("tenant") as tenant:
        for attempt in (
            tenant.claim(0, PAGE, lease=lease),
            tenant.set_range(0, PAGE, MDF_WRITECOMBINE, lease=lease),
            tenant.set_range(0, PAGE, MDF_WRITECOMBINE, lease=lease, wait=1),
        ):
            with pytest.raises(InvalidArgument, match="lease"):
                await attempt

        assert b.holders() == []
        assert b.table()[0].mr_len == 0
        assert [r["errno"] for r in b.events("claim.take", "request.set")] == ["EINVAL"] * 3


async def test_a_lease_taken_after_a_wait_ends_by_itself_too() -> None:
    async with bench() as b, await b.open("one") as one, await b.open("two") as two:
        async with anyio.create_task_group() as tasks:
            await one.claim(0, PAGE)

            async def wait() -> None:
                await two.claim(0, PAGE, lease=5, wait=math.inf)

            tasks.start_soon(wait)
            await settle()
            await one.release(0, PAGE)
            await settle()

        assert b.holders() == [("two", 0, PAGE)]
        await b.pass_time(5)
        assert b.holders() == []


async def test_who_waits_for_a_lease_gets_the_range_when_it_ends() -> None:
    async with bench() as b, await b.open("tenant") as tenant, await b.open("next") as after:
        async with anyio.create_task_group() as tasks:
            await tenant.set_range(0, PAGE, MDF_WRITECOMBINE, lease=5)

            async def wait() -> None:
                await after.set_range(0, PAGE, MDF_UNCACHEABLE, wait=6)

            tasks.start_soon(wait)
            await settle()
            await b.pass_time(5)

        assert b.holders() == [("next", 0, PAGE)]


async def test_a_request_meets_no_lease_that_ran_out_while_nobody_looked() -> None:
    async with bench() as b, await b.open("tenant") as tenant, await b.open("next") as after:
        await tenant.claim(0, PAGE, lease=5)
        b.clock.advance(5)
        # Without a checkpoint: the timer has had no turn.
        b.hub.engine.submit(ClaimRange(after.number, 0, PAGE))
        assert b.holders() == [("next", 0, PAGE)]


async def test_a_wait_that_outlasts_its_limit_is_etimedout_and_says_why() -> None:
    async with bench() as b, await b.open("one") as one, await b.open("two") as two:
        await one.claim(0, PAGE)
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                with pytest.raises(TimedOut, match="claimed by one") as late:
                    await two.claim(0, PAGE, wait=3)
                assert late.value.obstacles[0].process == "one"

            tasks.start_soon(wait)
            await settle()
            await b.pass_time(2.5)
            assert len(b.machine.waits) == 1
            await b.pass_time(0.5)

        with pytest.raises(RangeBusy):
            await two.claim(0, PAGE)


async def test_losses_are_told_in_the_order_in_which_they_happened() -> None:
    async with bench() as b, await b.open("tenant") as tenant:
        first = await tenant.claim(0, PAGE)
        second = await tenant.claim(0, 2 * PAGE)
        for fence, reason in ((second.fence, "first of all"), (first.fence, "then this")):
            b.hub.break_claim(tenant.machine.name, fence, reason)

        for reason in ("first of all", "then this"):
            with pytest.raises(StaleClaim, match=reason):
                await tenant.set_range(0, PAGE, MDF_UNCACHEABLE)

        await tenant.set_range(0, PAGE, MDF_UNCACHEABLE)
