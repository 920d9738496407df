"""What would go wrong on hardware: names, levels, and the cheapest cure of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, get_args

from memhub.escape import escape_controls

if TYPE_CHECKING:
    from collections.abc import Mapping

Level = Literal["error", "warning"]
#: The levels, the worst first.
LEVELS: Final[tuple[Level, ...]] = get_args(Level)


class HazardKind(NamedTuple):
    """One kind of hazard.

    Attributes:
        level: `error` where wrong bytes were seen or can no longer be told from right ones,
            `warning` where it has not happened yet.
        meaning: what it is.
        cure: the cheapest way to mend it.
    """

    level: Level
    meaning: str
    cure: str


#: By name; names and levels are stable.
HAZARDS: Final[Mapping[str, HazardKind]] = {
    "stale-bus-read": HazardKind(
        "error",
        "the bus read bytes that a dirty line of the CPUs has newer",
        "writeback() the line, and fence(), before the device reads it",
    ),
    "unfenced-writeback": HazardKind(
        "error",
        "the bus read or wrote a line whose write-back no fence had completed",
        "fence() between writeback() and what the device does",
    ),
    "stale-cpu-read": HazardKind(
        "error",
        "a CPU read bytes of its cache that the bus has written since",
        "flush() the line before the CPU reads what the device wrote",
    ),
    "hidden-dma-write": HazardKind(
        "error",
        "the bus wrote bytes of a dirty line or a combining buffer, which will overwrite them",
        "flush() a dirty line, fence() a combining buffer, before the device writes there",
    ),
    "hidden-store": HazardKind(
        "error",
        "a process wrote bytes that a combining buffer of another holds, which may overwrite them",
        "fence() before another process writes there",
    ),
    "undrained-read": HazardKind(
        "error",
        "the bus or another process read bytes that a combining buffer has newer",
        "fence() before they are read",
    ),
    "unordered-stores": HazardKind(
        "error",
        "the bus saw a later store of a process while an earlier one was in a combining buffer",
        "fence() between the two stores",
    ),
    "undrained-buffers": HazardKind(
        "warning",
        "bytes are in a combining buffer, where nobody else sees them",
        "fence() after the last store",
    ),
    "protected-write": HazardKind(
        "warning",
        "a process wrote to write-protected memory",
        "do not write there, or give the range another type",
    ),
    "aliased-types": HazardKind(
        "error",
        "memory was accessed with one type while a cache or a buffer held it with another",
        "flush() a line, fence() a combining buffer, before it is accessed with another type",
    ),
    "unflushed-change": HazardKind(
        "error",
        "the type of a range was changed while dirty lines or buffers held bytes of it",
        "flush_all() before the change, as a kernel does (wbinvd)",
    ),
}


class Hazard(NamedTuple):
    """A hazard that was met.

    Attributes:
        name: a key of `HAZARDS`.
        address: first byte of the first stretch that met it.
        length: bytes of that stretch.
        process: who is to mend it, or None where it is not known.
        process_id: its number, or None.
        slot: the slot of the range table that gives the address its type, or None.
        type: the effective type of the address.
        since: the log's record from which on it was so, or None where there is no log.
        seen: the log's record that met it first, or None: of a buffer that is not drained now,
            nothing has met that yet.
        times: how often it was met; an access that meets it in several stretches of a line, once.
        what: what was done, in one sentence.
    """

    name: str
    address: int
    length: int
    process: str | None
    process_id: int | None
    slot: int | None
    type: str
    since: int | None
    seen: int | None
    times: int
    what: str

    @property
    def level(self) -> Level:
        """`error` or `warning`."""
        return HAZARDS[self.name].level

    @property
    def cure(self) -> str:
        """The cheapest way to mend it."""
        return HAZARDS[self.name].cure

    def __str__(self) -> str:
        whose = "" if self.process is None else f" of {self.process}"
        slot = "no slot" if self.slot is None else f"slot {self.slot}"
        since = "" if self.since is None else f", since record {self.since}"
        times = "" if self.times == 1 else f", {self.times} times"

        return escape_controls(
            f"{self.level} {self.name} at {self.address:#x}/{self.length:#x}{whose} "
            f"({self.type}, {slot}{since}{times}): {self.what}; cure: {self.cure}"
        )
