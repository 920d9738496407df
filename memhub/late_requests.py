"""Requests that are answered later: a device model takes part, or a fault delays them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from memhub.async_shell import await_answer
from memhub.core.memory.physical import NeedsDevice
from memhub.core.requests import Read, Write
from memhub.devices import read_devices, write_devices
from memhub.faults import Delayed
from memhub.pending import Pending

if TYPE_CHECKING:
    from memhub.async_shell import Checkpoint
    from memhub.core.requests import Request
    from memhub.engine import Engine

R = TypeVar("R")


async def finish_late(
    engine: Engine, request: Request[R], late: Delayed | NeedsDevice, turn: Checkpoint
) -> R:
    """Answer a request later.

    Args:
        engine: who answers.
        request: what was submitted.
        late: why it was not answered.
        turn: awaited before it goes on after a delay, or gives up.

    Raises:
        DeviceError: the request is refused.
    """
    answer: Any
    if isinstance(late, Delayed):
        try:
            await late.wait()
        finally:
            await turn()

        try:
            with late.passing():
                answer = engine.submit(request)
        except NeedsDevice:
            answer = await _move_bytes(engine, request)
        else:
            if isinstance(answer, Pending):
                answer = await await_answer(engine, answer, turn)
    else:
        answer = await _move_bytes(engine, request)

    reply: R = answer

    return reply


async def _move_bytes(engine: Engine, request: Request[Any]) -> bytes | int:
    if isinstance(request, Read):
        return await read_devices(engine, request.handle, request.length, request.offset)

    assert isinstance(request, Write)

    return await write_devices(engine, request.handle, request.data, request.offset)
