"""What the caches of a machine hold at a moment, as a value: for snapshots, forks and restores."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from memhub.core.caches.change import Turn

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from memhub.core.cache_limits import CacheLimits
    from memhub.core.caches.change import HazardKey, Overtaking, Posted
    from memhub.core.caches.hazards import Hazard
    from memhub.core.caches.lines import Buffer, Line


class CachesContent(NamedTuple):
    """What caches and buffers hold.

    Attributes:
        lines: the lines by number.
        buffers: the combining buffers, by process and line.
        turn: the counters; its draws are the state of the generator.
        overtakings: what the bus saw too early.
        posted: by process, the write-backs that no fence has completed.
        hazards: those met.
    """

    lines: Mapping[int, Line]
    buffers: Mapping[int, Mapping[int, Buffer]]
    turn: Turn
    overtakings: tuple[Overtaking, ...]
    posted: Mapping[int, Posted]
    hazards: Mapping[HazardKey, Hazard]


def first_content(limits: CacheLimits) -> CachesContent:
    """Caches as a machine begins with them."""
    return CachesContent({}, {}, Turn(limits.seed, 0), (), {}, {})


def content_of_those(content: CachesContent, there: Collection[int]) -> CachesContent:
    """The same where only some processes go on.

    What the buffers of the others hold stays where nobody sees it until all is flushed: nobody
    is there to make a fence, and another process may have the number.

    Args:
        content: what caches held.
        there: the processes that go on.
    """
    return content._replace(
        buffers={
            who if who in there else -1 - abs(who): held for who, held in content.buffers.items()
        },
        overtakings=tuple(it for it in content.overtakings if it.process in there),
        posted={who: it for who, it in content.posted.items() if who in there},
    )
