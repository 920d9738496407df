"""Waiting: first come first served, bounded, cancellable, and never in a circle."""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest

from memhub.abi import MDF_UNCACHEABLE, MDF_WRITECOMBINE
from memhub.errors import BadHandle, DeviceError, InvalidArgument, TimedOut, WouldDeadlock
from ownership.rig import PAGE, Bench, bench, settle

if TYPE_CHECKING:
    from memhub.handles.handle import Handle


async def _waits(
    handle: Handle, page: int, pages: int = 1, *, log: list[str], wait: float = math.inf
) -> None:
    try:
        await handle.claim(page * PAGE, pages * PAGE, wait=wait)
        log.append(handle.process.name)
    except DeviceError as error:
        log.append(f"{handle.process.name} {error.code.name}")


async def _open(b: Bench, names: str) -> list[Handle]:
    return [await b.open(name) for name in names]


async def test_first_come_first_served() -> None:
    async with bench() as b, anyio.create_task_group() as tasks:
        handles, log = await _open(b, "abcde"), list[str]()
        await handles[0].claim(0, PAGE)
        for handle in handles[1:]:
            tasks.start_soon(partial(_waits, handle, 0, log=log))
            await settle()

        for handle in handles:
            await handle.release(0, PAGE)
            await settle()

        assert log == ["b", "c", "d", "e"]
        for handle in handles:
            handle.close()


async def test_a_small_request_does_not_overtake_a_large_one_that_it_overlaps() -> None:
    async with bench() as b, anyio.create_task_group() as tasks:
        (a, large, small, apart), log = await _open(b, "alsx"), list[str]()
        await a.claim(0, PAGE)
        tasks.start_soon(partial(_waits, large, 0, 4, log=log))
        await settle()
        tasks.start_soon(partial(_waits, small, 3, log=log))
        tasks.start_soon(partial(_waits, apart, 5, log=log))
        await settle()
        assert log == ["x"]

        await a.release(0, PAGE)
        await settle()
        assert log == ["x", "l"]
        await large.release(0, 4 * PAGE)
        await settle()
        assert log == ["x", "l", "s"]
        for handle in (a, large, small, apart):
            handle.close()


@pytest.mark.parametrize("how", ["timeout", "cancel", "close"])
async def test_whoever_stood_behind_a_waiter_that_gives_up_goes_on(how: str) -> None:
    async with bench() as b, anyio.create_task_group() as tasks:
        (a, large, small), log = await _open(b, "als"), list[str]()
        await a.claim(0, PAGE)
        async with anyio.create_task_group() as first:
            first.start_soon(partial(_waits, large, 0, 4, log=log, wait=5))
            await settle()
            tasks.start_soon(partial(_waits, small, 3, log=log))
            await settle()
            if how == "timeout":
                await b.pass_time(5)
            elif how == "cancel":
                first.cancel_scope.cancel()
            else:
                large.close()

            await settle()

        await settle()
        assert "s" in log
        for handle in (a, large, small):
            handle.close()


async def test_the_waiters_of_a_closed_handle_get_ebadf() -> None:
    async with bench() as b, await b.open("a") as a, await b.open("b") as other:
        await a.claim(0, PAGE)
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                with pytest.raises(BadHandle, match="was closed while it waited"):
                    await other.set_range(0, PAGE, MDF_WRITECOMBINE, wait=math.inf)

            tasks.start_soon(wait)
            await settle()
            other.close()

        assert b.events("wait.end")[-1]["cause"] == "close"


async def test_no_wait_at_all_is_a_wait_of_no_seconds() -> None:
    async with bench() as b, await b.open("a") as a, await b.open("b") as other:
        await a.claim(0, PAGE)
        with anyio.fail_after(5), pytest.raises(TimedOut):
            await other.claim(0, PAGE, wait=0)


@pytest.mark.parametrize("wait", [-1, -math.inf, math.nan])
async def test_a_wait_that_is_no_time_to_come_is_einval(wait: float) -> None:
    async with bench() as b, await b.open("a") as a:
        with pytest.raises(InvalidArgument, match="wait"):
            await a.claim(0, PAGE, wait=wait)

        assert b.holders() == []


@pytest.mark.parametrize("size", [2, 3, 5])
async def test_a_circle_of_waits_fails_with_edeadlk(size: int) -> None:
    async with bench() as b, anyio.create_task_group() as tasks:
        handles, log = await _open(b, "abcde"[:size]), list[str]()
        for page, handle in enumerate(handles):
            await handle.claim(page * PAGE, PAGE)

        for page, handle in enumerate(handles[:-1]):
            tasks.start_soon(partial(_waits, handle, page + 1, log=log))
            await settle()

        assert b.hub.report()["machines"][0]["waits_for"] == [
            [h.process.id, after.process.id] for h, after in itertools.pairwise(handles)
        ]
        with pytest.raises(WouldDeadlock, match="would never end: you wait"):
            await handles[-1].claim(0, PAGE, wait=math.inf)

        assert log == []
        handles[-1].close()
        await settle()
        assert log == ["abcde"[size - 2]]
        for handle in handles:
            handle.close()


async def test_a_circle_that_closes_by_a_hand_over_is_broken() -> None:
    """b waits for a, then for c, to whom a's range went: c may not wait for b."""
    async with bench() as b, anyio.create_task_group() as tasks:
        (a, one, two), log = await _open(b, "abc"), list[str]()
        await a.claim(0, PAGE)
        await one.claim(4 * PAGE, PAGE)
        await a.claim(PAGE, PAGE)
        tasks.start_soon(partial(_waits, two, 0, log=log))
        await settle()
        tasks.start_soon(partial(_waits, one, 0, 2, log=log))
        await settle()
        # c gets page 0 by a's release; b waits for c now.
        await a.release(0, PAGE)
        await settle()
        assert log == ["c"]
        with pytest.raises(WouldDeadlock):
            await two.claim(4 * PAGE, PAGE, wait=math.inf)

        for handle in (a, two, one):
            handle.close()

        await settle()


async def test_a_circle_that_a_claim_closes_ends_with_edeadlk() -> None:
    """c waits for b, and takes at once a page that b waits for too: the later wait ends."""
    async with bench() as b, anyio.create_task_group() as tasks:
        (a, one, two), log = await _open(b, "abc"), list[str]()
        await a.claim(0, PAGE)
        await one.claim(4 * PAGE, PAGE)
        tasks.start_soon(partial(_waits, one, 0, 2, log=log))
        await settle()
        tasks.start_soon(partial(_waits, two, 4, log=log))
        await settle()
        await two.claim(PAGE, PAGE)
        await a.release(0, PAGE)
        await settle()
        assert log == ["c EDEADLK"]
        two.close()
        await settle()
        assert log == ["c EDEADLK", "b"]
        for handle in (a, one):
            handle.close()


async def test_a_holder_does_not_stand_behind_those_who_wait_for_it() -> None:
    async with bench() as b, anyio.create_task_group() as tasks:
        (a, other), log = await _open(b, "ab"), list[str]()
        await a.set_range(0, PAGE, MDF_WRITECOMBINE)
        tasks.start_soon(partial(_waits, other, 0, log=log))
        await settle()
        with anyio.fail_after(5):
            await a.set_range(0, PAGE, MDF_UNCACHEABLE, wait=math.inf)

        a.close()
        await settle()
        assert log == ["b"]
        other.close()


async def test_nor_when_that_comes_out_only_while_it_stands_there() -> None:
    """b waits for c's commit at first, and for a only once that is done."""
    async with bench(latency=1) as b, anyio.create_task_group() as tasks:
        (a, other, third), log = await _open(b, "abc"), list[str]()
        await a.claim(0, PAGE)
        tasks.start_soon(third.set_range, 4 * PAGE, PAGE, MDF_WRITECOMBINE)
        await settle()
        # Both want the first free slot.
        tasks.start_soon(partial(other.set_range, 0, PAGE, MDF_UNCACHEABLE, wait=math.inf))
        await settle()
        tasks.start_soon(partial(_waits, a, 0, log=log))
        await settle()
        assert log == []
        await b.pass_time(1)
        assert log == ["a"]
        a.close()
        await settle()
        await b.pass_time(1)
        assert b.table()[1].mr_base == 0
        other.close()
        third.close()


async def test_a_wait_for_a_free_range_claims_nothing() -> None:
    async with bench() as b, await b.open("a") as a, await b.open("b") as other:
        await a.set_range(0, PAGE, MDF_WRITECOMBINE)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other.wait_free, 0, PAGE, 5)
            await settle()
            await a.release(0, PAGE)

        assert b.holders() == []
        await other.wait_free(0, PAGE, 5)


@pytest.mark.parametrize("name", ["removed", "released", "closed", "broken", "expired", "undone"])
async def test_whatever_ends_a_claim_wakes_whoever_waits_for_it(name: str) -> None:
    async with bench() as b, anyio.create_task_group() as tasks:
        a, other, log = await b.open("a", undo=True), await b.open("b"), list[str]()
        lease = 5.0 if name == "expired" else None
        fence = (await a.set_range(0, PAGE, MDF_WRITECOMBINE, lease=lease)).fence
        tasks.start_soon(partial(_waits, other, 0, log=log))
        await settle()
        assert log == []
        if name == "removed":
            await a.remove_range(0, PAGE)
        elif name == "released":
            await a.release(0, PAGE)
        elif name in ("closed", "undone"):
            a.close()
        elif name == "broken":
            b.hub.break_claim("", fence or 0, "why not")
        else:
            await b.pass_time(5)

        await settle()
        assert log == ["b"]
        a.close()
        other.close()
