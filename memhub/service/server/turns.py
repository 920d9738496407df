"""Long work of all connections takes turns, so that short requests of others come in between."""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING, Final

import anyio
from anyio.lowlevel import checkpoint

from memhub.engine.backlog import ALL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.engine.engine import Engine

#: Nanoseconds of work until others have their turn.
SLICE_NS: Final = 500_000

#: Requests of one receive that are answered together, however long that takes.
AT_ONCE: Final = 24

#: Waits that can go on and are served in one turn of the event loop.
_WAITS_IN_ONE_TURN: Final = 6


class Turns:
    """One slice of long work in each round of the event loop, of whichever connection.

    Without it each of many connections could do a slice in one round, and a short request would
    wait for all of them.
    """

    def __init__(self) -> None:
        #: Held during a slice; it goes to those who wait in their order, one in each round.
        self.lock = anyio.Lock()

    async def work_off(self, steps: Iterator[object]) -> None:
        """Go through all of `steps`, each of which is short, a slice at a time."""
        going = True
        while going:
            async with self.lock:
                going = run_slice(steps)


def run_slice(steps: Iterator[object]) -> bool:
    """Take steps for as long as a slice lasts.

    Returns:
        whether there may be more.
    """
    end = perf_counter_ns() + SLICE_NS

    return any(perf_counter_ns() >= end for _ in steps)


async def work_off_backlog(engine: Engine) -> None:
    """Serve those who wait, some in each turn of the event loop, until this is cancelled."""
    backlog = engine.backlog
    backlog.most = _WAITS_IN_ONE_TURN
    try:
        while True:
            more = anyio.Event()
            backlog.on_more = more.set
            if not backlog.machines:
                await more.wait()

            await checkpoint()
            _serve_some(engine)
    finally:
        backlog.most = ALL
        _serve_some(engine)


def _serve_some(engine: Engine) -> None:
    for name in sorted(engine.backlog.machines):
        engine.backlog.machines.discard(name)
        engine.serve(engine.machines[name], engine.now(), engine.backlog.most)
