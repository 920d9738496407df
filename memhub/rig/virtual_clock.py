"""A clock that goes on by itself whenever everybody waits."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Self, final

import anyio

from memhub.clock import ManualClock, moment_after
from memhub.rig.idle import PUMP, wait_for_others

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator


@final
class VirtualClock(anyio.AsyncContextManagerMixin):
    """Time that passes only when every task waits, and then at once; use it in `async with`.

    Give it to a `Hub`: latencies, leases and time limits then take no real time. Around it, a
    test sleeps with `sleep` and bounds with `move_on_after` and `fail_after`. A task that waits
    for something outside of the event loop, such as a socket, waits too: time goes on past it.
    Time stands still for good while a task runs without end. Outside of its block, the clock is
    moved by `advance` only.

    Args:
        wall_ns: its first wall-clock time, nanoseconds since 1970.
        mono_ns: its first monotonic time, nanoseconds.
    """

    def __init__(self, wall_ns: int = 0, mono_ns: int = 0) -> None:
        self._clock = ManualClock(wall_ns, mono_ns)
        self.wall_ns = self._clock.wall_ns
        self.mono_ns = self._clock.mono_ns
        self.sleep_until = self._clock.sleep_until
        self.set_alarm = self._clock.set_alarm
        self.advance = self._clock.advance
        self.advance_to_next = self._clock.advance_to_next
        self._news = anyio.Event()
        self._clock.on_alarm = self._ring

    @property
    def next_ns(self) -> int | None:
        """The moment up to which it goes on next, monotonic nanoseconds; None for none."""
        return self._clock.next_ns

    def call_on_alarm(self, ring: Callable[[], object]) -> None:
        """Have whoever moves the clock told when an alarm is set."""
        self._clock.on_alarm = ring

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        failure: Exception | None = None
        # A block that is cancelled from outside may have to wait for a commit: time goes on.
        going = anyio.CancelScope(shield=True)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._go_on, going, name=PUMP)
            try:
                yield self
            except Exception as error:  # noqa: BLE001 - raised below, bare
                failure = error
            finally:
                going.cancel()

        if failure is not None:
            raise failure

    def _ring(self) -> None:
        self._news.set()

    async def _go_on(self, going: anyio.CancelScope) -> None:
        with going:
            while True:
                await wait_for_others()
                if self.next_ns is None:
                    self._news = anyio.Event()
                    await self._news.wait()
                else:
                    self.advance_to_next()

    async def sleep(self, seconds: float) -> None:
        """Sleep for so many seconds of this clock; for ever, if they are infinite.

        Raises:
            TypeError: `seconds` is not a number.
            ValueError: `seconds` is NaN.
        """
        due = moment_after(seconds, self.mono_ns())
        await (anyio.sleep_forever() if due is None else self.sleep_until(due))

    @contextmanager
    def move_on_after(self, seconds: float | None) -> Iterator[anyio.CancelScope]:
        """Cancel a block after so many seconds of this clock; see `anyio.move_on_after`.

        Args:
            seconds: how long; None and infinity are no limit.

        Raises:
            TypeError: `seconds` is not a number.
            ValueError: `seconds` is NaN.
        """
        due = moment_after(seconds, self.mono_ns())
        with anyio.CancelScope() as scope:
            take_back = None if due is None else self.set_alarm(due, scope.cancel, late=True)
            try:
                yield scope
            finally:
                if take_back is not None:
                    take_back()

    @contextmanager
    def fail_after(self, seconds: float | None) -> Iterator[anyio.CancelScope]:
        """Cancel a block after so many seconds of this clock; see `move_on_after`.

        Raises:
            TimeoutError: the block was cancelled.
        """
        with self.move_on_after(seconds) as scope:
            yield scope

        if scope.cancelled_caught:
            raise TimeoutError(f"the block took more than {seconds} seconds of virtual time")
