"""A simulated clock: it stands still while any client runs, then jumps to the next wake-up.

One sleeper is woken at a time, and everything that follows from it runs to its end before the
next is woken. So what happens does not depend on the event loop and takes no real time.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final

import anyio
from anyio.lowlevel import checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

#: Turns of the event loop after which nothing that a wake-up started is still running.
_TURNS: Final = 40


class SimulatedClock:
    """A clock for the hub and its clients.

    Args:
        wall_ns: the wall clock at the beginning, nanoseconds since 1970.
    """

    def __init__(self, wall_ns: int) -> None:
        self._wall_ns = wall_ns
        self._mono_ns = 0
        self._sleepers: list[tuple[int, int, anyio.Event]] = []
        self._number = 0

    def wall_ns(self) -> int:
        """Nanoseconds since 1970."""
        return self._wall_ns

    def mono_ns(self) -> int:
        """Nanoseconds since the beginning."""
        return self._mono_ns

    async def sleep_until(self, mono_ns: int) -> None:
        """Return once the monotonic clock has reached `mono_ns`."""
        self._number += 1
        sleeper = (mono_ns, self._number, anyio.Event())
        heappush(self._sleepers, sleeper)
        try:
            await sleeper[2].wait()
        finally:
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)
                heapify(self._sleepers)

    async def run(self, ended: Callable[[], bool]) -> None:
        """Let time pass, one wake-up after another, until `ended` returns true."""
        while True:
            for _ in range(_TURNS):
                await checkpoint()

            if ended():
                return

            due, _, event = heappop(self._sleepers)
            step = max(0, due - self._mono_ns)
            self._wall_ns += step
            self._mono_ns += step
            event.set()
