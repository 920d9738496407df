"""Full collections of Python's garbage, at times when clients hardly notice them.

Every client waits during a collection, and its time grows with the number of objects: 0.3 to 0.6 us
an object. The waits of many clients are 100,000 objects and more.
"""

from __future__ import annotations

import gc
from time import perf_counter
from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from memhub.hub.hub import Hub

#: Seconds between two looks at whether to collect.
_LOOK: Final = 2.0

#: Seconds that a collection may take, as the ones before it foretell.
_PAUSE_MAX: Final = 0.03

#: Seconds after which one is made that takes longer: garbage must not grow for ever.
_OVERDUE: Final = 60.0

#: Open files, claims and waits with which none is made. To count the objects takes nearly as long
#: as to collect them, so this is looked at first.
_HELD_MAX: Final = 1500

#: Seconds for each object, before there was a collection to tell.
_FIRST_PACE: Final = 0.6e-6


async def collect_garbage(hub: Hub) -> None:
    """Collect all generations every two seconds, unless that would take 30 ms or more.

    One that would take longer is made if there was none for a minute and clients hold little.

    Args:
        hub: whose machines tell how much clients hold.
    """
    pace, last = _FIRST_PACE, perf_counter()
    while True:
        await anyio.sleep(_LOOK)
        if _count_held(hub) >= _HELD_MAX:
            continue

        count = len(gc.get_objects(generation=2))
        began = perf_counter()
        if count * pace < _PAUSE_MAX or began - last > _OVERDUE:
            gc.collect()
            last = perf_counter()
            pace = _next_pace(pace, count, last - began)


def _next_pace(pace: float, count: int, took: float) -> float:
    """Seconds for each object, half as it was and half as the last collection had it.

    A collection of few objects tells nothing: its time is that of the young generations.
    """
    return pace if count < 10_000 else (pace + took / count) / 2


def _count_held(hub: Hub) -> int:
    machines = hub.machines.values()

    return sum(len(it.files) + len(it.claims.claims) + len(it.waits) for it in machines)
