"""Time for a play: it stands still while anybody acts, then goes on to the next cue.

One sleeper is woken at a time and everything that follows from it runs to its end before the
next, so what happens does not depend on the event loop and takes no real time.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final

import anyio
from anyio.lowlevel import checkpoint

from memhub.core.instant import Instant

if TYPE_CHECKING:
    from collections.abc import Callable

#: Turns of the event loop after which nothing that a cue set off is still running.
_TURNS: Final = 40


class Stage:
    """A clock for the hub and its clients.

    Args:
        wall_ns: the wall clock at the beginning, nanoseconds since 1970.
    """

    def __init__(self, wall_ns: int) -> None:
        self._now = Instant(wall_ns, 0)
        self._cues: list[tuple[int, int, anyio.Event]] = []
        self._number = 0

    def now(self) -> Instant:
        """The present moment."""
        return self._now

    def wall_ns(self) -> int:
        """Nanoseconds since 1970."""
        return self._now.wall_ns

    def mono_ns(self) -> int:
        """Nanoseconds on the monotonic clock."""
        return self._now.mono_ns

    async def sleep_until(self, mono_ns: int) -> None:
        """Wait for a moment."""
        self._number += 1
        cue = (mono_ns, self._number, anyio.Event())
        heappush(self._cues, cue)
        try:
            await cue[2].wait()
        finally:
            if cue in self._cues:
                self._cues.remove(cue)
                heapify(self._cues)

    async def run(self, over: Callable[[], bool]) -> None:
        """Let time pass, cue by cue, until `over` says that the play has ended."""
        while True:
            for _ in range(_TURNS):
                await checkpoint()

            if over():
                return

            due, _, event = heappop(self._cues)
            step = max(0, due - self._now.mono_ns)
            self._now = Instant(self._now.wall_ns + step, self._now.mono_ns + step)
            event.set()
