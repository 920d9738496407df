"""The pages of a store: what they begin with, and what a copy or a pickle of a machine takes."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from memhub.abi import PAGE_SIZE, Errno
from memhub.core.memory.backing import Store
from memhub.core.memory.physmap import store_size
from memhub.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from memhub.core.memory.physmap import Extent

_ZEROS: Final = bytes(PAGE_SIZE)


def make_store(extents: Sequence[Extent], *, sealed: bool) -> Store:
    """A store that holds what some extents begin with.

    Args:
        extents: the backed memory.
        sealed: whether nobody else is to write the pages.

    Raises:
        ValueError: there are no extents.
        DeviceError: ENOMEM; the host has no memory or no descriptor left.
    """
    if not extents:
        raise ValueError("the machine has no memory behind any address")

    size = store_size(extents)
    try:
        store = Store(size)
    except (OSError, ValueError, OverflowError) as error:
        raise DeviceError(
            f"the host cannot hold the {size} bytes of the machine's memory: {error}",
            code=Errno.ENOMEM,
        ) from error

    for extent in extents:
        store.map[extent.offset : extent.offset + len(extent.data)] = extent.data

    if sealed:
        store.seal_writes()

    return store


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
        store.map[at : at + len(page)] = page


def _data_ranges(store: Store) -> Iterator[tuple[int, int]]:
    """The stretches of a store that may hold something other than zeros."""
    if store.fd < 0:
        yield 0, store.size
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
