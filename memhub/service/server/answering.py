"""The answers to what one receive brought: those that share a write of the log, or a sync."""

from __future__ import annotations

from functools import partial
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from memhub.errors import BadHandle, DeviceError, LogFailed
from memhub.faults.hub_rules import Delayed
from memhub.handles.late_requests import await_sync
from memhub.service.server.handlers import DRAINING_REQUESTS, HANDLE_REQUESTS, OTHER_REQUESTS
from memhub.service.server.turns import AT_ONCE, SLICE_NS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memhub.engine.group_commit import Group, GroupCommit
    from memhub.hub.hub import Hub
    from memhub.service import wire
    from memhub.service.server.request_tasks import RequestTasks
    from memhub.service.server.session import Session

    Handle = Callable[[wire.Message], wire.Message | None]
    Take = Callable[[wire.Message], object]


class Dispatch:
    """Which function answers which request of one connection."""

    def __init__(self) -> None:
        self._handle_requests, self._other_requests = HANDLE_REQUESTS, OTHER_REQUESTS

    def drain(self) -> None:
        """Refuse new requests from now on."""
        self._handle_requests, self._other_requests = {}, DRAINING_REQUESTS

    def answer(self, session: Session, message: wire.Message) -> wire.Message | None:
        """Answer one request, after a look at its handle and at what the client may do there."""
        asked: Any = message
        kind = type(message)
        try:
            request = self._handle_requests.get(kind)
            if request is None:
                return self._other_requests[kind](session, asked)

            entry = session.entries.get(asked.handle)
            if entry is None:
                raise BadHandle(f"handle {asked.handle} is not open on this connection")

            answer, rights, op = request
            if rights & ~entry.rights:
                session.require_rights(entry, rights, op)

            return answer(session, entry, asked)
        except Delayed as late:
            answer_it = partial(self.answer, session)
            return session.tasks.late.start_wait(session.tasks, late, message, answer_it)
        except DeviceError as error:
            return session.tasks.error_reply(message.request, error)


def answer_each(messages: Sequence[wire.Message], handle: Handle, take: Take) -> int:
    """Answer messages for as long as a slice of time lasts.

    Args:
        messages: the messages.
        handle: answers one.
        take: takes the answers.

    Returns:
        how many were answered.
    """
    end = perf_counter_ns() + SLICE_NS
    for place, message in enumerate(messages, 1):
        reply = handle(message)
        if reply is not None:
            take(reply)

        if place >= AT_ONCE and perf_counter_ns() > end:
            return place

    return len(messages)


def answer_in_batch(
    hub: Hub, tasks: RequestTasks, messages: Sequence[wire.Message], handle: Handle
) -> tuple[list[wire.Message], int]:
    """Answer messages with one write of the log for all that only look.

    Returns:
        the answers, and how many messages were answered.
    """
    replies: list[wire.Message] = []
    done = 0
    try:
        with hub.batch():
            done = answer_each(messages, handle, replies.append)
    except LogFailed as error:
        replies = [tasks.replace_unlogged(reply, error) for reply in replies]

    return replies, done


class HeldAnswers:
    """The answers of one connection that wait for the disk.

    Args:
        commit: who syncs.

    Attributes:
        waiting: whether there are any.
    """

    def __init__(self, commit: GroupCommit) -> None:
        self._commit = commit
        self._held: list[tuple[wire.Message, Group | None]] = []

    @property
    def waiting(self) -> bool:
        """Whether answers are held."""
        return bool(self._held)

    def answer(self, messages: Sequence[wire.Message], handle: Handle) -> int:
        """Answer messages, and hold the answers.

        Returns:
            how many were answered.
        """
        commit = self._commit
        commit.deferring += 1
        try:
            return answer_each(messages, handle, lambda it: self._held.append((it, commit.open)))
        finally:
            commit.deferring -= 1

    async def settle(self) -> None:
        """Wait until the disk has the records of all that is held."""
        group = self._held[-1][1]
        if group is not None:
            await await_sync(self._commit, group)

    def take(self, tasks: RequestTasks) -> list[wire.Message]:
        """The answers, after `settle`; errors in place of those whose records are lost."""
        held, self._held = self._held, []

        return [_final(tasks, *it) for it in held]


def _final(tasks: RequestTasks, reply: wire.Message, group: Group | None) -> wire.Message:
    if group is not None:
        try:
            group.check()
        except LogFailed as error:
            return tasks.error_reply(reply.request, error)

    return reply
