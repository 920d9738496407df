"""An independent model of memory that is not coherent: dictionaries of bytes.

It knows what each byte is worth to each process and to the bus. Which lines and buffers the
hardware evicts is nobody's promise, so the model is told where bytes are after each step, never
what they are, and it refuses a place that nothing allows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from caches.seen_caches import Seen
    from memhub.core.caches.change import HazardKey

PAGE = 4096


@dataclass
class CacheModel:
    """What memory is worth.

    Attributes:
        seen: where the machine has bytes.
        snoops: whether the bus finds dirty lines.
        types: the type of each page; write-back elsewhere.
        truth: what memory would hold if it were coherent.
        wrote: the process that stored each byte last.
    """

    seen: Seen
    snoops: bool
    types: dict[int, str] = field(default_factory=dict)
    bus: dict[int, int] = field(default_factory=dict)
    lines: dict[int, dict[int, int]] = field(default_factory=dict)
    dirty: set[int] = field(default_factory=set)
    pending: dict[int, dict[int, int]] = field(default_factory=dict)
    asked: dict[int, set[int]] = field(default_factory=dict)
    truth: dict[int, int] = field(default_factory=dict)
    wrote: dict[int, int] = field(default_factory=dict)

    def type_at(self, address: int) -> str:
        return self.types.get(address // PAGE, "WB")

    # What processes do

    def store(self, process: int, base: int, data: bytes) -> None:
        new, span = dict(enumerate(data, base)), range(base, base + len(data))
        kinds = {at: self.type_at(at) for at in new}
        self.truth.update(new)
        self.wrote.update(dict.fromkeys(new, process))
        for asked in self.asked.values():  # the store comes after the write-back
            asked -= {it for it in self._starts(span) if self.type_at(it) in ("WB", "WT")}

        combined = {at: byte for at, byte in new.items() if kinds[at] == "WC"}
        cached = {at: byte for at, byte in new.items() if kinds[at] in ("WB", "WT")}
        straight = {at: byte for at, byte in new.items() if kinds[at] in ("UC", "WT", "WP")}
        if combined or "UC" in kinds.values():
            self._settle_buffers(process, combined)

        for at in new:
            if kinds[at] == "WP":
                self._forget_line(at - at % self.seen.size)

        self._settle_lines(cached, {at for at in cached if kinds[at] == "WB"}, span)
        self.bus.update(straight)
        self._check(span)

    def load(self, process: int, base: int, length: int) -> list[set[int]]:
        """What each byte may be: of a clean line, old or new where many lines are read at once."""
        span = range(base, base + length)
        kinds = {at: self.type_at(at) for at in span}
        before = {base: dict(line) for base, line in self.lines.items()}
        held, dirty = dict(self.pending.get(process, {})), set(self.dirty)
        many = len(self._starts(span)) > 1
        if {"WC", "UC"} & set(kinds.values()):
            self._settle_buffers(process, {})

        self._settle_lines({}, set(), {at for at in span if kinds[at] in ("WB", "WT", "WP")})
        self._check(span)
        found: list[set[int]] = []
        for at in span:
            start, kind = at - at % self.seen.size, kinds[at]
            if kind in ("WB", "WT", "WP") and start in before:
                again = {self.bus.get(at, 0)} if many and at not in dirty else set()
                found.append({before[start][at]} | again)
            elif kind == "WC" and at in held:
                found.append({held[at]})
            else:
                found.append({self.bus.get(at, 0)})

        return found

    def flush(self, process: int, base: int, length: int, *, keep: bool) -> None:
        self._settle_lines({}, set(), ())
        for start in self._starts(range(base, base + length)):
            assert keep or start not in self.lines
            if not self.dirty & set(range(start, start + self.seen.size)):
                continue

            assert keep, "clflush waits for nothing"
            assert not self.snoops, "only a blind bus waits for the fence"
            self.asked.setdefault(process, set()).add(start)

        self._check(range(base, base + length))

    def fence(self, process: int) -> None:
        self._settle_buffers(process, {})
        assert not self.pending.get(process)
        self._settle_lines({}, set(), ())
        for start in self.asked.pop(process, set()):
            assert not self.dirty & set(range(start, start + self.seen.size)), "the fence came"
            self._check(range(start, start + self.seen.size))

    # What the bus does

    def bus_read(self, base: int, length: int) -> bytes:
        span = range(base, base + length)
        if self.snoops:
            self._settle_lines({}, set(), ())
            assert not self.dirty & set(span)

        self._check(span)

        return bytes(self.bus.get(at, 0) for at in span)

    def bus_write(self, base: int, data: bytes) -> None:
        for at, byte in enumerate(data, base):
            self.bus[at] = self.truth[at] = byte
            start = at - at % self.seen.size
            if self.snoops and start in self.lines:
                self.lines[start][at] = byte
                self.dirty.discard(at)

        self._check(range(base, base + len(data)))

    def flush_all(self) -> None:
        held = [dict(it) for it in self.pending.values()]
        for process in list(self.pending):
            self._settle_buffers(process, {})

        for at in {at for one in held for at in one}:  # of several processes, any may be last
            last = self.seen.bus(at, 1)[0]
            assert last in {one[at] for one in held if at in one}
            self.bus[at] = last

        self._settle_lines({}, set(), ())
        assert not self.lines
        assert not any(self.pending.values())

    def load_memory(self, contents: Mapping[int, bytes], *, clear: bool) -> None:
        """Bytes from outside: everybody sees them, and nothing older is left anywhere."""
        given = {base + at: byte for base, data in contents.items() for at, byte in enumerate(data)}
        if clear:
            held = [self.bus, *self.lines.values(), *self.pending.values()]
            given = {**dict.fromkeys((at for one in held for at in one), 0), **given}
            self.truth.clear()

        self.bus.update(given)
        self.truth.update(given)
        self.dirty -= given.keys()
        for line in self.lines.values():
            line.update({at: given[at] for at in line.keys() & given.keys()})

        for held_bytes in self.pending.values():
            for at in held_bytes.keys() & given.keys():
                del held_bytes[at]

        self.check_all()

    def change_type(self, page: int, kind: str) -> None:
        self.flush_all()
        self.types[page] = kind

    def check_named(self, base: int, data: bytes) -> None:
        """What was seen is what coherent memory would hold, or a hazard names its line."""
        wrong = [at for at, byte in enumerate(data, base) if byte != self.truth.get(at, 0)]
        named = self.seen.named() if wrong else None
        if named is not None:
            missed = [f"{at:#x}" for at in wrong if at - at % self.seen.size not in named]
            assert not missed, f"no hazard names what was seen at {', '.join(missed)}"

    def check_writers(self, name: str, known: Collection[HazardKey]) -> None:
        """Hazards of a name that were not known name who stored their bytes."""
        for key, hazard in self.seen.hazards().items():
            if key[0] == name and key not in known:
                span = range(hazard.address, hazard.address + hazard.length)
                assert {self.wrote[at] for at in span} == {hazard.process_id}, f"{hazard}"

    # Where bytes went

    def _starts(self, span: Iterable[int]) -> set[int]:
        size = self.seen.size
        if isinstance(span, range):
            return set(range(span.start - span.start % size, span.stop, size))

        return {at - at % size for at in span}

    def _settle_buffers(self, process: int, new: Mapping[int, int]) -> None:
        old, real = self.pending.get(process, {}), self.seen.buffered(process)
        assert set(real) <= set(old) | set(new), "a buffer has bytes that nobody stored"
        for at in {*old, *new}:
            newest = new.get(at, old.get(at))
            assert newest is not None
            if at not in real:
                self.bus[at] = newest
            elif at in new and at in old and self._has(at, old[at]):
                self.bus[at] = old[at]  # its buffer was evicted before the new byte came

        self.pending[process] = {at: new.get(at, old.get(at, 0)) for at in real}
        assert self.pending[process] == real

    def _has(self, at: int, byte: int) -> bool:
        return self.seen.bus(at, 1)[0] == byte

    def _forget_line(self, start: int) -> None:
        line = self.lines.pop(start, {})
        if self.dirty & line.keys():  # a line reaches the bus whole
            self.bus.update(line)
            self.dirty -= line.keys()

    def _settle_lines(
        self, new: Mapping[int, int], dirtied: set[int], touched: Iterable[int]
    ) -> None:
        starts = self._starts(touched)
        real = self.seen.resident()
        assert real <= set(self.lines) | starts, "a line is cached that nobody accessed"
        for start in set(self.lines) | starts:
            if start in starts or not self._is_as_before(start):
                self._settle_line(start, new, dirtied, many=len(starts) > 1)

    def _is_as_before(self, start: int) -> bool:
        """Whether a line is cached as it was: nothing follows from one that nobody touched."""
        real = self.seen.line(start)
        if real is None or real[0] != bytes(self.lines[start].values()):
            return False

        dirty = self.dirty.intersection(range(start, start + self.seen.size))

        return real[1] == sum([1 << at - start for at in dirty])

    def _settle_line(
        self, start: int, new: Mapping[int, int], dirtied: set[int], *, many: bool
    ) -> None:
        old, real = self.lines.get(start), self.seen.line(start)
        span = range(start, start + self.seen.size)
        here, mask = set(span), 0 if real is None else real[1]
        now = {at for at in span if mask >> at - start & 1} if mask else set()
        was = (here & self.dirty) - new.keys() | here & dirtied
        assert now <= was, f"{sorted(now - was)} are dirty, and no store made them so"
        if old is not None and self._was_evicted(span, old, new, dirtied, now):
            self.bus.update(old)  # whole, before the new bytes came

        values = {at: self.bus.get(at, 0) for at in span} if old is None else dict(old)
        if real is not None and many:
            for at, byte in zip(span, real[0], strict=True):
                if at not in was and self.bus.get(at, 0) == byte:
                    values[at] = byte  # evicted and fetched again

        values.update((at, new[at]) for at in span if at in new)
        if dirtied & here - now:
            self.bus.update(values)  # whole, with the new bytes

        self.dirty = self.dirty - here | now
        if real is None:
            self.lines.pop(start, None)
        else:
            self.lines[start] = values
            assert bytes(values.values()) == real[0], f"the line at {start:#x}"

    def _was_evicted(
        self,
        span: range,
        old: Mapping[int, int],
        new: Mapping[int, int],
        dirtied: set[int],
        now: set[int],
    ) -> bool:
        """Whether a dirty line reached the bus before the new bytes came."""
        held = self.dirty & set(span)
        if not held or held - new.keys():
            return bool(held - new.keys() - now)

        # All that was dirty is stored to anew: the bus tells, but where the store passes it by.
        kept = [at for at in span if at not in new or at in dirtied]

        return all(self._has(at, old[at]) for at in kept)

    def _check(self, span: Iterable[int]) -> None:
        size, known = self.seen.size, self.bus.get
        for start in self._starts(span):
            line = bytes([known(at, 0) for at in range(start, start + size)])
            assert self.seen.bus(start, size) == line, f"the bus at {start:#x}"

    def check_all(self) -> None:
        """Compare everything that was ever touched."""
        self._check(self.bus)
        assert self.seen.resident() == set(self.lines)
        for start, values in self.lines.items():
            mask = sum(1 << at - start for at in values if at in self.dirty)
            assert self.seen.line(start) == (bytes(values.values()), mask)

        for process, held in self.pending.items():
            assert self.seen.buffered(process) == held

        self.seen.check_stores()
