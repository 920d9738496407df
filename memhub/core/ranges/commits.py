"""A MEMRANGE_SET as a value, and one on its way to all CPUs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from memhub.errors import InvalidArgument, Obstacle

if TYPE_CHECKING:
    from memhub.abi import RangeDesc
    from memhub.core.machine import OpenFile
    from memhub.core.requests import Principal


class Instant(NamedTuple):
    """A moment, handed in: wall clock and monotonic clock, in nanoseconds."""

    wall_ns: int
    mono_ns: int

    @property
    def wall(self) -> float:
        """Wall-clock seconds."""
        return self.wall_ns / 1e9

    @property
    def mono(self) -> float:
        """Monotonic seconds."""
        return self.mono_ns / 1e9

    def after(self, seconds: float) -> float:
        """Monotonic seconds so much later, on a whole nanosecond as the clock counts them."""
        return (self.mono_ns + round(seconds * 1e9)) / 1e9


def expiry(lease: float | None, now: Instant) -> float | None:
    """When a lease of so many seconds ends, in monotonic seconds; None lasts.

    Raises:
        InvalidArgument: EINVAL; it is no time to come.
    """
    if lease is None:
        return None

    if not 0 < lease < float("inf"):
        raise InvalidArgument(f"a lease of {lease} seconds is not a time to come")

    return now.after(lease)


class SetRequest(NamedTuple):
    """One MEMRANGE_SET.

    Attributes:
        file: the handle that asks.
        arg: `mo_arg[0]`: MEMRANGE_SET_UPDATE or MEMRANGE_SET_REMOVE.
        desc: the descriptor, its owner already cut.
        fence: the fencing number that the caller believes to hold, or None.
        lease: seconds for which a new claim is to last, or None.
    """

    file: OpenFile
    arg: int
    desc: RangeDesc
    fence: int | None = None
    lease: float | None = None

    @property
    def process(self) -> Principal:
        """Who asks."""
        return self.file.process


@dataclass(slots=True, eq=False)
class Commit:
    """An UPDATE or REMOVE on its way to all CPUs (rule 8 of `ownership.py`).

    Attributes:
        request: what was asked.
        wrote: the slots that it will write.
        after: what each of them will hold.
        bounds: bytes whose type may change.
        since: wall-clock seconds of its start.
        began: monotonic nanoseconds of its start.
    """

    request: SetRequest
    wrote: tuple[int, ...]
    after: dict[int, RangeDesc]
    bounds: tuple[int, int]
    since: float
    began: int

    def obstacle(self, slot: int | None = None) -> Obstacle:
        """This commit as what stood in the way."""
        desc = self.request.desc

        return Obstacle(
            kind="commit",
            slot=slot,
            base=desc.mr_base,
            length=desc.mr_len,
            owner=desc.owner,
            process=self.request.process.name,
            process_id=self.request.process.id,
            pid=self.request.process.pid,
            since=self.since,
        )
