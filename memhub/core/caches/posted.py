"""Lines whose write-back was asked for, and is complete only at the next fence of its process.

SDM volume 2, CLWB: "The CLWB instruction is ordered only by store-fencing operations." So a line
reaches the bus at the fence or any time before: the generator draws which of those that are dirty
reach it at once. A store to such a line comes after its write-back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.core.caches.change import Posted
from memhub.core.caches.telling import tell_hazard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memhub.core.caches.change import Cause
    from memhub.core.caches.work import Work
    from memhub.core.files import Principal

#: Lines of a process that are remembered without a fence.
_POSTED_MOST: Final = 4096
_GONE: Final = (False, None)


def post_lines(work: Work, who: Principal, numbers: Sequence[int]) -> None:
    """Ask for the write-back of those of some lines that are dirty."""
    dirty = [it for it in numbers if (line := work.line(it)) is not None and line.dirty]
    if not dirty:
        return

    now = dirty
    if not work.caches.snoops:  # such a bus finds lines where they are
        now = []
        known = work.posted.get(who.id)
        held = {} if known is None else dict(known.lines)
        for number in dirty:
            waits = bool(work.draw(2))
            held.pop(number, None)
            held[number] = (waits, work.record)
            if not waits:
                now.append(number)

        for number in list(held)[: max(0, len(held) - _POSTED_MOST)]:
            if held[number][0]:
                now.append(number)

            del held[number]

        work.posted = {**work.posted, who.id: Posted(who, held)}

    clean_lines(work, sorted(now), "written back")


def complete_lines(work: Work, first: int, last: int) -> None:
    """Let the lines from `first` to `last` reach the bus that are to, before they are stored to."""
    for process, held in work.posted.items():
        few = range(first, last + 1) if last - first < len(held.lines) else held.lines
        due = [it for it in few if first <= it <= last and held.lines.get(it, _GONE)[0]]
        if due:
            clean_lines(work, sorted(due), "written back")
            done = {it: (False, held.lines[it][1]) for it in due}
            work.posted = {
                **work.posted,
                process: held._replace(lines={**held.lines, **done}),
            }


def fence_lines(work: Work, process: int) -> None:
    """Let all lines of a process reach the bus whose write-back it has asked for."""
    held = work.posted.get(process)
    if held is not None:
        clean_lines(
            work, sorted(it for it, (waits, _) in held.lines.items() if waits), "written back"
        )
        work.posted = {who: it for who, it in work.posted.items() if who != process}


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
        for number, (_, since) in sorted(held.lines.items()):
            low, high = (
                max(address, number << shift),
                min(address + length, (number << shift) + size),
            )
            if low < high:
                what = f"the bus {done} a line before {held.who.name} has made a fence"
                tell_hazard(work, "unfenced-writeback", low, high - low, held.who, since, what)


def is_waiting(work: Work, number: int) -> bool:
    """Whether a line is still to reach the bus."""
    return any(it.lines.get(number, _GONE)[0] for it in work.posted.values())


def clean_lines(work: Work, numbers: list[int], cause: Cause) -> None:
    """Write lines back and keep them."""
    work.write_back(numbers, cause)
    for number in numbers:
        line = work.line(number)
        if line is not None and line.dirty:
            work.lines[number] = line._replace(dirty=0, under=0, since=work.record)
