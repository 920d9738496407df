"""Answers to requests that a fault rule delays or drops."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol

import anyio

from memhub.errors import Cancelled, NeverAnswered, TimedOut
from memhub.escape import escape_controls

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    from memhub.errors import DeviceError
    from memhub.faults.hub_rules import Delayed
    from memhub.service import wire

    Answer = Callable[[wire.Message], wire.Message | None]

log: Final = logging.getLogger("memhub.service")


def refuse_unanswered(never: NeverAnswered) -> TimedOut:
    """The answer to a request that a fault rule has left without one for too long.

    Standard error has it too: what asked may take ETIMEDOUT for an answer of the machine.
    """
    log.warning("%s", escape_controls(str(never)))

    return TimedOut(str(never))


class Answering(Protocol):
    """How a connection answers."""

    def error_reply(self, request: int, error: DeviceError) -> wire.Error:
        """An error as the answer to a request."""

    def send_reply(self, reply: wire.Message) -> None:
        """Send an answer."""


class LateAnswers:
    """What fault rules delay on one connection, which goes on meanwhile.

    Args:
        task_group: where the tasks run.
        on_answered: called when a request is answered.

    Attributes:
        scopes: by request; to cancel one answers the request with ECANCELED.
    """

    def __init__(self, task_group: TaskGroup, on_answered: Callable[[], None]) -> None:
        self._task_group = task_group
        self._on_answered = on_answered
        self.scopes: dict[int, anyio.CancelScope] = {}

    def start_wait(
        self, tasks: Answering, late: Delayed, message: wire.Message, answer: Answer
    ) -> wire.Message | None:
        """Answer a request when it is due, unless it is cancelled before.

        Args:
            tasks: the requests of the connection; not kept, as they keep this.
            late: why it was not answered.
            message: the request.
            answer: answers it, or begins what will.

        Returns:
            None: the answer comes later.
        """
        self.scopes[message.request] = anyio.CancelScope()
        self._task_group.start_soon(self._run_wait, tasks, late, message, answer)

        return None

    async def _run_wait(
        self, tasks: Answering, late: Delayed, message: wire.Message, answer: Answer
    ) -> None:
        request = message.request
        scope = self.scopes[request]
        error: DeviceError | None = None
        try:
            with scope:
                await late.wait()
        except NeverAnswered as never:
            error = refuse_unanswered(never)
        finally:
            del self.scopes[request]

        if scope.cancelled_caught:
            error = Cancelled("cancelled before its effect")

        reply: wire.Message | None
        if error is not None:
            reply = tasks.error_reply(request, error)
        else:
            with late.passing():
                reply = answer(message)

        if reply is not None:
            tasks.send_reply(reply)
            self._on_answered()
