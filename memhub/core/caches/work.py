"""One access as it is planned: what it has changed so far, over caches that stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.core.caches.change import Arrival, CacheChange, Turn
from memhub.core.caches.draws import draw_number
from memhub.core.caches.evicting import Victims
from memhub.core.caches.lines import clean_line, runs_of
from memhub.core.caches.overtaking import add_overtaking
from memhub.core.caches.written import Written
from memhub.core.instant import make_tuple
from memhub.core.memory.physical import NeedsDevice

if TYPE_CHECKING:
    from memhub.abi import Buffer as Bytes
    from memhub.core.caches.change import Buffers, Cause, HazardKey
    from memhub.core.caches.hazards import Hazard
    from memhub.core.caches.lines import Buffer, Line, Stores
    from memhub.core.caches.state import Caches
    from memhub.core.files import Principal

_UNSEEN: Final[Any] = object()


class Work:
    """What one access does to caches.

    Args:
        caches: the caches; they do not change here.
        recorded: whether the change may be taken back, so that what was before is kept.

    Attributes:
        caches: the caches.
        lines: the lines that changed, by number; None is no line any more.
        buffers: the buffers of processes whose buffers changed.
        hazards: those that it met, before (None) and after.
        posted: the write-backs that no fence has completed; replaced, and not changed in place.
        order: the number of the last store.
        overtakings: what the bus saw too early, the newest last; replaced likewise.
        record: the number of the log's next record, or None.
    """

    __slots__ = (
        "_arrivals",
        "_count",
        "_draws",
        "_recorded",
        "_victims",
        "_writes",
        "_written",
        "buffers",
        "caches",
        "hazards",
        "lines",
        "order",
        "overtakings",
        "posted",
        "record",
    )

    def __init__(self, caches: Caches, *, recorded: bool) -> None:
        self.caches = caches
        self.lines: dict[int, Line | None] = {}
        self.buffers: Buffers = {}
        self._draws, self.order = caches.turn
        self.record = caches.next_record()
        self._recorded = recorded
        self._count = len(caches.lines)
        self._victims: Victims | None = None
        self._writes: list[tuple[int, Bytes, bytes]] = []
        self._written: Written | None = None
        self._arrivals: list[Arrival] = []
        self.hazards: dict[HazardKey, tuple[Hazard | None, Hazard]] = {}
        self.overtakings = caches.overtakings
        self.posted = caches.posted

    def finish(self) -> CacheChange | None:
        """All that it changes, or None where that is nothing."""
        caches = self.caches
        turn = make_tuple(Turn, (self._draws, self.order))
        changed = bool(self.lines or self.buffers or self._writes or self.hazards)
        changed = changed or self.posted is not caches.posted
        if not changed and turn == caches.turn and self.overtakings is caches.overtakings:
            return None

        lines_before: dict[int, Line | None] = {}
        buffers_before = {it: caches.buffers.get(it, {}) for it in self.buffers}
        writes = self._writes
        if self._recorded:
            held = caches.lines
            lines_before = {number: held.get(number) for number in self.lines}
            writes = [(it, data, self._bus_bytes(it, len(data))) for it, data, _ in writes]

        return make_tuple(
            CacheChange,
            (
                self.lines,
                lines_before,
                self.buffers,
                buffers_before,
                (caches.turn, turn),
                (caches.overtakings, self.overtakings),
                (caches.posted, self.posted),
                self.hazards,
                tuple(writes),
                tuple(self._arrivals),
            ),
        )

    def draw(self, below: int) -> int:
        """The next number of the generator, from 0 on and below `below`."""
        self._draws, number = draw_number(self._draws)

        return number * below >> 64

    # The bus

    def read_bus(self, address: int, length: int) -> bytes:
        """What the bus sees, with what this access has written so far."""
        data = self._bus_bytes(address, length)
        if not self._writes:
            return data

        if self._written is None:
            self._written = Written(self._writes)

        return self._written.put_over(data, address)

    def write_bus(self, address: int, data: Bytes, who: Principal | None, order: int) -> None:
        """Let the bus see bytes, which a store of a process wrote."""
        self._writes.append((address, data, b""))
        waits = self.buffers or self.caches.buffers
        if waits and who is not None:
            self._overtake(address, address + len(data), who.id, order)

    def _bus_bytes(self, address: int, length: int) -> bytes:
        try:
            return self.caches.memory.read(address, length)
        except NeedsDevice:
            return b"\xff" * length  # hidden by a device that was mapped over it

    def tell_arrival(self, address: int, length: int, cause: Cause) -> None:
        """Note, where that is asked for, that a line or a buffer reached the bus."""
        if self.caches.limits.logged:
            self._arrivals.append(Arrival(address, length, cause))

    def tell_arrivals(self, address: int, length: int, cause: Cause) -> None:
        """The same of whole lines that follow each other."""
        size = self.caches.limits.line_size
        if self.caches.limits.logged:
            for at in range(address, address + length, size):
                self._arrivals.append(Arrival(at, size, cause))

    # Lines

    def line(self, number: int) -> Line | None:
        """The line of a number, or None where none is cached."""
        found = self.lines.get(number, _UNSEEN)

        return self.caches.lines.get(number) if found is _UNSEEN else found

    def numbers_between(self, first: int, last: int) -> list[int]:
        """The numbers of the lines from `first` to `last`, inclusive, ascending."""
        found = self.caches.numbers_between(first, last)
        if not self.lines:
            return found

        changed, held = self.lines, self.caches.lines
        kept = [it for it in found if changed.get(it, _UNSEEN) is not None]
        near = changed if last - first >= len(changed) else range(first, last + 1)
        new = [it for it in near if first <= it <= last and it not in held and changed.get(it)]

        return sorted(kept + new) if new else kept

    def lines_between(self, first: int, last: int) -> list[tuple[int, Line]]:
        """The lines from `first` to `last`, inclusive, with their numbers, ascending."""
        if first == last:
            line = self.line(first)
            return [] if line is None else [(first, line)]

        held, changed = self.caches.lines, self.lines
        if not changed:
            return [(number, held[number]) for number in self.caches.numbers_between(first, last)]

        return [(it, changed.get(it) or held[it]) for it in self.numbers_between(first, last)]

    def marked_between(self, first: int, last: int, code: int) -> list[tuple[int, Line]]:
        """Of the lines of `lines_between`, those that the bus differs from or has another type."""
        caches = self.caches
        if self.lines or caches.codes[code] < len(caches.lines):
            found = self.lines_between(first, last)
            return [it for it in found if it[1].dirty or it[1].under or it[1].code != code]

        held, marked = caches.lines, caches.marked
        near = sorted(marked) if last - first >= len(marked) else range(first, last + 1)

        return [(it, held[it]) for it in near if first <= it <= last and it in marked]

    def put_line(self, number: int, line: Line) -> None:
        """Keep a line; another is evicted where the cache is full."""
        if self.line(number) is None:
            if self._count >= self.caches.limits.lines:
                self._evict_lines(1)

            self._count += 1

        self.lines[number] = line

    def put_lines(self, lines: dict[int, Line]) -> None:
        """Keep many lines at once, none of which is cached, at most as many as there is room."""
        excess = self._count + len(lines) - self.caches.limits.lines
        if excess > 0:
            self._evict_lines(excess)

        self._count += len(lines)
        self.lines.update(lines)

    def fill_line(self, number: int, code: int) -> Line:
        """A line as the bus has it; it is not kept yet."""
        data = self.read_bus(number << self.caches.shift, self.caches.limits.line_size)

        return clean_line(data, code, self.record)

    def _evict_lines(self, count: int) -> None:
        numbers = self.caches.numbers
        first = self.draw(len(numbers)) if numbers else 0
        if count == 1 and numbers and numbers[first] not in self.lines:  # so it is most often
            victims = [numbers[first]]
        else:
            self._victims = self._victims or Victims(numbers, self.lines)
            victims = self._victims.choose(first, count, self.draw)

        self.drop_lines(victims, "evicted")

    def drop_lines(self, numbers: list[int], cause: Cause) -> None:
        """Write the dirty ones of some lines back, and keep none of them."""
        self.write_back(numbers, cause)
        self.forget_lines(numbers)

    def forget_lines(self, numbers: list[int]) -> None:
        """Keep none of some lines, and write nothing back."""
        self._count -= len(numbers)
        held, changed = self.caches.lines, self.lines
        for number in numbers:
            if number in held:
                changed[number] = None
            else:  # it was there during this access alone
                del changed[number]

    def write_back(self, numbers: list[int], cause: Cause) -> None:
        """Let the bus see those of some lines that are dirty, ascending; they stay as they are.

        A line reaches the bus whole: over what the bus has written under it, too. Whole lines that
        follow each other reach the bus as one piece.
        """
        whole, shift = (1 << self.caches.limits.line_size) - 1, self.caches.shift
        run: list[Line] = []
        start = 0
        for number in numbers:
            line = self.line(number)
            if line is None or not line.dirty:
                continue

            if run and (line.dirty != whole or number != start + len(run)):
                self._write_run(start << shift, run, cause)
                run = []

            if line.dirty == whole:
                start = start if run else number
                run.append(line)
            else:
                self._write_dirty(number << shift, line, cause)

        if run:
            self._write_run(start << shift, run, cause)

    def _write_run(self, address: int, run: list[Line], cause: Cause) -> None:
        data = b"".join([line.data for line in run])
        self.write_bus(address, data, None, 0)
        self.tell_arrivals(address, len(data), cause)
        if self.buffers or self.caches.buffers:
            size = self.caches.limits.line_size
            for index, line in enumerate(run):
                self._overtake_with(address + size * index, line.stores)

    def _write_dirty(self, address: int, line: Line, cause: Cause) -> None:
        mask = line.dirty | line.under  # of the others, the bus has the same
        self._write_masked(address, line.data, mask, cause)
        if self.buffers or self.caches.buffers:
            self._overtake_with(address, line.stores)

    def _write_masked(self, address: int, data: bytes, mask: int, cause: Cause) -> None:
        runs = runs_of(mask)
        for low, high in runs:
            self.write_bus(address + low, data[low:high], None, 0)

        first, end = runs[0][0], runs[-1][1]
        self.tell_arrival(address + first, end - first, cause)

    # Buffers

    def buffers_of(self, process: int) -> dict[int, Buffer]:
        """The combining buffers of a process, to be changed in place."""
        found = self.buffers.get(process)
        if found is None:
            found = self.buffers[process] = dict(self.caches.buffers.get(process, ()))

        return found

    def look_at_buffers(self, process: int) -> dict[int, Buffer]:
        """The combining buffers of a process, to be looked at only."""
        found = self.buffers.get(process)

        return self.caches.buffers.get(process, {}) if found is None else found

    def all_buffers(self) -> dict[int, dict[int, Buffer]]:
        """The combining buffers of all processes, to be looked at only."""
        return {**self.caches.buffers, **self.buffers} if self.buffers else self.caches.buffers

    def drain_buffer(self, process: int, number: int, cause: Cause) -> None:
        """Let the bus see one buffer."""
        held = self.buffers_of(process)
        data, mask, _, stores = held.pop(number)
        address = number << self.caches.shift
        self._write_masked(address, data, mask, cause)
        if held:
            self._overtake_with(address, stores)
        else:
            self.overtakings = tuple(it for it in self.overtakings if it.process != process)

    def drain_buffers(self, process: int, cause: Cause) -> None:
        """Let the bus see all buffers of a process, in an order that the generator draws."""
        left = sorted(self.look_at_buffers(process))
        while left:
            self.drain_buffer(process, left.pop(self.draw(len(left))), cause)

    def _overtake_with(self, address: int, stores: Stores) -> None:
        """Note those of the stores of a line or a buffer that overtake as they reach the bus."""
        for mask, who, order, _ in stores:
            if who is not None:
                for low, high in runs_of(mask):
                    self._overtake(address + low, address + high, who.id, order)

    def _overtake(self, base: int, end: int, process: int, order: int) -> None:
        held = self.look_at_buffers(process)
        if held:
            self.overtakings = add_overtaking(self.overtakings, held, (base, end), process, order)
