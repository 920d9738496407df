"""What a load of memory does to lines and buffers: they hold what was loaded, and nothing older."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from memhub.core.caches.lines import Line, mask_of
from memhub.core.caches.posted import forget_posted
from memhub.core.caches.stores import drop_bytes
from memhub.core.caches.work import Work
from memhub.core.instant import make_tuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from memhub.core.caches.change import CacheChange, Overtaking
    from memhub.core.caches.lines import Buffer
    from memhub.core.caches.state import Caches
    from memhub.core.spec import Content


class LoadedBytes:
    """The bytes that a load puts into RAM, by address.

    Args:
        contents: what is put, in address order; none lies over another.
        cleared: first byte and one past the last of the stretches that are zeros elsewhere, in
            address order; all contents lie in them, or there are none of them.
    """

    def __init__(self, contents: Sequence[Content], cleared: Sequence[tuple[int, int]]) -> None:
        self._contents = contents
        self._bases = [it.base for it in contents]
        self._spans = cleared or [(it.base, it.end) for it in contents]
        self._starts = [low for low, _ in self._spans]

    def spans(self, low: int, high: int) -> Iterator[tuple[int, int]]:
        """What of the stretch `[low, high)` is loaded or cleared, in order."""
        for index in _from(self._starts, low):
            base, end = self._spans[index]
            if base >= high:
                break

            if end > low:
                yield max(base, low), min(end, high)

    def put_over(self, base: int, data: bytes) -> bytes:
        """The bytes at an address after the load, which were `data` before."""
        after, high = bytearray(data), base + len(data)
        for low, end in self.spans(base, high):
            after[low - base : end - base] = bytes(end - low)

        for index in _from(self._bases, base):
            it = self._contents[index]
            if it.base >= high:
                break

            low, end = max(it.base, base), min(it.base + len(it.data), high)
            if low < end:
                after[low - base : end - base] = it.data[low - it.base : end - it.base]

        return bytes(after)


def _from(bases: Sequence[int], address: int) -> range:
    """The indexes from the last stretch on that begins at an address or before it."""
    return range(max(bisect_right(bases, address) - 1, 0), len(bases))


def load_over_caches(
    caches: Caches, loaded: LoadedBytes, *, recorded: bool
) -> tuple[CacheChange | None, int]:
    """Let lines have the bytes of a load, and buffers none that would be written over them.

    Nothing reaches the bus from a line or a buffer: what they hold elsewhere stays as new as it
    was. No hazard is met, since no process has forgotten anything.

    Args:
        caches: the caches; they do not change here.
        loaded: what is loaded.
        recorded: whether the change may be taken back.

    Returns:
        the change, and how many bytes of lines and buffers it lost that the bus had not seen.
    """
    work = Work(caches, recorded=recorded)
    lost = _load_lines(work, loaded)
    for process in list(caches.buffers):
        lost += _load_buffers(work, loaded, process)

    if work.overtakings:
        _forget_overtakings(work, loaded)

    return work.finish(), lost


def _load_lines(work: Work, loaded: LoadedBytes) -> int:
    shift, lost = work.caches.shift, 0
    whole = mask_of(0, work.caches.limits.line_size)
    settled: list[int] = []
    for number, line in work.caches.lines.items():
        mask = _mask_in(loaded, number << shift, work.caches.limits.line_size)
        if not mask:
            continue

        dirty, under = line.dirty & ~mask, line.under & ~mask
        lost += (line.dirty & mask).bit_count()
        data = loaded.put_over(number << shift, line.data)
        stores, newer = drop_bytes(line.stores, mask), drop_bytes(line.newer, mask)
        work.lines[number] = make_tuple(
            Line, (data, dirty, under, line.code, line.since, stores, newer)
        )
        if mask == whole or (line.dirty and not dirty):
            settled.append(number)

    if settled and work.posted:
        forget_posted(work, settled)

    return lost


def _load_buffers(work: Work, loaded: LoadedBytes, process: int) -> int:
    shift, lost = work.caches.shift, 0
    left: dict[int, Buffer] = {}
    held = work.look_at_buffers(process)
    for number, buffer in held.items():
        mask = _mask_in(loaded, number << shift, len(buffer.data))
        lost += (buffer.mask & mask).bit_count()
        if buffer.mask & ~mask:
            stores = drop_bytes(buffer.stores, mask)
            left[number] = buffer._replace(mask=buffer.mask & ~mask, stores=stores)

    if lost:
        work.buffers[process] = left

    return lost


def _mask_in(loaded: LoadedBytes, base: int, size: int) -> int:
    """Which bytes of a line or a buffer are loaded."""
    mask = 0
    for low, high in loaded.spans(base, base + size):
        mask |= mask_of(low - base, high - base)

    return mask


def _forget_overtakings(work: Work, loaded: LoadedBytes) -> None:
    """What the bus saw too early, but for the bytes that are loaded over it."""
    left = tuple(part for it in work.overtakings for part in _parts_left(it, loaded))
    if left != work.overtakings:
        work.overtakings = left


def _parts_left(it: Overtaking, loaded: LoadedBytes) -> Iterator[Overtaking]:
    cursor = it.base
    for low, high in loaded.spans(it.base, it.end):
        if cursor < low:
            yield it._replace(base=cursor, end=low)

        cursor = high

    if cursor < it.end:
        yield it._replace(base=cursor)
