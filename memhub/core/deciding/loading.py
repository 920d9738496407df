"""Bytes put into a machine's RAM from outside, as a debugger or a boot loader does: all or none.

No CPU writes them: memory types, claims and write protection do not stand in the way. What does
not fit is refused before a byte moves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.abi import PAGE_SIZE
from memhub.core.caches.facts import CachesChanged
from memhub.core.caches.loading import LoadedBytes, load_over_caches
from memhub.core.decision import Decision
from memhub.core.memory.contents import sorted_contents
from memhub.core.memory.pages import cut_pages, first_pages, held_places
from memhub.core.restored import MemoryLoaded
from memhub.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from memhub.core.instant import Instant
    from memhub.core.machine import Machine
    from memhub.core.memory.physical import PhysicalMemory
    from memhub.core.memory.physmap import Extent
    from memhub.core.spec import Content

#: What a machine keeps that is not its RAM.
NOT_RAM: Final = frozenset({"rom", "device"})
_ZEROS: Final = bytes(PAGE_SIZE)


def decide_load(
    machine: Machine, contents: Sequence[Content], now: Instant, source: str, *, clear: bool = False
) -> Decision:
    """Put bytes into the RAM of a machine.

    Where memory is not coherent, both views have them: lines and buffers hold no byte that is
    older. What lines and buffers hold of other bytes stays in them.

    Args:
        machine: the machine.
        contents: what to put, in any order.
        now: the present moment.
        source: what it is, in words, for the log.
        clear: let all other RAM become zero.

    Returns:
        the decision; its reply is the number of bytes.

    Raises:
        InvalidArgument: EINVAL; there is nothing to put, something lies outside the RAM or under a
            device, or two overlap.
        BadHandle: EBADF; the memory is closed.
        DeviceError: ENOMEM; the host has no memory or no descriptor left.
    """
    memory = machine.memory
    memory.files.check()
    try:
        ordered = sorted_contents(contents, memory.phys_bits)
        spans = [span for it in ordered for span in _spans_of(machine, it)]
    except ValueError as error:
        raise InvalidArgument(str(error)) from None

    if not ordered:
        raise InvalidArgument(f"{source} has no bytes to load")

    held = _Held(memory)
    ram = [it for it in memory.extents if it.kind not in NOT_RAM] if clear else []
    after = _pages_after(held, [*((it.offset, b"", it.length) for it in ram), *spans])
    before = {at: held.page(at) for at in after}
    changed = {at: page for at, page in after.items() if before[at] != page}
    before = {at: before[at] for at in changed}
    base, moved = ordered[0].base, sum(it.end - it.base for it in ordered)
    where = (machine.name, machine.arch.name, now, base, ordered[-1].end - base, moved)
    loaded = MemoryLoaded(*where, clear, source, before, changed)
    if machine.caches is None:
        return Decision(moved, None, (loaded,))

    put = LoadedBytes(ordered, [(it.base, it.base + it.length) for it in ram])
    change, lost = load_over_caches(machine.caches, put, recorded=machine.recorded)
    loaded = loaded._replace(lost=lost)

    return Decision(moved, None, (loaded,) if change is None else (CachesChanged(change), loaded))


#: A place in the store, bytes that go there, and how many zeros follow.
Span = tuple[int, bytes, int]


def _spans_of(machine: Machine, it: Content) -> Iterator[Span]:
    """Where a content goes in the store.

    Raises:
        ValueError: part of it is not RAM, or a device answers there.
    """
    memory = machine.memory
    data_end = it.base + len(it.data)
    for window in memory.windows:
        if window.base < it.kept_end and it.base < window.end:
            raise ValueError(
                f"{it} overlaps the device at {window.base:#x}/{window.length:#x}: "
                "only RAM is loaded"
            )

    cursor = it.base
    for extent in memory.extents:
        if extent.kind in NOT_RAM or extent.base + extent.length <= cursor:
            continue

        if it.loose and cursor >= data_end:  # its zeros are nothing where nothing is kept
            cursor = min(max(cursor, extent.base), it.end)

        if extent.base > cursor or cursor == it.end:
            break

        end = min(it.end, extent.base + extent.length)
        data = it.data[cursor - it.base : max(min(end, data_end) - it.base, 0)]
        yield _place(extent, cursor), data, end - cursor - len(data)
        cursor = end

    if cursor < it.kept_end:
        raise ValueError(f"{it} does not fit: the byte at {cursor:#x} is not RAM")


def _place(extent: Extent, address: int) -> int:
    return extent.offset + address - extent.base


class _Held:
    """What the RAM holds: the pages of its store, or those that it will begin with."""

    def __init__(self, memory: PhysicalMemory) -> None:
        self._store = memory.files.store
        self._first = {} if self._store is not None else first_pages(memory.extents)

    def page(self, at: int) -> bytes:
        """The bytes of a page."""
        if self._store is None:
            return self._first.get(at, _ZEROS)

        return self._store.read(at, PAGE_SIZE)

    def places(self, low: int, high: int) -> Iterator[int]:
        """The pages of a stretch that may hold something."""
        if self._store is not None:
            return held_places(self._store, low, high)

        return (at for at in self._first if low <= at < high)


def _pages_after(held: _Held, spans: Iterable[Span]) -> dict[int, bytes]:
    """The pages that are given anew, whole, by stretches of which a later one counts.

    Pages of zeros that nothing was in are not among them, so that zeros cost nothing.
    """
    after: dict[int, bytearray] = {}
    for place, data, zeros in spans:
        if zeros:
            _clear_pages(after, held, place + len(data), zeros)

        for at, part in cut_pages(place, data):
            page = at - at % PAGE_SIZE
            kept = _take_page(after, held, page)
            kept[at - page : at - page + len(part)] = part

    return {at: bytes(page) for at, page in after.items()}


def _take_page(after: dict[int, bytearray], held: _Held, at: int) -> bytearray:
    if at not in after:
        after[at] = bytearray(held.page(at))

    return after[at]


def _clear_pages(after: dict[int, bytearray], held: _Held, place: int, zeros: int) -> None:
    """Let a stretch be zeros in the pages that hold something."""
    first, last = place - place % PAGE_SIZE, place + zeros
    for at in held.places(first, last):
        kept = _take_page(after, held, at)
        low, high = max(place, at) - at, min(last, at + PAGE_SIZE) - at
        kept[low:high] = bytes(high - low)
