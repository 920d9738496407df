"""The moments that can be chosen: each change of a range or a claim that is drawn, and jumps.

A moment has a tick: its place in their order. Which range stands at a moment is told by ticks and
not by times, as several records can have the same time.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from memhub.analysis.pictures.time_axis import readable_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from memhub.analysis.pictures.history import History

    Row = dict[str, Any]

    #: A time, the identity of a log, and a record's place there.
    At = tuple[int, str, int]

#: The most moments that can be chosen.
MOST: Final = 4000

#: The tick of what has no end.
NEVER: Final = 1 << 40


@dataclass(frozen=True, slots=True)
class Moments:
    """The moments of a log, in order.

    Attributes:
        all: every one.
        kept: those that can be chosen, not more than MOST.
        ends: for each machine, when each of its starts but the last was followed by another.
    """

    all: tuple[At, ...]
    kept: tuple[At, ...]
    ends: Mapping[tuple[str, str, int], At]

    def tick(self, at: At) -> int:
        """The last moment that can be chosen which is not after this one; -1 before the first."""
        return bisect_right(self.kept, at) - 1

    def ticks(self, row: Row) -> tuple[int, int]:
        """From which tick on something is there, and from which on no longer."""
        since = self.first_from((row["since_ns"], row["log"], row["since_n"]))
        if row["until_n"] is not None:
            return since, self.first_from((row["until_ns"], row["log"], row["until_n"]))

        end = self.ends.get((row["log"], row["machine"], row["start"]))

        return since, NEVER if end is None else self.first_from(end)

    def first_from(self, at: At) -> int:
        """The first moment that can be chosen which is not before this one."""
        place = bisect_right(self.kept, at)

        return place - 1 if place and self.kept[place - 1] == at else place

    def facts(self, history: History) -> list[dict[str, Any]]:
        """Each as a page has it: `at` on the time axis, `say` in words."""
        return [
            {"at": history.axis.place(wall), "say": f"record {n}, {readable_time(wall)}"}
            for wall, _, n in self.kept
        ]


def find_moments(history: History) -> Moments:
    """The moments of what is drawn of a log."""
    found: set[At] = set()
    starts: dict[tuple[str, str], dict[int, At]] = {}
    for row in _rows(history):
        at = row["since_ns"], row["log"], row["since_n"]
        found.add(at)
        if row["until_n"] is not None:
            found.add((row["until_ns"], row["log"], row["until_n"]))

        by_start = starts.setdefault((row["log"], row["machine"]), {})
        by_start[row["start"]] = min(by_start.get(row["start"], at), at)

    ends = {
        (*machine, start): by_start[following]
        for machine, by_start in starts.items()
        for start, following in zip(sorted(by_start), sorted(by_start)[1:], strict=False)
    }
    moments = sorted(found)
    every = -(-len(moments) // MOST) or 1
    kept = [it for place, it in enumerate(moments) if not place % every or it == moments[-1]]

    return Moments(tuple(moments), tuple(kept), ends)


def _rows(history: History) -> Iterable[Row]:
    yield from history.jumps
    for shares in (history.tenures, history.still, history.busy):
        for part in shares.values():
            yield from part.rows
