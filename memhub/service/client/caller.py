"""Requests in flight over one connection, and who waits for the answer of each."""

from __future__ import annotations

import os
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from memhub.service import wire
from memhub.service.client_errors import invalid_argument, lost_connection
from memhub.service.remote_replies import join_pieces

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from memhub.service.link import SocketLink
    from memhub.service.stream_link import StreamLink

_ROOM: Final = 1 << 20
_AT_ONCE: Final = 64

R = TypeVar("R")


class Waiter:
    """Who waits for one answer.

    Attributes:
        event: set when it is there; None if nobody waits any more.
        reply: the answer.
        pieces: those of a read or a report, so far.
        fd: the descriptor that came with a mapping; -1 for none.
        then: called with the answer as it comes, before anybody wakes.
    """

    __slots__ = ("event", "fd", "pieces", "reply", "then")

    def __init__(self, then: Callable[[wire.Message], None] | None = None) -> None:
        self.event: anyio.Event | None = None
        self.reply: wire.Message | None = None
        self.pieces: list[bytes] = []
        self.fd = -1
        self.then = then


class Caller:
    """One connection, from the client's side.

    Args:
        link: the stream.
        protocol: its end of the protocol, greeted.
        take_event: where events go.
        on_lost: called when the connection is gone.

    Attributes:
        limits: what the service allows.
        features: what it granted.
    """

    def __init__(
        self,
        link: SocketLink | StreamLink,
        protocol: wire.ClientProtocol,
        take_event: Callable[[wire.Event], None],
        on_lost: Callable[[], None],
    ) -> None:
        self.link = link
        self.limits = protocol.limits
        self.features = protocol.features
        self._protocol = protocol
        self._take_event = take_event
        self._on_lost = on_lost
        self._waiting: dict[int, Waiter] = {}
        self._queue: deque[anyio.Event] = deque()
        self._posted: deque[tuple[wire.Message, Waiter]] = deque()
        self._lost: str | None = None
        self._goodbye: str | None = None

    # Asking

    async def ask(self, message: wire.Message) -> Any:  # noqa: ANN401 - the request's own answer
        """Send a request and wait for its answer.

        A cancelled caller leaves at once: the service is told, and whatever it still answers
        is taken care of.

        Raises:
            DeviceError: what the service answered.
            ConnectionError: the connection is gone.
        """
        return await self._send_and_wait(message, Waiter())

    async def ask_map(self, message: wire.Map) -> tuple[wire.Mapped, int]:
        """As `ask`: the answer, and the descriptor that came with it, which is the caller's."""
        waiter = Waiter()
        mapped: wire.Mapped = await self._send_and_wait(message, waiter)
        if waiter.fd < 0:
            raise lost_connection("no descriptor came with the mapping")

        return mapped, waiter.fd

    async def ask_each(self, ask: Callable[[int], Awaitable[R]], numbers: Sequence[int]) -> list[R]:
        """Ask the same of many numbers, with several requests in flight.

        Returns:
            the answers, in the order of `numbers`.

        Raises:
            DeviceError: what the first number that was refused was answered with.
        """
        answers: list[R] = []
        step = max(1, min(_AT_ONCE, self.limits.max_in_flight // 2))
        for first in range(0, len(numbers), step):
            answers += await _ask_together(ask, numbers[first : first + step])

        return answers

    async def _send_and_wait(self, message: wire.Message, waiter: Waiter) -> Any:  # noqa: ANN401
        if message.__class__ is not wire.Close and not self._protocol.has_room():
            await self._await_turn()

        self.post(message, waiter)

        return await self._await_answer(message.request, waiter)

    def post(self, message: wire.Message, waiter: Waiter) -> None:
        """Send a request whose answer `waiter` gets: now, or when the limit in flight allows it.

        Raises:
            ConnectionError: the connection is gone.
        """
        if self._lost is not None:
            raise lost_connection(self._lost)

        if not self._protocol.has_room(last=True):
            self._posted.append((message, waiter))
            return

        try:
            buffers = self._protocol.send(message)
        except wire.LocalProtocolError as error:
            raise invalid_argument(error.reason) from error

        self._waiting[message.request] = waiter
        self.link.send(buffers)

    async def write(self, message: wire.Write | wire.Pwrite, payload: bytes) -> int:
        """Send a write of any size; other requests go between its pieces.

        Returns:
            bytes written.
        """
        if self._lost is not None:
            raise lost_connection(self._lost)

        await self._await_turn()
        waiter = Waiter()
        frames = self._protocol.write(message, payload)
        try:
            self.link.send(next(frames))
        except wire.LocalProtocolError as error:
            raise invalid_argument(error.reason) from error

        request = message.request
        self._waiting[request] = waiter
        try:
            for frame in frames:
                await self.link.room(_ROOM)
                await checkpoint_if_cancelled()
                if waiter.reply is not None or self._lost is not None:
                    self._end_stream(request)
                    break

                self.link.send(frame)
        except BaseException:
            self._end_stream(request)
            self._give_up(request, waiter)
            raise

        done: wire.Done = await self._await_answer(request, waiter)

        return done.value

    def _end_stream(self, request: int) -> None:
        if self._lost is None:
            self.link.send(self._protocol.send(wire.Data(request, True, b"")))
            self._go_on()

    async def _await_turn(self) -> None:
        """Wait until one more request may be in flight."""
        while not self._protocol.has_room() and self._lost is None:
            event = anyio.Event()
            self._queue.append(event)
            await event.wait()

    async def _await_answer(self, request: int, waiter: Waiter) -> Any:  # noqa: ANN401
        if waiter.reply is None and self._lost is None:
            event = waiter.event = anyio.Event()
            try:
                await event.wait()
            except BaseException:
                self._give_up(request, waiter)
                raise

        reply = waiter.reply
        if reply is None:
            raise lost_connection(self._lost or "it was closed")

        if reply.__class__ is wire.Error:
            raise wire.error_from_wire(reply)

        return join_pieces(waiter.pieces) if waiter.pieces else reply

    def _give_up(self, request: int, waiter: Waiter) -> None:
        """Nobody waits for an answer any more."""
        waiter.event = None
        if waiter.reply is not None:
            self._put_away(waiter, waiter.reply)
        elif self._lost is None and request in self._waiting:
            waiter.then = partial(self._put_away, waiter)
            self.link.send(self._protocol.send(wire.Cancel(request)))

    def _put_away(self, waiter: Waiter, reply: wire.Message) -> None:
        """Undo what an answer gives that nobody waits for."""
        if isinstance(reply, wire.Opened) and self._lost is None:
            self.post(wire.Close(0, reply.handle), Waiter())
        elif waiter.fd >= 0:
            os.close(waiter.fd)

    # Listening

    async def listen(self) -> None:
        """Take what the service sends, until the connection ends."""
        await self.link.feed(self._hear_bytes)

    def _hear_bytes(self, data: bytes) -> bool:
        if self._lost is not None:
            return False

        if not data:
            self.lose(self._goodbye or "the service closed it")
            return False

        try:
            for message in self._protocol.receive(data):
                self._take_message(message)
        except wire.ProtocolError as error:
            for message in error.messages:
                self._take_message(message)

            if error.answered:
                self.link.send((self._protocol.abort(error),))

            self.lose(error.reason)

        return self._lost is None

    def _take_message(self, message: wire.Message) -> None:
        waiter = self._waiting.get(message.request)
        if waiter is None:
            self._take_other(message)
            return

        if message.__class__ is wire.Data:
            waiter.pieces.append(message.data)
            if not message.last:
                return
        elif message.__class__ is wire.Mapped and self.link.fds:
            # Answers are taken in the order in which they came, and so did the descriptors.
            waiter.fd = self.link.fds.popleft()

        del self._waiting[message.request]
        waiter.reply = message
        if waiter.then is not None:
            waiter.then(message)

        if waiter.event is not None:
            waiter.event.set()

        self._go_on()

    def _go_on(self) -> None:
        """Send what has been posted, or let the next one ask, as far as the limit allows."""
        while self._posted and self._protocol.has_room(last=True):
            self.post(*self._posted.popleft())

        if self._queue and self._protocol.has_room():
            self._queue.popleft().set()

    def _take_other(self, message: wire.Message) -> None:
        if isinstance(message, wire.Event):
            self._take_event(message)
        elif isinstance(message, wire.Goodbye):
            self._goodbye = message.reason
        elif isinstance(message, wire.Abort):
            self.lose(message.reason)

    def lose(self, reason: str) -> None:
        """The connection is gone: everybody who waits is told."""
        self._lost = self._lost or reason
        for waiter in self._waiting.values():
            if waiter.event is not None:
                waiter.event.set()

        self._waiting.clear()
        self._posted.clear()
        while self._queue:
            self._queue.popleft().set()

        self._on_lost()

    @property
    def gone(self) -> str | None:
        """Why the connection is gone, or None while it stands."""
        return self._lost


async def _ask_together(ask: Callable[[int], Awaitable[R]], numbers: Sequence[int]) -> list[R]:
    answers: dict[int, R] = {}
    errors: dict[int, OSError] = {}

    async def ask_one(place: int, number: int) -> None:
        try:
            answers[place] = await ask(number)
        except OSError as error:
            errors[place] = error

    async with anyio.create_task_group() as tasks:
        for place, number in enumerate(numbers):
            tasks.start_soon(ask_one, place, number)

    if errors:
        raise errors[min(errors)]

    return [answers[place] for place in range(len(numbers))]
