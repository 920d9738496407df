"""Where the hub gets its time from. Everything in the core is handed an Instant of it."""

from __future__ import annotations

from time import monotonic_ns, time_ns
from typing import Protocol, runtime_checkable

import anyio
from anyio.lowlevel import checkpoint


@runtime_checkable
class Clock(Protocol):
    """A wall clock, a monotonic clock, and a way to wait for the latter."""

    def wall_ns(self) -> int:
        """Nanoseconds since 1970."""

    def mono_ns(self) -> int:
        """Nanoseconds on the monotonic clock."""

    async def sleep_until(self, mono_ns: int) -> None:
        """Return once the monotonic clock has reached `mono_ns`."""


class SystemClock:
    """The computer's own clocks."""

    wall_ns = staticmethod(time_ns)
    mono_ns = staticmethod(monotonic_ns)

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
        self._wall_ns = wall_ns
        self._mono_ns = mono_ns
        self._sleepers: list[tuple[int, anyio.Event]] = []

    def wall_ns(self) -> int:
        """Nanoseconds since 1970."""
        return self._wall_ns

    def mono_ns(self) -> int:
        """Nanoseconds on the monotonic clock."""
        return self._mono_ns

    def advance(self, seconds: float) -> None:
        """Let time pass, and wake those whose time has come, earliest first."""
        step = round(seconds * 1e9)
        self._wall_ns += step
        self._mono_ns += step
        due = sorted((row for row in self._sleepers if row[0] <= self._mono_ns), key=_wake_time)
        self._sleepers = [row for row in self._sleepers if row[0] > self._mono_ns]
        for _, event in due:
            event.set()

    async def sleep_until(self, mono_ns: int) -> None:
        """Wait until `advance` has reached `mono_ns`."""
        if mono_ns <= self._mono_ns:
            await checkpoint()
            return

        row = (mono_ns, anyio.Event())
        self._sleepers.append(row)
        try:
            await row[1].wait()
        finally:
            if row in self._sleepers:
                self._sleepers.remove(row)


def _wake_time(row: tuple[int, anyio.Event]) -> int:
    return row[0]
