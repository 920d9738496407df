"""What the bus does: reads and writes of a device, and what lets it see everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.core.caches.lines import mask_of, runs_of
from memhub.core.caches.posted import (
    clean_lines,
    fence_lines,
    forget_posted,
    is_waiting,
    post_lines,
    tell_unfenced,
)
from memhub.core.caches.stores import add_store, drop_bytes, runs_beside, runs_by_writer
from memhub.core.caches.telling import buffered_in, tell_hazard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.abi import Buffer as Bytes
    from memhub.core.caches.lines import Line, Stores
    from memhub.core.caches.work import Work
    from memhub.core.effective.typemap import TypeMap
    from memhub.core.files import Principal


def read_as_device(work: Work, address: int, length: int) -> bytes:
    """What the bus reads: on a snooping bus, dirty lines are written back first."""
    _tell_order(work, address, length)
    _tell_read(work, address, length)
    if work.posted:
        tell_unfenced(work, address, length, "read")

    lines = [it for it in _lines_in(work, address, length) if it[1].dirty & it[2]]
    if work.caches.snoops:
        clean_lines(work, [number for number, _, _ in lines], "snooped")
        return work.read_bus(address, length)

    for number, line, mask in lines:
        if not is_waiting(work, number):  # what that lacks is told above
            for low, high, who, since in runs_by_writer(line.stores, mask):
                what = f"the bus read {high - low} bytes that {_name(who)} has written since"
                at = (number << work.caches.shift) + low
                tell_hazard(work, "stale-bus-read", at, high - low, who, since, what)

    return work.read_bus(address, length)


def write_as_device(work: Work, address: int, data: Bytes) -> None:
    """What the bus writes: on a snooping bus, lines have it too."""
    shift = work.caches.shift
    _tell_write(work, address, len(data))
    if work.posted:
        tell_unfenced(work, address, len(data), "wrote")

    for number, line, mask in list(_lines_in(work, address, len(data))):
        base = number << shift
        if work.caches.snoops:
            low, high = max(address, base), min(address + len(data), base + len(line.data))
            part = data[low - address : high - address]
            merged = b"".join((line.data[: low - base], part, line.data[high - base :]))
            dirty, stores = line.dirty & ~mask, drop_bytes(line.stores, mask)
            work.lines[number] = line._replace(data=merged, dirty=dirty, stores=stores)
            continue

        newer = add_store(line.newer, mask, None, 0, work.record)
        work.lines[number] = line._replace(under=line.under | mask, newer=newer)
        if not line.dirty or is_waiting(work, number):  # what that lacks is told above
            continue

        for low, high, who, since in runs_beside(line.stores, mask):
            what = f"the bus wrote {high - low} bytes under a dirty line of {_name(who)}"
            tell_hazard(work, "hidden-dma-write", base + low, high - low, who, since, what)

    work.write_bus(address, data, None, 0)


def flush_span(work: Work, who: Principal, address: int, length: int, *, keep: bool) -> None:
    """Let the bus see the lines of a span: clwb, which the next fence completes, or clflush."""
    if not length:
        return

    shift = work.caches.shift
    first, last = address >> shift, address + length - 1 >> shift
    if keep:
        post_lines(work, who, first, last)
        return

    numbers = work.numbers_between(first, last)
    work.drop_lines(numbers, "flushed")
    if work.posted:
        forget_posted(work, numbers)


def flush_everything(work: Work) -> None:
    """Let the bus see every line and every buffer, and keep none: wbinvd on every CPU."""
    for process in sorted(work.all_buffers()):
        work.drain_buffers(process, "flushed")

    work.drop_lines(list(work.caches.numbers), "flushed")
    if work.posted:
        work.posted = {}


def end_process(work: Work, who: Principal) -> None:
    """Drain the buffers of a process that ends, as the switch to another does."""
    tell_undrained(work, who, "ended without a fence")
    work.drain_buffers(who.id, "fence")
    fence_lines(work, who.id)


def tell_undrained(work: Work, who: Principal, what: str) -> None:
    """Note the buffers of a process that are not drained; `what` says what it has done."""
    for number, buffer in sorted(work.look_at_buffers(who.id).items()):
        runs = runs_by_writer(buffer.stores, -1)
        low, high, _, since = runs[0]
        at, told = (number << work.caches.shift) + low, f"{who.name} {what}"
        if len(runs) > 1:
            told += f" of {buffer.mask.bit_count()} bytes of the line, in {len(runs)} stretches"

        tell_hazard(work, "undrained-buffers", at, high - low, who, since, told)


def tell_forgotten(work: Work, before: TypeMap, after: TypeMap) -> None:
    """Note what a change of types should have flushed: dirty bytes whose type is another then.

    Args:
        work: the request that changes them.
        before: the effective types.
        after: the same after it.
    """
    what = "the type was changed while"
    for number in sorted(work.caches.marked):
        line = work.line(number)
        if line is not None:
            held = f"{what} a line of {{}} was dirty"
            _tell_changed(work, before, after, number, line.stores, held)

    for buffers in work.all_buffers().values():
        for number, buffer in sorted(buffers.items()):
            held = f"{what} a buffer of {{}} held bytes of it"
            _tell_changed(work, before, after, number, buffer.stores, held)


def _tell_changed(
    work: Work,
    before: TypeMap,
    after: TypeMap,
    number: int,
    stores: Stores,
    what: str,
) -> None:
    base = number << work.caches.shift
    for low, high, who, since in runs_by_writer(stores, -1):
        at = before.first_difference(after, base + low, base + high)
        if at is not None:
            told = what.format(_name(who))
            tell_hazard(work, "unflushed-change", at, base + high - at, who, since, told)


def _lines_in(work: Work, address: int, length: int) -> Iterator[tuple[int, Line, int]]:
    """The lines of a span, and which of their bytes lie in it."""
    limits = work.caches.limits
    if not length:
        return

    shift = work.caches.shift
    for number, line in work.lines_between(address >> shift, address + length - 1 >> shift):
        base = number << shift
        low = max(address - base, 0)
        yield number, line, mask_of(low, min(address + length - base, limits.line_size))


def _tell_read(work: Work, address: int, length: int) -> None:
    for buffer, at, size, since in buffered_in(work, address, length):
        what = f"the bus read {size} bytes that {buffer.who.name} combines"
        tell_hazard(work, "undrained-read", at, size, buffer.who, since, what)


def _tell_write(work: Work, address: int, length: int) -> None:
    for buffer, at, size, since in buffered_in(work, address, length):
        what = f"the bus wrote {size} bytes that {buffer.who.name} combines, and will overwrite"
        tell_hazard(work, "hidden-dma-write", at, size, buffer.who, since, what)


def _tell_order(work: Work, address: int, length: int) -> None:
    """Note where the bus reads a later store while an earlier one is in a buffer."""
    for seen in work.overtakings:
        if max(seen.base, address) < min(seen.end, address + length):
            _tell_overtaken(work, seen.process, seen.order, max(seen.base, address))

    if not (work.caches.snoops and work.all_buffers()):
        return

    for number, line, mask in _lines_in(work, address, length):
        for store in line.stores:
            if store.mask & mask and store.who is not None:
                first, _ = runs_of(store.mask & mask)[0]
                at = (number << work.caches.shift) + first
                _tell_overtaken(work, store.who.id, store.order, at)


def _tell_overtaken(work: Work, process: int, order: int, seen: int) -> None:
    for number, buffer in sorted(work.look_at_buffers(process).items()):
        earlier = tuple(it for it in buffer.stores if it.order < order)
        if earlier:
            low, high, who, since = runs_by_writer(earlier, -1)[0]
            at = (number << work.caches.shift) + low
            what = f"the bus read a later store at {seen:#x} while this one was in a buffer"
            tell_hazard(work, "unordered-stores", at, high - low, who, since, what)


def _name(who: Principal | None) -> str:
    return "a process" if who is None else who.name
