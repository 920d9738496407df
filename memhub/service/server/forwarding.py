"""The events of one connection's subscriptions, sent as the client takes them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from memhub.errors import NoSuchRange
from memhub.service import wire
from memhub.service.server.turns import run_slice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memhub.engine.subscriptions import Subscription
    from memhub.service.link import Link
    from memhub.service.server.turns import Turns


class Forwarder:
    """The subscriptions of one connection; one task serves all of them.

    Args:
        link: the client.
        send: sends an event: the subscription's number, how many were missed, the record.
        turns: the turns of the service's long work.
        queue_high: bytes that may wait for the client before events wait too.
        start: starts a task that lives as long as the connection.

    Attributes:
        held: unread events that the subscriptions may hold.
    """

    def __init__(
        self,
        link: Link,
        send: Callable[[int, int, dict[str, Any]], None],
        turns: Turns,
        queue_high: int,
        start: Callable[..., object],
    ) -> None:
        self.held = 0
        self._link = link
        self._send = send
        self._turns = turns
        self._queue_high = queue_high
        self._start = start
        self._last = 0
        self._subscriptions: dict[int, Subscription] = {}
        self._missed: dict[int, int] = {}
        self._ready: dict[int, None] = {}
        self._running = False
        self._news = anyio.Event()

    def __len__(self) -> int:
        return len(self._subscriptions)

    def add(self, subscription: Subscription) -> int:
        """Begin to send a subscription's events.

        Returns:
            its number.
        """
        self._last += 1
        number = self._last
        self._subscriptions[number] = subscription
        self.held += subscription.size
        subscription.wake = partial(self._wake_up, number)
        if not self._running:
            self._running = True
            self._start(self._forward_events)

        return number

    def stop(self, number: int) -> None:
        """End a subscription.

        Raises:
            NoSuchRange: ENOENT; there is none of this number.
        """
        subscription = self._subscriptions.pop(number, None)
        if subscription is None:
            raise NoSuchRange(f"there is no subscription {number} on this connection")

        subscription.close()
        self.held -= subscription.size
        self._ready.pop(number, None)
        self._missed.pop(number, None)

    def stop_each(self) -> Iterator[None]:
        """End all subscriptions for good, one in each step; who sends is let go."""
        for number in list(self._subscriptions):
            self.stop(number)
            yield

        self._send = _send_nowhere

    def _wake_up(self, number: int) -> None:
        self._ready[number] = None
        self._news.set()

    async def _forward_events(self) -> None:
        while True:
            if not self._ready:
                self._news = anyio.Event()
                await self._news.wait()

            await self._link.room(self._queue_high)
            async with self._turns.lock:
                run_slice(self._send_each())

    def _send_each(self) -> Iterator[None]:
        """Send one event in each step, of each subscription in turn, while the client reads."""
        while self._ready and self._link.queued <= self._queue_high:
            number = next(iter(self._ready))
            del self._ready[number]
            try:
                record = self._subscriptions[number].receive_nowait()
            except (anyio.WouldBlock, anyio.EndOfStream):
                continue

            self._ready[number] = None
            if record["event"] == "missed":
                self._missed[number] = self._missed.get(number, 0) + record["count"]
            else:
                self._send(number, self._missed.pop(number, 0), record)

            yield


def _send_nowhere(number: int, missed: int, record: dict[str, Any]) -> None:
    """Stands for a connection that has ended."""


def event_of(
    number: int, missed: int, record: dict[str, Any], detail: bytes, max_body: int
) -> wire.Event:
    """A record as the event of a subscription; without its detail where that is too long."""
    fits = len(detail) + len(record["event"]) + wire.Event.FIXED.size + 2 <= max_body

    return wire.Event(
        0,
        number,
        min(missed, wire.U32_MAX),
        record.get("seq") or 0,
        record.get("base") or 0,
        record.get("length") or 0,
        record["event"],
        detail if fits else b"",
    )
