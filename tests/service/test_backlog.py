"""Many who can go on at once: the service serves some in each turn, and all in their order."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from memhub.core.files import Principal
from memhub.core.requests import AwaitFree, ClaimRange, GetRanges, Open, ReleaseRange
from memhub.engine.lifecycle import open_file
from memhub.service.server.turns import work_off_backlog
from ownership.rig import PAGE, Bench, bench

WAITS = 200


def begin(b: Bench) -> tuple[int, list[Any]]:
    """A file that holds a page, and the waits of others for it."""
    engine = b.hub.engine
    holder, other = (
        open_file(engine, Open(Principal(number, f"p{number}"), "/dev/mem")) for number in (1, 2)
    )
    engine.submit(ClaimRange(holder, 0, PAGE, None, None))
    waits = [engine.submit(AwaitFree(other, 0, PAGE, math.inf)) for _ in range(WAITS)]

    return holder, waits


async def test_others_have_turns_while_many_are_served() -> None:
    async with bench() as b, anyio.create_task_group() as tasks:
        tasks.start_soon(work_off_backlog, b.hub.engine)
        await anyio.wait_all_tasks_blocked()
        holder, waits = begin(b)
        b.hub.engine.submit(ReleaseRange(holder, 0, PAGE))
        served = [sum(it.done for it in waits)]
        with anyio.fail_after(5):
            while served[-1] < WAITS:
                b.hub.engine.submit(GetRanges(holder, 0, None))
                await checkpoint()
                served.append(sum(it.done for it in waits))
                assert all(it.done for it in waits[: served[-1]])

        assert max(now - was for was, now in pairwise(served)) <= 48
        tasks.cancel_scope.cancel()


async def test_the_rest_is_served_when_the_service_ends() -> None:
    async with bench() as b:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work_off_backlog, b.hub.engine)
            await anyio.wait_all_tasks_blocked()
            holder, waits = begin(b)
            b.hub.engine.submit(ReleaseRange(holder, 0, PAGE))
            assert not waits[-1].done
            tasks.cancel_scope.cancel()

        assert all(it.done for it in waits)
        holder, waits = begin(b)
        b.hub.engine.submit(ReleaseRange(holder, 0, PAGE))
        assert all(it.done for it in waits)
