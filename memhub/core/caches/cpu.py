"""What a CPU's loads and stores do, for each memory type.

mem(4) says of the attributes: write-through is "committed synchronously", write-back "committed
asynchronously", write-combine "may be combined or performed out of order", and write-protect
memory "cannot be written to". Loads that fill lines, the uncacheable access that drains buffers,
and the fence are those of Intel's SDM, volume 3, chapters 9 and 12.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.core.caches.lines import Buffer, Line, Store, clean_line, mask_of
from memhub.core.caches.posted import complete_lines
from memhub.core.caches.stores import add_store, drop_bytes
from memhub.core.caches.stretches import UC, WB, WC, WP, WT, stretches_of
from memhub.core.caches.telling import (
    tell_buffered,
    tell_cached,
    tell_hazard,
    tell_hidden,
    tell_hidden_store,
    tell_line,
    tell_others_buffers,
)
from memhub.core.instant import make_tuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.abi import Buffer as Bytes
    from memhub.core.caches.lines import Stores
    from memhub.core.caches.work import Work
    from memhub.core.files import Principal


def load_bytes(work: Work, who: Principal, address: int, length: int) -> bytes:
    """What a process reads; the span is inside the address space, and no device answers it."""
    parts = [
        _LOADS[code](work, who, low, high, code)
        for low, high, code in stretches_of(work, address, address + length)
    ]

    return parts[0] if len(parts) == 1 else b"".join(parts)


def store_bytes(work: Work, who: Principal, address: int, data: Bytes) -> None:
    """What a process writes; the span is inside the address space, and no device takes it."""
    work.order += 1
    held = work.caches.buffers
    if held and len(held) > (who.id in held):
        tell_hidden_store(work, who, address, address + len(data))

    for low, high, code in stretches_of(work, address, address + len(data)):
        part = data if high - low == len(data) else data[low - address : high - address]
        _STORES[code](work, who, low, part, code)


# Loads


def _load_uncached(work: Work, who: Principal, low: int, high: int, code: int) -> bytes:
    work.drain_buffers(who.id, "uncached")
    tell_cached(work, who, low, high, code)
    if work.caches.buffers:
        tell_others_buffers(work, who, low, high)

    return work.read_bus(low, high - low)


def _load_combined(work: Work, who: Principal, low: int, high: int, code: int) -> bytes:
    shift = work.caches.shift
    tell_cached(work, who, low, high, code)
    for number in sorted(work.look_at_buffers(who.id)):
        if low >> shift <= number <= high - 1 >> shift:
            work.drain_buffer(who.id, number, "read")

    if work.caches.buffers:
        tell_others_buffers(work, who, low, high)

    return work.read_bus(low, high - low)


def _load_cached(work: Work, who: Principal, low: int, high: int, code: int) -> bytes:
    shift = work.caches.shift
    first, last = low >> shift, high - 1 >> shift
    if work.caches.buffers:
        tell_buffered(work, who, low, high, code)

    if first == last:
        line = work.line(first)
        if line is None:
            line = work.fill_line(first, code)
            work.put_line(first, line)
        elif line.under or line.code != code:
            tell_line(work, who, low, high, first, line, code)

        start = low - (first << shift)

        return line.data[start : start + high - low]

    return _load_lines(work, who, low, high, code)


def _load_lines(work: Work, who: Principal, low: int, high: int, code: int) -> bytes:
    limits = work.caches.limits
    shift = work.caches.shift
    first, last = low >> shift, high - 1 >> shift
    base = first << shift
    marked = work.marked_between(first, last, code)
    if last - first >= limits.lines and marked:  # what is read pushes out what is older
        work.drop_lines([it for it, line in marked if line.dirty or line.under], "evicted")
        marked = work.marked_between(first, last, code)

    data = work.read_bus(base, (last + 1 << shift) - base)
    _keep_lines(work, first, last, data, code)
    parts: list[bytes | memoryview] = []
    view, at = memoryview(data), 0
    for number, line in marked:
        if line.under or line.code != code:
            tell_line(work, who, low, high, number, line, code)

        if line.under or line.dirty:  # else the bus has the same
            place = (number << shift) - base
            if at < place:
                parts.append(view[at:place])

            parts.append(line.data)
            at = place + limits.line_size

    found = b"".join([*parts, view[at:]]) if parts else data

    return found if len(found) == high - low else found[low - base : high - base]


def _keep_lines(work: Work, first: int, last: int, data: bytes, code: int) -> None:
    """Keep the lines from `first` to `last` that are not kept yet, or the last of them."""
    size, since = work.caches.limits.line_size, work.record
    start = last + 1 - _count_kept(work, last + 1 - first)
    known = set(work.numbers_between(start, last))
    if len(known) <= last - start:
        work.put_lines(
            {
                it: clean_line(data[(it - first) * size : (it + 1 - first) * size], code, since)
                for it in range(start, last + 1)
                if it not in known
            }
        )


def _count_kept(work: Work, count: int) -> int:
    """How many of so many lines that are accessed at once stay in the cache.

    Of more than it holds, the last few; nobody is promised more.
    """
    most = work.caches.limits.lines

    return count if count <= most else max(1, most // 64)


# Stores


def _store_uncached(work: Work, who: Principal, low: int, data: Bytes, code: int) -> None:
    work.drain_buffers(who.id, "uncached")
    tell_cached(work, who, low, low + len(data), code, store=True)
    work.write_bus(low, data, who, work.order)


def _store_combined(work: Work, who: Principal, low: int, data: Bytes, code: int) -> None:
    limits = work.caches.limits
    high = low + len(data)
    tell_cached(work, who, low, high, code, store=True)
    shift, mask = work.caches.shift, limits.line_size - 1
    whole, end = low + mask & ~mask, high & ~mask
    if end - whole <= limits.line_size:
        _combine(work, who, low, data)
        return

    _combine(work, who, low, data[: whole - low])
    held = work.buffers_of(who.id)
    for number in [it for it in held if whole >> shift <= it < end >> shift]:
        del held[number]  # full with these bytes, none of which is older

    work.write_bus(whole, data[whole - low : end - low], who, work.order)
    work.tell_arrivals(whole, end - whole, "full")
    _combine(work, who, end, data[end - low :])


def _combine(work: Work, who: Principal, low: int, data: Bytes) -> None:
    limits = work.caches.limits
    shift, full = work.caches.shift, (1 << limits.line_size) - 1
    high = low + len(data)
    at = low
    while at < high:
        number = at >> shift
        base = number << shift
        end = min(high, base + limits.line_size)
        held = work.buffers_of(who.id)
        known = held.get(number)
        if known is None:
            if len(held) >= limits.buffers:
                victim = sorted(held)[work.draw(len(held))]
                work.drain_buffer(who.id, victim, "evicted")

            known = make_tuple(Buffer, (bytes(limits.line_size), 0, who, ()))

        start, stop = at - base, end - base
        part = data[at - low : end - low]
        merged = b"".join((known.data[:start], part, known.data[stop:]))
        mask, stores = known.mask | mask_of(start, stop), known.stores
        if mask != known.mask:
            new = make_tuple(Store, (mask ^ known.mask, who, work.order, work.record))
            stores = (*stores, new)

        held[number] = make_tuple(Buffer, (merged, mask, known.who, stores))
        if mask == full:
            work.drain_buffer(who.id, number, "full")

        at = end


def _store_protected(work: Work, who: Principal, low: int, data: Bytes, code: int) -> None:
    """A store that the machine allows; lines do not keep it (SDM, table 12-2)."""
    high, shift = low + len(data), work.caches.shift
    tell_hazard(
        work,
        "protected-write",
        low,
        len(data),
        who,
        work.record,
        "wrote, which this machine allows",
    )
    numbers = work.numbers_between(low >> shift, high - 1 >> shift)
    if numbers:
        tell_cached(work, who, low, high, code)
        work.drop_lines(numbers, "evicted")

    work.write_bus(low, data, who, work.order)


def _store_through(work: Work, who: Principal, low: int, data: Bytes, code: int) -> None:
    _store_cached(work, who, low, data, code)
    work.write_bus(low, data, who, work.order)


def _store_cached(work: Work, who: Principal, low: int, data: Bytes, code: int) -> None:
    limits = work.caches.limits
    shift, size = work.caches.shift, limits.line_size
    high = low + len(data)
    if work.caches.buffers:
        tell_buffered(work, who, low, high, code)

    first, last = low >> shift, high - 1 >> shift
    if work.posted:
        complete_lines(work, first, last)

    if first == last:
        _store_part(work, who, low, data, code)
        return

    whole, end = low + size - 1 >> shift, high >> shift
    if first < whole:
        _store_part(work, who, low, data[: (whole << shift) - low], code)

    if whole < end:
        _store_whole(work, who, whole, data[(whole << shift) - low : (end << shift) - low], code)

    if end <= last:
        _store_part(work, who, end << shift, data[(end << shift) - low :], code)


def _store_part(work: Work, who: Principal, low: int, data: Bytes, code: int) -> None:
    """Store into one line."""
    number = low >> work.caches.shift
    start = low - (number << work.caches.shift)
    stop = start + len(data)
    line = work.line(number)
    if line is None:
        line = work.fill_line(number, code)
    elif line.code != code:
        tell_line(work, who, low, low + len(data), number, line, code)

    old, dirty, under, before, since, stores, newer = line
    mask = mask_of(start, stop)
    if code == WT:
        dirty, stores = dirty & ~mask, drop_bytes(stores, mask) if dirty else ()
    elif not dirty & mask:
        new = make_tuple(Store, (mask, who, work.order, work.record))
        dirty, stores = dirty | mask, (*stores, new)
    else:
        dirty, stores = dirty | mask, add_store(stores, mask, who, work.order, work.record)

    if under:
        under, newer = under & ~mask, drop_bytes(newer, mask)
        if under and dirty:
            tell_hidden(work, who, number, under)

    merged = b"".join((old[:start], data, old[stop:]))
    since = since if before == code else work.record
    work.put_line(number, make_tuple(Line, (merged, dirty, under, code, since, stores, newer)))


def _store_whole(work: Work, who: Principal, first: int, data: Bytes, code: int) -> None:
    """Store whole lines: as many stay as there is room, and the rest reaches the bus at once."""
    limits = work.caches.limits
    shift, size = work.caches.shift, limits.line_size
    count = len(data) >> shift
    cached = work.lines_between(first, first + count - 1)
    for number, line in cached:
        if line.code != code:
            tell_line(work, who, number << shift, number + 1 << shift, number, line, code)

    work.forget_lines([it for it, _ in cached])
    passed = count - _count_kept(work, count)
    if passed and code != WT:
        work.write_bus(first << shift, memoryview(data)[: passed << shift], who, work.order)
        work.tell_arrivals(first << shift, passed << shift, "evicted")

    kept = bytes(data[passed << shift :])
    full, since, new = (1 << size) - 1, work.record, first + passed
    stores: Stores = (make_tuple(Store, (full, who, work.order, since)),)
    dirty, stores = (0, ()) if code == WT else (full, stores)

    work.put_lines(
        {
            new + index: make_tuple(Line, (kept[at : at + size], dirty, 0, code, since, stores, ()))
            for index, at in enumerate(range(0, len(kept), size))
        }
    )


_LOADS: Final[Mapping[int, Callable[[Work, Principal, int, int, int], bytes]]] = {
    UC: _load_uncached,
    WC: _load_combined,
    WT: _load_cached,
    WP: _load_cached,
    WB: _load_cached,
}
_STORES: Final[Mapping[int, Callable[[Work, Principal, int, Bytes, int], None]]] = {
    UC: _store_uncached,
    WC: _store_combined,
    WT: _store_through,
    WP: _store_protected,
    WB: _store_cached,
}
