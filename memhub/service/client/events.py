"""A subscription over the service, with the face of `memhub.events.Subscription`."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any, Self, final

import anyio
from anyio.lowlevel import checkpoint

from memhub.service.wire.wide import narrow

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.errors import DeviceError
    from memhub.service import wire


@final
class RemoteSubscription:
    """An asynchronous iterator over changes; made by `RemoteHub.subscribe`.

    Each item is a record as in the audit log, or `{"event": "missed", "count": N}` where N
    were dropped because the reader, or the connection, was slow.
    """

    def __init__(
        self,
        size: int,
        events: frozenset[str],
        on_close: Callable[[RemoteSubscription], None],
    ) -> None:
        self.number = 0
        self._events = events
        self._kept: deque[dict[str, Any]] = deque(maxlen=size)
        self._missed = 0
        self._news = anyio.Event()
        self.closed = False
        self._failure: DeviceError | None = None
        self._on_close = on_close

    def take(self, event: wire.Event) -> None:
        """Keep an event until it is read; the oldest goes if there are too many."""
        self._missed += event.missed
        if event.event in self._events:
            self._missed += len(self._kept) == self._kept.maxlen
            self._kept.append(record_of(event))

        self._news.set()

    def fail(self, error: DeviceError) -> None:
        """The service refused the subscription."""
        self._failure = error
        self.end()

    def end(self) -> None:
        """No event comes any more; what is kept can still be read."""
        self.closed = True
        self._news.set()

    async def receive(self) -> dict[str, Any]:
        """Wait for the next event.

        Raises:
            anyio.EndOfStream: the subscription is closed and empty.
            DeviceError: the service refused it.
        """
        await checkpoint()
        while True:
            if self._missed:
                missed, self._missed = self._missed, 0

                return {"event": "missed", "count": missed}

            if self._kept:
                return self._kept.popleft()

            if self._failure is not None:
                raise self._failure

            if self.closed:
                raise anyio.EndOfStream

            if self._news.is_set():  # else others wait for it
                self._news = anyio.Event()

            await self._news.wait()

    def close(self) -> None:
        """Take no more events. Closing twice does nothing."""
        if not self.closed:
            self.end()
            self._on_close(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> dict[str, Any]:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def record_of(event: wire.Event) -> dict[str, Any]:
    """The record of an event; what EVENT itself holds, where the record was too long for it."""
    if event.detail:
        found: dict[str, Any] = json.loads(event.detail, object_hook=narrow)
        return found

    where = {"base": event.base, "length": event.length} if event.length else {}

    return {"seq": event.sequence, "event": event.event, **where}
