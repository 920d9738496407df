"""Time, as it is handed to the hub."""

from __future__ import annotations

from time import monotonic_ns, time_ns
from typing import Protocol

import anyio

from memhub.core.ranges.commits import Instant


class Clock(Protocol):
    """Where the hub gets its time from; everything in the core is handed an Instant of it."""

    def now(self) -> Instant:
        """The present moment."""

    async def sleep_until(self, mono_ns: int) -> None:
        """Return once the monotonic clock has reached `mono_ns`."""


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> Instant:
        """The present moment."""
        # Each request asks twice; the named tuple's own constructor costs as much as the clocks.
        return tuple.__new__(Instant, (time_ns(), monotonic_ns()))

    async def sleep_until(self, mono_ns: int) -> None:
        """Sleep on the event loop."""
        await anyio.sleep(max(0, mono_ns - monotonic_ns()) / 1e9)


class ManualClock:
    """A clock that stands still until it is told otherwise, for tests and repeatable runs.

    Args:
        wall_ns: its first wall-clock time, nanoseconds since 1970.
        mono_ns: its first monotonic time, nanoseconds.
    """

    def __init__(self, wall_ns: int = 0, mono_ns: int = 0) -> None:
        self._now = Instant(wall_ns, mono_ns)
        self._sleepers: list[tuple[int, anyio.Event]] = []

    def now(self) -> Instant:
        """The present moment."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass, and wake those whose time has come, earliest first."""
        step = round(seconds * 1e9)
        self._now = Instant(self._now.wall_ns + step, self._now.mono_ns + step)
        due = sorted((row for row in self._sleepers if row[0] <= self._now.mono_ns), key=_due)
        self._sleepers = [row for row in self._sleepers if row[0] > self._now.mono_ns]
        for _, event in due:
            event.set()

    async def sleep_until(self, mono_ns: int) -> None:
        """Wait until `advance` has reached `mono_ns`."""
        if mono_ns <= self._now.mono_ns:
            await anyio.lowlevel.checkpoint()
            return

        row = (mono_ns, anyio.Event())
        self._sleepers.append(row)
        try:
            await row[1].wait()
        finally:
            if row in self._sleepers:
                self._sleepers.remove(row)


def _due(row: tuple[int, anyio.Event]) -> int:
    return row[0]
