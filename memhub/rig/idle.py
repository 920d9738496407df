"""Wait until every other task of the event loop waits."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import anyio
from anyio.lowlevel import checkpoint, current_token

#: Name of the tasks that wait for all others. They do not wait for each other.
PUMP: Final = "memhub.rig: waits for the others"

#: Rounds of the loop in which nobody may run. A callback may set a task going one round later.
_QUIET_ROUNDS: Final = 2


async def wait_for_others() -> None:
    """Return once every other task waits, at a cost of a few rounds of the event loop.

    Call it in a task named `PUMP`. A task that waits for input, a thread or the event loop's own
    timer waits, too.
    """
    if not isinstance(current_token().native_token, asyncio.AbstractEventLoop):
        await anyio.wait_all_tasks_blocked()
        return

    # anyio's own function sleeps for 100 ms between two looks.
    quiet = 0
    while quiet < _QUIET_ROUNDS:
        await checkpoint()
        quiet = 0 if any(map(_can_run, asyncio.all_tasks())) else quiet + 1


def _can_run(task: asyncio.Task[Any]) -> bool:
    if task.get_name() == PUMP:
        return False

    waiter = getattr(task, "_fut_waiter", None)

    return waiter is None or waiter.done()
