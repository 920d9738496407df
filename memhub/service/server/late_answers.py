"""Answers to requests that a fault rule delays or drops."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from memhub.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import TaskGroup

    from memhub.faults import Delayed
    from memhub.service import wire

    Answer = wire.Message | None


class LateAnswers:
    """What fault rules delay on one connection, which goes on meanwhile.

    Args:
        task_group: where the tasks run.
        send: sends an answer.
        refuse: makes an error an answer.
        on_answered: called when a request is answered.

    Attributes:
        scopes: by request; to cancel one answers the request with ECANCELED.
    """

    def __init__(
        self,
        task_group: TaskGroup,
        send: Callable[[wire.Message], None],
        refuse: Callable[[int, Cancelled], wire.Message],
        on_answered: Callable[[], None],
    ) -> None:
        self._task_group = task_group
        self._send = send
        self._refuse = refuse
        self._on_answered = on_answered
        self.scopes: dict[int, anyio.CancelScope] = {}

    def start_wait(
        self, late: Delayed, message: wire.Message, answer: Callable[[wire.Message], Answer]
    ) -> None:
        """Answer a request when it is due, unless it is cancelled before.

        Args:
            late: why it was not answered.
            message: the request.
            answer: answers it, or begins what will.
        """
        scope = self.scopes[message.request] = anyio.CancelScope()
        self._task_group.start_soon(self._run_wait, scope, late, message, answer)

    async def _run_wait(
        self,
        scope: anyio.CancelScope,
        late: Delayed,
        message: wire.Message,
        answer: Callable[[wire.Message], Answer],
    ) -> None:
        request = message.request
        try:
            with scope:
                await late.wait()
        finally:
            del self.scopes[request]

        if scope.cancelled_caught:
            reply: Answer = self._refuse(request, Cancelled("cancelled before its effect"))
        else:
            with late.passing():
                reply = answer(message)

        if reply is not None:
            self._send(reply)
            self._on_answered()
