"""Requests answered later: for a device model, for a fault that delays them, or for the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from memhub.async_shell import await_answer
from memhub.core.memory.physical import NeedsDevice
from memhub.core.requests import Read, Write
from memhub.devices import read_devices, write_devices
from memhub.faults import Delayed
from memhub.group_commit import Undurable, settle_commits
from memhub.pending import Pending

if TYPE_CHECKING:
    from memhub.async_shell import Checkpoint
    from memhub.core.requests import Request
    from memhub.engine import Engine
    from memhub.group_commit import Group, GroupCommit

#: What is raised in place of an answer that comes later.
LATE: Final = (NeedsDevice, Delayed, Undurable)

R = TypeVar("R")


class Submit(Protocol):
    """Answers a request, or raises one of `LATE`."""

    def __call__(self, request: Request[R], /) -> R:
        """Answer a request."""


def find_submit(engine: Engine) -> Submit:
    """What a caller submits with who can await an answer."""
    submit: Submit = engine.submit if engine.commit is None else engine.commit.submit

    return submit


async def finish_late(
    engine: Engine, request: Request[R], late: Delayed | NeedsDevice | Undurable, turn: Checkpoint
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
    if isinstance(late, Undurable):
        try:
            await await_sync(late.commit, late.group)
        finally:
            await turn()

        answer = late.result()
    elif isinstance(late, Delayed):
        try:
            await late.wait()
        finally:
            await turn()

        try:
            with late.passing():
                answer = engine.submit(request)
        except NeedsDevice:
            answer = await move_bytes(engine, request)
        else:
            if isinstance(answer, Pending):
                answer = await await_answer(engine, answer, turn)
    else:
        answer = await move_bytes(engine, request, late)

    reply: R = answer

    return reply


async def await_sync(commit: GroupCommit, group: Group) -> None:
    """Wait until a group has been synced; who asks first has it done, also if it is cancelled.

    All that other tasks write before it is their turn again shares the sync.

    Args:
        commit: who syncs.
        group: what is waited for; `Group.check` tells whether it worked.
    """
    if group.led:
        ended = anyio.Event()
        group.wake.append(ended.set)
        if not group.done:
            await ended.wait()

        return

    group.led = True
    try:
        await checkpoint()
    finally:
        if not group.done:
            settle_commits(commit)


async def move_bytes(
    engine: Engine,
    request: Request[Any],
    late: NeedsDevice | None = None,
) -> Any:  # noqa: ANN401 - its reply
    """Answer a transfer that reaches a device model; errors are those of the handle's method.

    Args:
        engine: who answers.
        request: the transfer.
        late: why it was not answered at once, with the fault that it is to have.
    """
    if late is not None and late.note is not None:
        late.note()
        request = late.instead or request

    if isinstance(request, Read):
        data = await read_devices(engine, request.handle, request.length, request.offset)
        return data if late is None or late.change is None else late.change(data)

    assert isinstance(request, Write)

    return await write_devices(engine, request.handle, request.data, request.offset)
