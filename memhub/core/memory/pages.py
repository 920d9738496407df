"""The pages of a machine's files: what they begin with, and what a copy of a machine takes."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from memhub.abi import PAGE_SIZE, Errno
from memhub.core.memory.backing import Store
from memhub.core.memory.physmap import OPEN_BUS_SIZE, page_up, store_size
from memhub.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from memhub.core.memory.physmap import Extent, Segment

_ZEROS: Final = bytes(PAGE_SIZE)


def make_store(extents: Sequence[Extent], *, sealed: bool) -> Store:
    """A store that holds what some extents begin with.

    Args:
        extents: the backed memory.
        sealed: whether nobody else is to write the pages.

    Raises:
        ValueError: there is no RAM.
        DeviceError: ENOMEM; the host has no memory or no descriptor left.
    """
    size = memory_size(extents)
    if not size:
        raise ValueError("the machine has no RAM")

    store = _new_store(size)
    _fill_extents(store, [extent for extent in extents if extent.kind != "rom"])
    if sealed:
        store.seal_writes()

    return store


def memory_size(extents: Sequence[Extent]) -> int:
    """Bytes of `make_store`, in whole pages; 0 where there is no RAM."""
    return store_size([extent for extent in extents if extent.kind != "rom"])


def make_rom_file(extents: Sequence[Extent]) -> Store:
    """The file of `MemoryFiles.open_rom`.

    Args:
        extents: the backed memory.

    Raises:
        DeviceError: ENOMEM; the host has no memory or no descriptor left.
    """
    rom = [extent for extent in extents if extent.kind == "rom"]
    store = _new_store(max(OPEN_BUS_SIZE, store_size(rom)))
    store.write(0, b"\xff" * store.size)
    _fill_extents(store, rom)
    store.seal_writes()

    return store


def _new_store(size: int) -> Store:
    try:
        return Store(size)
    except (OSError, ValueError, OverflowError) as error:
        raise no_memory(size, error) from error


def no_memory(size: int, error: Exception) -> DeviceError:
    """ENOMEM: the host has no memory or no descriptor left for a store of `size` bytes."""
    return DeviceError(
        f"the host cannot hold the {size} bytes of the machine's memory: {error}",
        code=Errno.ENOMEM,
    )


def _fill_extents(store: Store, extents: Iterable[Extent]) -> None:
    for extent in extents:
        store.write(extent.offset, extent.data)


def page_edges(extents: Sequence[Extent], ground: Sequence[Segment]) -> Iterator[tuple[int, bytes]]:
    """What is not RAM in the pages where RAM begins or ends, which are mapped as a whole.

    Args:
        extents: the backed memory.
        ground: what lies at each address, without windows.

    Returns:
        for each such place in the store, the bytes that a read gets there.
    """
    ram = [extent for extent in extents if extent.kind != "rom"]
    for extent in ram:
        first, last = extent.base - extent.base % PAGE_SIZE, extent.base + extent.length
        if first == extent.base and last == page_up(last):
            continue

        for segment in ground:
            low, high = max(first, segment.base), min(page_up(last), segment.end)
            if low < high and segment.kind != "ram":
                held = b"\xff" * (high - low)
                if segment.content and segment.delta is not None:
                    held = segment.content[low + segment.delta : high + segment.delta]

                yield extent.offset + low - extent.base, held


def page_segments(segments: Iterable[Segment]) -> Iterator[tuple[int, int, Segment]]:
    """Give each page to one of the segments in it: a device, RAM, ROM, or open bus, in this order.

    Args:
        segments: in address order, without a gap.

    Returns:
        first byte, one past the last, in whole pages, and the segment that has them.
    """
    held: list[tuple[int, int, Segment]] = []
    for segment in segments:
        low, high = segment.base - segment.base % PAGE_SIZE, page_up(segment.end)
        while held and held[-1][1] > low:  # both have the page at `low`
            start, _, other = held[-1]
            if _page_rank(segment) <= _page_rank(other):
                low += PAGE_SIZE
            else:
                held.pop()
                if start < low:
                    held.append((start, low, other))

        if low < high:
            held.append((low, high, segment))

    return iter(held)


def _page_rank(segment: Segment) -> int:
    if segment.window is not None:
        return 3

    return 2 if segment.kind == "ram" else int(bool(segment.content))


def first_pages(extents: Iterable[Extent]) -> dict[int, bytes]:
    """The pages of `make_store` that hold something: place in the store to their bytes."""
    found: dict[int, bytearray] = {}
    for extent in extents:
        if extent.kind == "rom":
            continue

        at, data = extent.offset, extent.data
        while data:
            page = at - at % PAGE_SIZE
            part, data = data[: page + PAGE_SIZE - at], data[page + PAGE_SIZE - at :]
            held = found.setdefault(page, bytearray(PAGE_SIZE))
            held[at - page : at - page + len(part)] = part
            at += len(part)

    return {at: bytes(held) for at, held in sorted(found.items()) if any(held)}


def filled_pages(store: Store | None) -> dict[int, bytes]:
    """The pages that hold something other than zeros.

    Args:
        store: the store, or None where no page was ever touched.

    Returns:
        place in the store to the bytes of a page; the last page of a store may be shorter.
    """
    if store is None:
        return {}

    found = {}
    for start, end in _data_ranges(store):
        for at in range(start - start % PAGE_SIZE, end, PAGE_SIZE):
            page = store.map[at : min(at + PAGE_SIZE, store.size)]
            if page != _ZEROS[: len(page)]:
                found[at] = page

    return found


def fill_pages(store: Store, pages: Mapping[int, bytes]) -> None:
    """Write pages into a store."""
    for at, page in pages.items():
        store.write(at, page)


def _data_ranges(store: Store) -> Iterator[tuple[int, int]]:
    """The stretches of a store that may hold something other than zeros."""
    if store.fd < 0:
        yield from ((page, page + PAGE_SIZE) for page in store.pages())
        return

    at = 0
    while at < store.size:
        try:
            start = os.lseek(store.fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data from here on
                return

            raise

        at = os.lseek(store.fd, start, os.SEEK_HOLE)
        yield start, at
