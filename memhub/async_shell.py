"""What the asynchronous faces share: how they wait for an answer, and why a block closes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import anyio

if TYPE_CHECKING:
    from memhub.engine import Engine
    from memhub.pending import Pending

R = TypeVar("R")


async def await_answer(engine: Engine, pending: Pending[R]) -> R:
    """Wait for an answer that is still to come; a caller that is cancelled gives it up.

    Raises:
        DeviceError: the request was refused.
    """
    try:
        while not pending.done:
            if pending.due_ns is None:
                event = anyio.Event()
                pending.wake = event.set
                await event.wait()
            else:
                await engine.clock.sleep_until(engine.due_of(pending))
                engine.tick()
    except BaseException:
        engine.abandon(pending)
        raise

    return pending.result()


def close_cause(kind: type[BaseException] | None) -> str:
    """What the log says of a close that an exception, or none, brought about."""
    if kind is None:
        return "close"

    return "cancelled" if not issubclass(kind, Exception) else "error"
