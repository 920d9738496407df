"""Noting a hazard that an access meets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.core.caches.hazards import Hazard
from memhub.core.caches.lines import mask_of, runs_of
from memhub.core.caches.slots import slot_of
from memhub.core.caches.stores import add_store, drop_bytes, first_record, runs_by_writer
from memhub.core.effective.typemap import TYPE_OF_CODE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.core.caches.change import HazardKey
    from memhub.core.caches.lines import Buffer, Line
    from memhub.core.caches.work import Work
    from memhub.core.files import Principal

#: Different hazards that a machine tells apart; of more, one of each name and process is counted.
HAZARDS_MOST: Final = 1024


def tell_hazard(
    work: Work,
    name: str,
    address: int,
    length: int,
    who: Principal | None,
    since: int | None,
    what: str,
) -> None:
    """Note a hazard; one that is known for this line and process is counted, once by each access.

    Args:
        work: the access that met it.
        name: a key of `HAZARDS`.
        address: first byte.
        length: bytes.
        who: who is to mend it, where that is known.
        since: the log's record from which on it was so, or None.
        what: what was done, in one sentence.
    """
    number = None if who is None else who.id
    caches = work.caches
    key: HazardKey = (name, address >> caches.shift, number)
    many = len(caches.hazards) + len(work.hazards) >= HAZARDS_MOST
    if many and key not in caches.hazards and key not in work.hazards:
        key = (name, -1, number)

    before = caches.hazards.get(key)
    known = work.hazards[key][1] if key in work.hazards else before
    if key in work.hazards and key[1] >= 0:
        return

    if known is not None:
        work.hazards[key] = (before, known._replace(times=known.times + 1))
        return

    name_of = None if who is None else who.name
    table = caches.table
    slot, kind = (
        slot_of(table, caches.served, address),
        "WB" if table is None else table.types.at(address),
    )
    facts = (name, address, length, name_of, number, slot, kind, since, work.record, 1, what)
    work.hazards[key] = (None, Hazard(*facts))


def tell_line(
    work: Work, who: Principal, low: int, high: int, number: int, line: Line, code: int
) -> None:
    """Note an access with another type than that of the line, or of bytes that are too old."""
    shift = work.caches.shift
    base = number << shift
    low, high = max(low, base), min(high, base + work.caches.limits.line_size)
    if line.code != code:
        tell_hazard(
            work,
            "aliased-types",
            low,
            high - low,
            who,
            line.since,
            f"accessed as {TYPE_OF_CODE[code]}, and cached as {TYPE_OF_CODE[line.code]}",
        )

    if line.under:
        for start, stop, _, since in runs_by_writer(line.newer, mask_of(low - base, high - base)):
            what = f"read {stop - start} bytes as they were before the bus wrote them"
            tell_hazard(work, "stale-cpu-read", base + start, stop - start, who, since, what)


def buffered_in(
    work: Work, address: int, length: int, but: int | None = None
) -> Iterator[tuple[Buffer, int, int, int | None]]:
    """The stretches of a span that buffers hold: the buffer, first byte, bytes, and since when.

    Args:
        work: the access.
        address: first byte.
        length: bytes.
        but: the number of a process whose buffers do not count.
    """
    shift = work.caches.shift
    for process, buffers in work.all_buffers().items():
        if process == but:
            continue

        for number, buffer in sorted(buffers.items()):
            base = number << shift
            low, high = max(address - base, 0), min(address + length - base, len(buffer.data))
            if low < high and buffer.mask & mask_of(low, high):
                for first, end, _, since in runs_by_writer(buffer.stores, mask_of(low, high)):
                    yield buffer, base + first, end - first, since


def tell_others_buffers(work: Work, who: Principal, low: int, high: int) -> None:
    """Note where a process reads memory that another has in a combining buffer."""
    for buffer, at, size, since in buffered_in(work, low, high - low, who.id):
        what = f"{who.name} read {size} bytes that {buffer.who.name} combines"
        tell_hazard(work, "undrained-read", at, size, buffer.who, since, what)


def tell_hidden_store(work: Work, who: Principal, low: int, high: int) -> None:
    """Note where a process writes memory that another has in a combining buffer.

    In which order the two reach the bus is nobody's promise, whatever is drained first here.
    """
    for buffer, at, size, since in buffered_in(work, low, high - low, who.id):
        what = f"{who.name} wrote {size} bytes that {buffer.who.name} combines, and may overwrite"
        tell_hazard(work, "hidden-store", at, size, buffer.who, since, what)


def tell_hidden(work: Work, who: Principal, number: int, under: int) -> None:
    """Note a store that makes a line dirty under which the bus has newer bytes.

    Args:
        work: the access.
        who: who stores.
        number: of the line.
        under: mask of those bytes.
    """
    base = number << work.caches.shift
    for low, high in runs_of(under):
        what = f"{who.name} wrote to a line in which memory has {high - low} newer bytes"
        tell_hazard(work, "hidden-dma-write", base + low, high - low, who, work.record, what)


def tell_cached(
    work: Work, who: Principal, low: int, high: int, code: int, *, store: bool = False
) -> None:
    """An access that passes the cache by: whatever is cached there has another type."""
    limits = work.caches.limits
    for number, line in work.lines_between(low >> work.caches.shift, high - 1 >> work.caches.shift):
        base = number << work.caches.shift
        tell_line(work, who, low, high, number, line._replace(under=0), code)
        if store:  # which the line does not have
            mask = mask_of(max(low - base, 0), min(high - base, limits.line_size))
            newer = add_store(line.newer, mask, None, 0, work.record)
            work.lines[number] = line._replace(under=line.under | mask, newer=newer)


def tell_buffered(work: Work, who: Principal, low: int, high: int, code: int) -> None:
    """An access by the cache: whatever is in buffers there has another type."""
    shift = work.caches.shift
    for held in work.all_buffers().values():
        for number, buffer in held.items():
            if low >> shift <= number <= high - 1 >> shift:
                what = f"accessed as {TYPE_OF_CODE[code]}, and held in a combining buffer"
                base, stores = number << shift, buffer.stores
                at, end = max(low, base), min(high, base + len(buffer.data))
                touched = drop_bytes(stores, ~mask_of(at - base, end - base))
                since = first_record(touched or stores, -1, buffer.who)
                tell_hazard(work, "aliased-types", at, end - at, who, since, what)
