"""What an access does to caches, before and after: a fact, made by planning and undone whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.abi import Buffer as Bytes
    from memhub.core.caches.hazards import Hazard
    from memhub.core.caches.lines import Buffer, Line
    from memhub.core.files import Principal

#: Why a line or a buffer reached the bus.
Cause = Literal[
    "evicted", "flushed", "written back", "snooped", "full", "fence", "uncached", "read"
]

#: A process number to its buffers, by line.
Buffers = dict[int, dict[int, "Buffer"]]

#: Which hazard, at which line or page, of which process.
HazardKey = tuple[str, int, "int | None"]


class Arrival(NamedTuple):
    """Bytes that reached the bus from a cache or a buffer.

    Attributes:
        address: first byte.
        length: bytes from the first to the last that was written.
        cause: why.
    """

    address: int
    length: int
    cause: Cause


class Overtaking(NamedTuple):
    """Bytes that reached the bus while an earlier store of their process was in a buffer.

    Attributes:
        base: first byte.
        end: one past the last byte.
        process: the number of the process.
        order: the number of the store.
    """

    base: int
    end: int
    process: int
    order: int


class WriteBack(NamedTuple):
    """What a process has asked for by writing a line back, since its last fence.

    Attributes:
        waits: whether the line is still to reach the bus.
        since: the log's record since which it was asked for, or None.
        order: the number of the last store that is part of it.
    """

    waits: bool
    since: int | None
    order: int


class Posted(NamedTuple):
    """The write-backs of one process since its last fence.

    Attributes:
        who: the process.
        lines: by number.
    """

    who: Principal
    lines: Mapping[int, WriteBack]


class Turn(NamedTuple):
    """The counters of caches.

    Attributes:
        draws: the state of the generator.
        order: the number of the last store.
    """

    draws: int
    order: int


class CacheChange(NamedTuple):
    """What one access changes.

    Attributes:
        lines: by line number; None is no line any more.
        lines_before: the same before; empty where nobody asks for it.
        buffers: by process and line; an empty mapping is no buffers any more.
        buffers_before: the same before.
        turns: the counters before and after.
        overtakings: before and after.
        posted: the write-backs that no fence has completed, before and after.
        hazards: those that it met, before (None) and after.
        writes: what reached the bus, in order: address, bytes, and the bytes before (empty where
            nobody asks for them).
        arrivals: the same as it is told to the log, where that is asked for.
    """

    lines: Mapping[int, Line | None]
    lines_before: Mapping[int, Line | None]
    buffers: Buffers
    buffers_before: Buffers
    turns: tuple[Turn, Turn]
    overtakings: tuple[tuple[Overtaking, ...], tuple[Overtaking, ...]]
    posted: tuple[Mapping[int, Posted], Mapping[int, Posted]]
    hazards: Mapping[HazardKey, tuple[Hazard | None, Hazard]]
    writes: tuple[tuple[int, Bytes, bytes], ...]
    arrivals: tuple[Arrival, ...]
