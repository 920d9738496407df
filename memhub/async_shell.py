"""What the asynchronous faces share: how they wait for an answer, and why a block closes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import anyio
from anyio.lowlevel import checkpoint, current_token

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from memhub.engine import Engine
    from memhub.pending import Pending

    #: What a method awaits before it does its work.
    Checkpoint = Callable[[], Awaitable[None]]

R = TypeVar("R")


def find_checkpoint() -> Checkpoint:
    """The checkpoint of the event loop that runs here.

    anyio looks for the running event loop at each checkpoint, which takes a sixth of an 8-byte
    read; a hub stays in one.
    """
    backend = getattr(current_token(), "backend_class", None)

    return checkpoint if backend is None else backend.checkpoint


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
