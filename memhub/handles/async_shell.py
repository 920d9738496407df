"""What the asynchronous faces share: how they wait for an answer, and why a block closes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

import anyio
from anyio.lowlevel import checkpoint, current_token

from memhub.core.instant import NEVER
from memhub.engine.pending import say_limit
from memhub.errors import NeverAnswered

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from memhub.engine.engine import Engine
    from memhub.engine.pending import Pending

    #: What a method awaits before it does its work.
    Checkpoint = Callable[[], Awaitable[None]]

    #: What a process awaits before its requests; and before it goes on after a wait, or closes.
    OwnTurns = tuple[Checkpoint, Checkpoint]

R = TypeVar("R")


class Turns(Protocol):
    """Who decides which process goes on, so that a run can be repeated: a rig's scheduler."""

    async def take_turn(self, process: int) -> None:
        """Wait for the turn of a process, before it makes a request."""

    async def take_last_turn(self, process: int) -> None:
        """Wait for its turn, also if it is cancelled: after a wait, and before a close."""


def find_checkpoint() -> Checkpoint:
    """The checkpoint of the event loop that runs here.

    anyio looks for the running event loop at each checkpoint, which takes a sixth of an 8-byte
    read; a hub stays in one.
    """
    backend = getattr(current_token(), "backend_class", None)

    return checkpoint if backend is None else backend.checkpoint


async def go_on() -> None:
    """Stand for a turn where none is waited for; other tasks do not run in it."""


async def await_answer(engine: Engine, pending: Pending[R], turn: Checkpoint = go_on) -> R:
    """Wait for an answer that is still to come; a caller that is cancelled gives it up.

    Args:
        engine: who answers.
        pending: the answer.
        turn: awaited before the caller goes on, or gives up.

    Raises:
        DeviceError: the request was refused.
        NeverAnswered: its commit hangs by a fault rule, and the limit is over.
    """
    try:
        while not pending.done:
            if pending.due_ns is None:
                event = anyio.Event()
                pending.wake = event.set
                limit = engine.deadlines.answer_limit if pending.hangs else None
                with anyio.move_on_after(limit) as scope:
                    await event.wait()

                if scope.cancelled_caught and limit is not None:
                    raise NeverAnswered(say_limit(pending.say_hang(), limit))
            else:
                await engine.clock.sleep_until(engine.deadlines.due_of(pending.due_ns))
                engine.tick()
    except BaseException:
        await turn()
        engine.abandon(pending)
        raise

    await turn()

    return pending.result()


async def meet_deadlines(engine: Engine) -> None:
    """End leases, waits and commits when they are due, until cancelled."""
    deadlines, clock = engine.deadlines, engine.clock
    before = deadlines.on_change
    try:
        while True:
            with anyio.CancelScope() as nap:
                deadlines.on_change = nap.cancel
                due = deadlines.wake_at
                if due == NEVER:
                    await anyio.sleep_forever()
                else:
                    await clock.sleep_until(due)

            engine.tick()
    finally:
        deadlines.on_change = before  # what ends later does so outside this event loop


def close_cause(kind: type[BaseException] | None) -> str:
    """What the log says of a close that an exception, or none, brought about."""
    if kind is None:
        return "close"

    return "cancelled" if not issubclass(kind, Exception) else "error"
