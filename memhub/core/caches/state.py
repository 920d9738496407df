"""The caches and combining buffers of one machine, as a value."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memhub.core.caches.change import Turn
from memhub.core.caches.content import CachesContent
from memhub.core.effective.typemap import TYPE_OF_CODE
from memhub.core.memory.physical import NeedsDevice

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.abi import Buffer as Bytes
    from memhub.core.cache_limits import CacheLimits
    from memhub.core.caches.change import Buffers, CacheChange, HazardKey, Overtaking, Posted
    from memhub.core.caches.hazards import Hazard
    from memhub.core.caches.lines import Line
    from memhub.core.effective.typemap import TypeMap
    from memhub.core.memory.physical import PhysicalMemory
    from memhub.core.memory.physmap import Window
    from memhub.core.ranges.range_table import RangeTable
    from memhub.core.served import Served


class Stretch(NamedTuple):
    """A stretch of addresses whose memory acts alike, as long as nothing else becomes true.

    Attributes:
        types: the map of effective types of which it was made; None where there is none.
        windows: the devices in the address space that were looked at.
        low: first byte.
        high: one past the last.
        code: the memory type as it acts.
    """

    types: TypeMap | None
    windows: tuple[Window, ...]
    low: int
    high: int
    code: int


#: No address is in it.
_NOWHERE: Final = Stretch(None, (), 0, 0, 0)

#: From so many changed lines on, the order of the lines is made anew.
_MANY: Final = 16


class Caches:
    """One cache of lines that all CPUs share, and the combining buffers of each process.

    The physical memory is what the bus sees. Planning reads this state; `apply` and `revert`
    change it.

    Args:
        limits: how large all is.
        memory: the physical memory.
        table: the range table, or None where the machine has none: then all memory is write-back.
        served: the machine's kernel, where that is another than FreeBSD; it numbers the registers.
        snoops: whether the bus finds dirty lines, and what it writes reaches lines.

    Attributes:
        lines: the lines by number, that is, by address divided by their size.
        numbers: those numbers, ascending.
        marked: the numbers of those that the bus differs from.
        codes: how many lines were cached with each type.
        buffers: by process and line.
        turn: the counters.
        overtakings: what the bus saw too early, the newest last.
        posted: by process, the write-backs that no fence has completed.
        hazards: the hazards met, the oldest first.
        shift: how many bits of an address say the place in a line.
        next_record: the number of the log's next record; None where there is no log. It is no
            part of the value.
        stretch: where the last access was. It is no part of the value either.
    """

    __slots__ = (
        "buffers",
        "codes",
        "hazards",
        "limits",
        "lines",
        "marked",
        "memory",
        "next_record",
        "numbers",
        "overtakings",
        "posted",
        "served",
        "shift",
        "snoops",
        "stretch",
        "table",
        "turn",
    )

    def __init__(
        self,
        limits: CacheLimits,
        memory: PhysicalMemory,
        table: RangeTable | None,
        served: Served | None,
        *,
        snoops: bool,
    ) -> None:
        self.limits, self.shift = limits, limits.shift
        self.memory = memory
        self.table = table
        self.served = served
        self.snoops = snoops
        self.lines: dict[int, Line] = {}
        self.numbers: list[int] = []
        self.marked: set[int] = set()
        self.codes = [0] * len(TYPE_OF_CODE)
        self.buffers: Buffers = {}
        self.turn = Turn(limits.seed, 0)
        self.overtakings: tuple[Overtaking, ...] = ()
        self.posted: Mapping[int, Posted] = {}
        self.hazards: dict[HazardKey, Hazard] = {}
        self.next_record: Callable[[], int | None] = _no_record
        self.stretch = _NOWHERE

    def apply(self, change: CacheChange) -> None:
        """Make a change true."""
        for address, data, _ in change.writes:
            self._write_bus(address, data)

        if change.lines:
            self._set_lines(change.lines)

        if change.buffers:
            self._set_buffers(change.buffers)

        self.turn = change.turns[1]
        self.overtakings = change.overtakings[1]
        self.posted = change.posted[1]
        if change.hazards:
            self.hazards.update((key, hazard) for key, (_, hazard) in change.hazards.items())

    def revert(self, change: CacheChange) -> None:
        """Take back the change that was applied last, in both views."""
        self._set_lines(change.lines_before)
        self._set_buffers(change.buffers_before)
        for address, _, before in reversed(change.writes):
            self._write_bus(address, before)

        self.turn = change.turns[0]
        self.overtakings = change.overtakings[0]
        self.posted = change.posted[0]
        for key, (before_it, _) in change.hazards.items():
            if before_it is None:
                del self.hazards[key]
            else:
                self.hazards[key] = before_it

    def capture(self) -> CachesContent:
        """What all of them hold now."""
        return CachesContent(
            dict(self.lines),
            {who: dict(held) for who, held in self.buffers.items()},
            self.turn,
            self.overtakings,
            dict(self.posted),
            dict(self.hazards),
        )

    def put(self, content: CachesContent) -> None:
        """Hold something else."""
        self.lines, self.buffers = dict(content.lines), {}
        for process, held in content.buffers.items():
            self.buffers[process] = dict(held)

        self.turn, self.overtakings, self.posted = content.turn, content.overtakings, content.posted
        self.hazards = dict(content.hazards)
        self._derive()

    def _write_bus(self, address: int, data: Bytes) -> None:
        # A device that was mapped over cached memory hides it: those bytes are lost.
        try:  # noqa: SIM105 - every store pays for what stands here
            self.memory.write(address, data)
        except NeedsDevice:
            pass

    def _set_lines(self, lines: Any) -> None:  # noqa: ANN401 - a mapping of lines
        held, marked, codes = self.lines, self.marked, self.codes
        few = len(lines) < _MANY
        for number, line in lines.items():
            old = held.get(number)
            if old is not None:
                codes[old[3]] -= 1
                marked.discard(number)

            if line is not None:
                codes[line[3]] += 1
                if line[1] or line[2]:  # dirty, under
                    marked.add(number)

                if few and number not in held:
                    insort(self.numbers, number)

                held[number] = line
            elif held.pop(number, None) is not None and few:
                del self.numbers[bisect_left(self.numbers, number)]

        if not few:
            self.numbers = sorted(held)

    def _set_buffers(self, buffers: Buffers) -> None:
        for process, held in buffers.items():
            if held:
                self.buffers[process] = held
            else:
                self.buffers.pop(process, None)

    def numbers_between(self, first: int, last: int) -> list[int]:
        """The numbers of the lines from `first` to `last`, inclusive, ascending."""
        numbers = self.numbers

        return numbers[bisect_left(numbers, first) : bisect_left(numbers, last + 1)]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Caches):
            return NotImplemented

        return self._value() == other._value()

    __hash__ = None  # type: ignore[assignment]

    def _value(self) -> tuple[Any, ...]:
        state = (self.turn, self.overtakings, self.hazards, dict(self.posted))

        return (self.limits, self.snoops, self.lines, self.buffers, *state)

    def __getstate__(self) -> tuple[Any, ...]:
        return (*self._value(), self.memory, self.table, self.served)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.limits, self.snoops, self.lines, self.buffers = state[:4]
        self.turn, self.overtakings, self.hazards, self.posted = state[4:8]
        self.memory, self.table, self.served = state[8:]
        self.shift = self.limits.shift
        self._derive()
        self.next_record = _no_record
        self.stretch = _NOWHERE

    def _derive(self) -> None:
        """Make anew what follows from the lines."""
        self.numbers = sorted(self.lines)
        self.marked = {it for it, line in self.lines.items() if line.dirty or line.under}
        self.codes = [0] * len(TYPE_OF_CODE)
        for line in self.lines.values():
            self.codes[line.code] += 1


def _no_record() -> int | None:
    return None
