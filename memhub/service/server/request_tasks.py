"""The requests of one connection whose answers take time: waits, commits, devices, streams, events.

Each runs as a task of its connection and ends with it. A request that is cancelled before its
effect changes nothing and is answered with ECANCELED; one that has taken effect is answered as if
it had not been cancelled.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
import orjson

from memhub.async_shell import await_answer
from memhub.errors import Cancelled, DeviceError, NeverAnswered, NotSupported
from memhub.service import wire
from memhub.service.server.forwarding import Forwarder
from memhub.service.server.forwarding import event_of as event_of
from memhub.service.server.late_answers import LateAnswers, refuse_unanswered
from memhub.service.server.mapping import map_memory
from memhub.service.server.reading import read_in_pieces
from memhub.service.server.stream import WriteStream, finish_write, write_piece
from memhub.service.server.turns import Turns, run_slice
from memhub.service.wire.protocol import CLOSED
from memhub.service.wire.wide import widen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from anyio.abc import TaskGroup

    from memhub.engine import Engine
    from memhub.errors import LogFailed
    from memhub.handle import Handle
    from memhub.pending import Pending
    from memhub.service.link import Link
    from memhub.service.server.rights import Peer
    from memhub.service.settings import Limits

    Answer = wire.Message | None
    Work = Callable[[], Awaitable[Answer]]

#: Replies that show something and change nothing.
_READ_REPLIES: Final = (wire.IoctlDone, wire.Data, wire.Error)
#: Bytes of a text that are sent at once.
_TEXT_PIECE: Final = 1 << 16

R = TypeVar("R")


class RequestTasks:
    """What one connection has begun and not answered.

    Args:
        engine: the hub's synchronous half.
        link: the client.
        protocol: the service's side of the protocol.
        task_group: where the tasks run.
        limits: what the client may use.
        on_answered: called when a request that took time is answered.
        turns: the turns of the service's long work.

    Attributes:
        waiting: the requests that wait for a range or for their commit.
        late: the requests that fault rules delay.
        reporting: the reports that are being made.
        events: the subscriptions.
    """

    def __init__(
        self,
        engine: Engine,
        link: Link,
        protocol: wire.ServerProtocol,
        task_group: TaskGroup,
        limits: Limits,
        on_answered: Callable[[], None],
        turns: Turns | None = None,
    ) -> None:
        self.waiting: set[int] = set()
        self.reporting: set[int] = set()
        self.streams: dict[int, WriteStream] = {}
        self.max_body = protocol.limits.max_body
        self.features = protocol.features

        #: Bytes of memory that answers to the present receive may still bring; below 0, later.
        self.turn_room = 0
        self._engine = engine
        self._link = link
        self._protocol = protocol
        self._task_group = task_group
        self._held_max = limits.queued_bytes
        self._queue_high = limits.queued_bytes // 2
        self._scopes: dict[int, anyio.CancelScope] = {}
        self._turns = turns or Turns()
        self.events = Forwarder(
            link, self._send_event, self._turns, self._queue_high, task_group.start_soon
        )

        #: Bytes moved by transfers that have not ended, where it is not 0.
        self.moved: dict[int, int] = {}
        self._on_answered = on_answered
        self.late = LateAnswers(task_group, on_answered)
        self._bulk_lock = anyio.Lock(fast_acquire=True)

    def send_reply(self, reply: wire.Message) -> None:
        """Send one answer, piece or event, unless the connection has ended."""
        if self._protocol.state != CLOSED:
            self._link.send(self._protocol.send(reply))

    def cancel_request(self, request: int) -> Answer:
        """Cancel a request that has begun."""
        scope = self._scopes.get(request) or self.late.scopes.get(request)
        if scope is not None:
            scope.cancel()
            return None

        stream = self.streams.pop(request, None)
        if stream is None:
            return None

        return self.error_reply(
            request, Cancelled("cancelled before all of it was written", moved=stream.moved)
        )

    def cancel_all(self) -> None:
        """Cancel each request that has begun."""
        for request in (*self._scopes, *self.late.scopes, *self.streams):
            reply = self.cancel_request(request)
            if reply is not None:
                self.send_reply(reply)

    def error_reply(self, request: int, error: DeviceError) -> wire.Error:
        """An error as the answer to a request.

        Its traceback ends here: it holds the frames that hold the error, and only a collection of
        garbage, during which all clients wait, would end that.
        """
        error.__traceback__ = None

        return wire.error_to_wire(request, error, self.max_body, strings=self.wants_strings)

    @property
    def wants_strings(self) -> bool:
        """Whether 64-bit numbers of JSON bodies are strings."""
        return bool(self.features & wire.FEATURE_STRINGS)

    def to_json(self, value: Any) -> bytes:  # noqa: ANN401 - whatever JSON can hold
        """A JSON body, as the client wants its 64-bit numbers."""
        return orjson.dumps(widen(value) if self.wants_strings else value)

    def replace_unlogged(self, reply: wire.Message, error: LogFailed) -> wire.Message:
        """The answer in place of one whose record may be lost.

        A reply that only shows something becomes an error. A change that was made stands, and so
        does its reply.
        """
        if isinstance(reply, _READ_REPLIES) and not (
            isinstance(reply, wire.IoctlDone) and not reply.op
        ):
            return self.error_reply(reply.request, error)

        return reply

    def start_task(self, request: int, work: Work, among: set[int] | None = None) -> Answer:
        """Start the work of a request, whose result is its answer."""
        if among is not None:
            among.add(request)

        scope = anyio.CancelScope()
        self._scopes[request] = scope
        self._task_group.start_soon(self._run_task, request, scope, work)

        return None

    async def _run_task(self, request: int, scope: anyio.CancelScope, work: Work) -> None:
        reply: Answer = None
        try:
            with scope:
                reply = await work()
        except DeviceError as error:
            reply = self.error_reply(request, error)
        except NeverAnswered as never:
            reply = self.error_reply(request, refuse_unanswered(never))
        finally:
            del self._scopes[request]
            self.waiting.discard(request)
            self.reporting.discard(request)
            moved = self.moved.pop(request, 0)

        if scope.cancelled_caught:
            when = f"after {moved} bytes" if moved else "before its effect"
            reply = self.error_reply(request, Cancelled(f"cancelled {when}", moved=moved))

        if reply is not None:
            self.send_reply(reply)

        self._on_answered()

    # Ranges and claims

    def await_answer(
        self, request: int, pending: Pending[R], reply: Callable[[R], wire.Message]
    ) -> Answer:
        """A request that waits, or whose commit takes time; `reply` makes the answer."""

        async def work() -> wire.Message:
            return reply(await await_answer(self._engine, pending))

        return self.start_task(request, work, self.waiting)

    def start_break(self, request: int, steps: Iterator[int]) -> Answer:
        """End claims of others, one in each step, which gives how many have ended."""

        async def work() -> wire.Message:
            ended = [0]

            def each() -> Iterator[None]:
                for ended[0] in steps:
                    yield

            with anyio.CancelScope(shield=True):
                await self._turns.work_off(each())

            return wire.Done(request, ended[0])

        return self.start_task(request, work)

    # Memory

    def start_read(
        self, it: wire.Read | wire.Pread, handle: Handle, count: int, offset: int | None
    ) -> Answer:
        """Start a read that is long, or goes to a client that reads slowly."""
        work = partial(read_in_pieces, self, self._engine, it.request, handle, count, offset)

        return self.start_task(it.request, work)

    def start_partial(self, request: int, error: DeviceError) -> Answer:
        """Send what a read moved before its error, and then the error."""

        async def work() -> Answer:
            self.send_reply(wire.Data(request, False, error.arrived))
            raise error

        return self.start_task(request, work)

    @asynccontextmanager
    async def bulk_turn(self) -> AsyncIterator[None]:
        """One piece of a long answer: when the client has read most of what was sent."""
        async with self._bulk_lock:
            await self._link.room(self._queue_high)
            yield

    @property
    def room_to_keep(self) -> int:
        """Bytes of streamed writes that can still be kept."""
        return self._held_max - sum(it.held_total for it in self.streams.values())

    def take_piece(self, request: int, stream: WriteStream, data: bytes, *, last: bool) -> Answer:
        """Take a piece of a streamed write.

        Returns:
            the answer, after the last piece or an error.
        """
        try:
            if write_piece(stream, self._engine, data, self.room_to_keep) and not last:
                return None
        except DeviceError as error:
            error.moved += stream.moved
            del self.streams[request]

            return self.error_reply(request, error)

        del self.streams[request]
        if stream.held is not None:
            self.moved[request] = stream.moved
            return self.start_task(request, partial(finish_write, self._engine, request, stream))

        return wire.Done(request, stream.moved)

    def send_map(self, it: wire.Map, handle: Handle, peer: Peer) -> Answer:
        """Send a machine's memory as a descriptor, in one message with the answer.

        Raises:
            NotSupported: EOPNOTSUPP; MAP_ROM without its feature, or see `map_memory`.
        """
        if it.rights == wire.MAP_ROM and not self.features & wire.FEATURE_MAP_ROM:
            raise NotSupported("MAP has rights 4, and the client did not ask for MAP_ROM")

        reply, fd = map_memory(self._engine, handle, peer, it)
        try:
            frames = self._protocol.send(reply)
        except BaseException:
            os.close(fd)
            raise

        self._link.send(frames, fd)

        return None

    # Text and events

    def send_text(self, it: wire.Message, data: bytes) -> Answer:
        """Send a JSON text as the answer, all pieces but the last, which is returned."""
        *pieces, last = wire.pieces(it.request, data, self.max_body)
        for piece in pieces:
            self.send_reply(piece)

        return last

    def start_report(self, request: int, text: Iterator[bytes]) -> Answer:
        """Send a long text as it is made; `text` gives a little of it in each step."""
        return self.start_task(request, partial(self.send_report, request, text), self.reporting)

    async def send_report(self, request: int, text: Iterator[bytes]) -> Answer:
        """Send a long answer as it is made; the answer is its last piece."""
        made, most = bytearray(), min(_TEXT_PIECE, self.max_body - 64)
        keep = map(made.extend, text)
        async with self._bulk_lock:
            going = True
            while going:
                await self._link.room(self._queue_high)
                async with self._turns.lock:
                    going = run_slice(keep)

                while len(made) > most:
                    self.send_reply(wire.Data(request, False, bytes(made[:most])))
                    del made[:most]

        return wire.Data(request, True, bytes(made))

    def _send_event(self, number: int, missed: int, record: dict[str, Any]) -> None:
        self.send_reply(event_of(number, missed, record, self.to_json(record), self.max_body))
