"""Changes as they happen, for those who subscribe.

Slow readers: a subscription holds a bounded number of events. When it is full the oldest is
dropped and counted; the reader finds a `missed` event in its place, and no request ever waits
for a reader. What was missed is in the audit log under the sequence numbers in between.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, Self, final

import anyio
from anyio.lowlevel import checkpoint

from memhub.abi import U64_MAX
from memhub.arguments import show_integer, take_integer, take_names, take_span, take_text
from memhub.engine.listeners import Interest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from memhub.engine.listeners import Listener

    Listen = Callable[[Listener, Interest], Callable[[], None]]

_U32_MAX: Final = 0xFFFFFFFF

#: What counts as a change, when no events are named.
CHANGES: Final = frozenset(
    {
        "request.set",
        "undo",
        "claim.take",
        "claim.renew",
        "claim.release",
        "claim.expire",
        "claim.break",
        "device.attach",
        "device.detach",
        "device.restore",
        "kernel.call",
    }
)


def take_span_of_interest(
    base: int | None, length: int | None, size: int
) -> tuple[tuple[int, int] | None, int]:
    """The range and the size of a subscription, of a hub here or of a service.

    Returns:
        first byte and one past the last, or None for everything; how many events it holds.

    Raises:
        ValueError: one of `base` and `length` without the other, no range, or no size.
        TypeError: one of them is not an integer.
    """
    size = take_integer("size", size)
    if not 0 < size <= _U32_MAX:
        raise ValueError(f"a subscription cannot hold {show_integer(size)} events: 1 to {_U32_MAX}")

    if base is None and length is None:
        return None, size

    if base is None or length is None:
        raise ValueError(f"base {base} and length {length} are given together or not at all")

    base, length = take_span(base, length)
    if not 0 <= base <= U64_MAX or not 0 < length <= min(U64_MAX, U64_MAX + 1 - base):
        raise ValueError(f"{base:#x}/{length:#x} is not a range of 64-bit addresses")

    return (base, base + length), size


@final
class Subscription:
    """An asynchronous iterator over the records of changes; made by `Hub.subscribe`.

    Each item is a record as in the audit log (`docs/audit.md`), or `{"event": "missed",
    "count": N}` where N records were dropped because the reader was slow.

    Attributes:
        size: how many events it holds for its reader.
        wake: called whenever there is news, or None.
    """

    def __init__(
        self,
        listen: Listen,
        *,
        machines: frozenset[str] | None,
        span: tuple[int, int] | None,
        events: frozenset[str],
        failures: bool,
        size: int,
    ) -> None:
        self.size = size
        self.wake: Callable[[], None] | None = None
        self._machines = machines
        self._span = span
        self._events = events
        self._failures = failures
        self._kept: deque[dict[str, Any]] = deque(maxlen=size)
        self._missed = 0
        self._news = anyio.Event()
        self._closed = False
        self._stop = listen(self._take_record, Interest(events, machines, span))

    def _wants_record(self, record: Mapping[str, Any]) -> bool:
        if record["event"] not in self._events:
            return False

        if self._machines is not None and record.get("machine") not in self._machines:
            return False

        if not self._failures and record.get("errno") is not None:
            return False

        if record["event"] == "kernel.call" and record["changed"] is record["errno"] is None:
            return False  # it looked

        base, length = record.get("base"), record.get("length")
        if self._span is None or base is None or length is None or base == length == 0:
            return True  # without a range; a refused renewal that names none has 0 and 0

        lo, hi = self._span

        return bool(base < hi and lo < base + length)

    def _take_record(self, record: dict[str, Any]) -> None:
        if self._wants_record(record):
            if len(self._kept) == self._kept.maxlen:
                self._missed += 1

            self._kept.append(record)  # shared with other subscriptions until it is read
            self._tell_reader()

    def _tell_reader(self) -> None:
        self._news.set()
        if self.wake is not None:
            self.wake()

    def receive_nowait(self) -> dict[str, Any]:
        """The next event.

        Raises:
            anyio.WouldBlock: there is none yet.
            anyio.EndOfStream: the subscription is closed and empty.
        """
        if self._missed:
            missed, self._missed = self._missed, 0

            return {"event": "missed", "count": missed}

        if self._kept:
            return dict(self._kept.popleft())

        if self._closed:
            raise anyio.EndOfStream

        raise anyio.WouldBlock

    async def receive(self) -> dict[str, Any]:
        """Wait for the next event.

        Raises:
            anyio.EndOfStream: the subscription is closed and empty.
        """
        await checkpoint()
        while True:
            try:
                return self.receive_nowait()
            except anyio.WouldBlock:
                if self._news.is_set():  # else others wait for it
                    self._news = anyio.Event()

            await self._news.wait()

    def close(self) -> None:
        """Take no more events; what is held can still be read."""
        self._stop()
        self._closed = True
        self._tell_reader()

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


def make_subscription(
    listen: Listen,
    *,
    machine: str | None,
    machines: Iterable[str] | None,
    base: int | None,
    length: int | None,
    events: Iterable[str],
    failures: bool,
    size: int,
) -> Subscription:
    """Receive changes as they happen.

    Args:
        listen: hands every record to a listener.
        machine: of this machine only.
        machines: of these machines only; changes of others are not held and not counted as missed.
        base: with `length`: only those that touch a byte of this range.
        length: bytes.
        events: the events wanted, by their names in the audit log.
        failures: also requests that were refused.
        size: how many events are held for a slow reader before the oldest is dropped.

    Raises:
        ValueError: one of `base` and `length` without the other, no range, or no size.
        TypeError: an argument has the wrong type.
    """
    span, size = take_span_of_interest(base, length, size)
    wanted = None if machines is None else take_names("machines", machines)
    if machine is not None:
        take_text("machine", machine)
        wanted = frozenset({machine}) if wanted is None else wanted & {machine}

    return Subscription(
        listen,
        machines=wanted,
        span=span,
        events=take_names("events", events),
        failures=failures,
        size=size,
    )
