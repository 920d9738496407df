"""Long work of all connections takes turns, so that short requests of others come in between."""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Nanoseconds of work until others have their turn.
SLICE_NS: Final = 500_000

#: Requests of one receive that are answered together, however long that takes.
AT_ONCE: Final = 24


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
