"""Lines whose write-back was asked for, and is complete only at the next fence of who asked.

SDM volume 2, CLWB: "The CLWB instruction is ordered only by store-fencing operations." So a line
reaches the bus at the fence or any time before: the generator draws which of those that are dirty
reach it at once. A store to such a line comes after its write-back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.core.caches.change import Posted, WriteBack
from memhub.core.caches.telling import tell_hazard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from memhub.core.caches.change import Cause
    from memhub.core.caches.work import Work
    from memhub.core.files import Principal

#: Lines of a process that are remembered without a fence.
_POSTED_MOST: Final = 4096


def post_lines(work: Work, who: Principal, first: int, last: int) -> None:
    """Ask for the write-back of the lines from `first` to `last` that are dirty.

    Of a line that is clean as another process has asked for it, the bytes may be under way still:
    then that is asked for, too, and the fence of either completes it.
    """
    lines = work.lines_between(first, last)
    dirty = {number: line.stores[-1].order for number, line in lines if line.dirty}
    if work.caches.snoops:  # such a bus finds lines where they are
        clean_lines(work, list(dirty), "written back")
        return

    known = work.posted.get(who.id)
    held = {} if known is None else dict(known.lines)
    asked = {**_under_way(work, first, last, dirty, held), **dirty}
    if not asked:
        return

    now = []
    for number, order in asked.items():
        waits = number in dirty and bool(work.draw(2))
        held.pop(number, None)
        held[number] = WriteBack(waits, work.record, order)
        if number in dirty and not waits:
            now.append(number)

    for number in list(held)[: max(0, len(held) - _POSTED_MOST)]:
        if held[number].waits:
            now.append(number)

        del held[number]

    work.posted = {**work.posted, who.id: Posted(who, held)}
    clean_lines(work, sorted(now), "written back")


def _under_way(
    work: Work, first: int, last: int, dirty: Mapping[int, int], held: Mapping[int, WriteBack]
) -> dict[int, int]:
    """The lines that are not dirty and that others have asked for, with the last store in them.

    Args:
        work: the access.
        first: the first line.
        last: the last.
        dirty: those that are dirty.
        held: what the process has asked for already.
    """
    found: dict[int, int] = {}
    for posted in work.posted.values():
        for number in _between(posted, first, last):
            order = posted.lines[number].order
            known = held[number].order if number in held else -1
            if number not in dirty and order > max(known, found.get(number, -1)):
                found[number] = order

    return found


def _between(held: Posted, first: int, last: int) -> Sequence[int]:
    """Which of the lines from `first` to `last` a process has asked for."""
    lines = held.lines
    if last - first < len(lines):
        return [it for it in range(first, last + 1) if it in lines]

    return [it for it in lines if first <= it <= last]


def complete_lines(work: Work, first: int, last: int) -> None:
    """Let the lines from `first` to `last` reach the bus that are to, before they are stored to."""
    for process, held in work.posted.items():
        due = [it for it in _between(held, first, last) if held.lines[it].waits]
        if due:
            clean_lines(work, sorted(due), "written back")
            done = {it: held.lines[it]._replace(waits=False) for it in due}
            work.posted = {
                **work.posted,
                process: held._replace(lines={**held.lines, **done}),
            }


def fence_lines(work: Work, process: int) -> None:
    """Let all lines of a process reach the bus whose write-back it has asked for.

    Others that have asked for the same stores, or for earlier ones, need no fence any more: which
    CPU has asked makes no difference to a store that was there before the clwb (Raad and others,
    "Persistency semantics of the Intel-x86 architecture", POPL 2020: FO and SF).
    """
    held = work.posted.get(process)
    if held is None:
        return

    done = held.lines
    clean_lines(work, sorted(it for it, how in done.items() if how.waits), "written back")
    work.posted = {
        who: left
        for who, it in work.posted.items()
        if who != process and (left := _left_of(it, done)).lines
    }


def _left_of(held: Posted, done: Mapping[int, WriteBack]) -> Posted:
    if held.lines.keys().isdisjoint(done):
        return held

    left = {
        number: how
        for number, how in held.lines.items()
        if number not in done or how.order > done[number].order
    }

    return held._replace(lines=left)


def forget_posted(work: Work, numbers: Sequence[int]) -> None:
    """Lines have reached the bus for certain: nobody's fence is needed for them."""
    gone = set(numbers)
    if not any(gone.intersection(it.lines) for it in work.posted.values()):
        return

    left = {
        who: it._replace(lines={n: how for n, how in it.lines.items() if n not in gone})
        for who, it in work.posted.items()
    }
    work.posted = {who: it for who, it in left.items() if it.lines}


def tell_unfenced(work: Work, address: int, length: int, done: str) -> None:
    """Note where the bus has read or written a line before the fence that completes its write-back.

    Args:
        work: the access.
        address: first byte.
        length: bytes.
        done: `read` or `wrote`.
    """
    shift, size = work.caches.shift, work.caches.limits.line_size
    for held in work.posted.values():
        for number, (_, since, _) in sorted(held.lines.items()):
            low, high = (
                max(address, number << shift),
                min(address + length, (number << shift) + size),
            )
            if low < high:
                what = f"the bus {done} a line before {held.who.name} has made a fence"
                tell_hazard(work, "unfenced-writeback", low, high - low, held.who, since, what)


def is_waiting(work: Work, number: int) -> bool:
    """Whether a line is still to reach the bus."""
    return any(number in it.lines and it.lines[number].waits for it in work.posted.values())


def clean_lines(work: Work, numbers: list[int], cause: Cause) -> None:
    """Write lines back and keep them."""
    work.write_back(numbers, cause)
    for number in numbers:
        line = work.line(number)
        if line is not None and line.dirty:
            work.lines[number] = line._replace(dirty=0, under=0, stores=(), newer=())
