"""The files of a machine's memory: one with the RAM, one with the ROM; made when first needed."""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import TYPE_CHECKING

from memhub.abi import PAGE_SIZE
from memhub.core.memory.backing import Store
from memhub.core.memory.image import MemoryImage
from memhub.core.memory.pages import (
    filled_pages,
    first_pages,
    make_rom_file,
    make_store,
    memory_size,
    no_memory,
    page_edges,
)
from memhub.errors import BadHandle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from memhub.core.memory.physmap import Extent, Segment

    #: A store, or none yet, in place of the one that is there; or pages to write into it.
    RamContent = Store | Mapping[int, bytes] | None


class MemoryFiles:
    """What keeps the bytes of one machine's memory, and what may be handed out of it.

    The ROM is in a file of its own, which nobody can write, so that a descriptor of the RAM for
    writing does not reach it. The machine itself reads its ROM from the memory map.

    Args:
        extents: the backed memory and its place in its file.
        ground: what lies at each address, without windows.

    Attributes:
        closed: nothing can be reached any more.
        store: the RAM, or None where nothing reached it.
        sealed: nobody else is to write the RAM; see `seal_writes`.
        shared: descriptors of the RAM were handed out.
    """

    __slots__ = ("_extents", "_ground", "_rom", "closed", "sealed", "shared", "store")

    def __init__(self, extents: Sequence[Extent], ground: Sequence[Segment]) -> None:
        self._extents = extents
        self._ground = ground
        self._rom: Store | None = None
        self.closed = False
        self.store: Store | None = None
        self.sealed = False
        self.shared = False

    def check(self) -> None:
        """Refuse what comes after `close`.

        Raises:
            BadHandle: the memory is closed (EBADF).
        """
        if self.closed:
            raise BadHandle("the machine is closed, and its hub with it")

    def ram(self) -> Store:
        """The store of the RAM.

        Raises:
            BadHandle: the memory is closed (EBADF).
            ValueError: the machine has no RAM.
            DeviceError: ENOMEM; the host has no memory or no descriptor left.
        """
        if self.store is None:
            self.check()
            self.store = make_store(self._extents, sealed=self.sealed)

        return self.store

    def pages(self) -> dict[int, bytes]:
        """The pages of the RAM that hold something, without what `open_ram` copied into them."""
        found = filled_pages(self.store)
        for place, data in page_edges(self._extents, self._ground) if self.shared else ():
            page = place - place % PAGE_SIZE
            held = bytearray(found.pop(page, b""))
            held[place - page : place - page + len(data)] = bytes(len(data))
            if any(held):
                found[page] = bytes(held)

        return found

    def capture(self) -> MemoryImage:
        """What the RAM holds now.

        Where descriptors of it were handed out, what others write meanwhile may be in it or not.

        Raises:
            BadHandle: the memory is closed (EBADF).
            DeviceError: ENOMEM; the host has no memory or no descriptor left.
        """
        self.check()
        if self.store is None:
            return MemoryImage(first_pages(self._extents))

        try:
            found = None if self.shared else MemoryImage.of_store(self.store)
        except OSError as error:
            if error.errno != errno.ENOMEM:
                raise no_memory(self.store.size, error) from error

            found = None  # a private mapping counts whole where the system keeps accounts

        return found or MemoryImage(self.pages())

    def plan_replace(self, image: MemoryImage) -> tuple[RamContent, RamContent]:
        """What `put` is to be given so that the RAM holds an image, and what takes that back.

        Args:
            image: what it is to hold; it has no page outside of the RAM.

        Returns:
            the content before and after.

        Raises:
            BadHandle: the memory is closed (EBADF).
            DeviceError: ENOMEM; the host has no memory or no descriptor left.
        """
        self.check()
        untouched = self.store is None and image.base is None and image == self.capture()
        if untouched or not memory_size(self._extents):
            return self.store, self.store

        if self.shared:
            return _plan_pages(self.pages(), image.pages())

        return self.store, self.make_store(image)

    def make_store(self, image: MemoryImage) -> Store:
        """A store for this memory that holds an image.

        Raises:
            DeviceError: ENOMEM; the host has no memory or no descriptor left.
        """
        size = memory_size(self._extents)
        try:
            store = image.make_store(size)
            if self.sealed:
                store.seal_writes()
        except OSError as error:
            raise no_memory(size, error) from error

        return store

    def put(self, content: RamContent) -> None:
        """Let the RAM be what `plan_replace` answered; where it was handed out, page by page."""
        if content is None or isinstance(content, Store):
            self.store = content
            return

        store = self.ram()
        for at, page in content.items():
            store.write(at, page)

        for place, data in page_edges(self._extents, self._ground) if self.shared else ():
            store.write(place, data)

    def own_file(self) -> Store:
        """The store of the RAM, in a file of its own; errors are those of `ram`."""
        store = self.ram()
        if store.base is not None:
            store.own_file()
            if self.sealed:
                self.seal_writes()

        return store

    def open_ram(self, *, writable: bool) -> int:
        """A new descriptor of the RAM's memfd, the caller's; -1 where the system has no memfd.

        What else lies in a page with RAM is copied into the file as it is now.

        Raises:
            OSError: the system cannot open the memfd again.
            BadHandle: as `ram`, whose other errors it has too.
        """
        store = self.own_file()
        if not self.shared:
            for place, data in page_edges(self._extents, self._ground):
                store.write(place, data)

        self.shared = True

        return store.open_again(writable=writable)

    def open_rom(self) -> int:
        """As `open_ram`, of a file with `OPEN_BUS_SIZE` bytes 0xff and the ROM; for reading.

        Nobody can write it, whoever opens it (Linux 5.1).
        """
        self.check()
        if self._rom is None:
            self._rom = make_rom_file(self._extents)

        return self._rom.open_again(writable=False)

    def seal_writes(self) -> None:
        """Let nobody else write the RAM; after `open_ram` the file's seals are final."""
        self.sealed = True
        if self.store is not None:
            with suppress(OSError):
                self.store.seal_writes()

    def close(self) -> None:
        """Give pages and descriptors back; later accesses answer EBADF. Twice is once."""
        self.closed = True
        for store in (self.store, self._rom):
            if store is not None:
                store.close()

        self.store = self._rom = None


def _plan_pages(
    before: Mapping[int, bytes], after: Mapping[int, bytes]
) -> tuple[dict[int, bytes], dict[int, bytes]]:
    """The pages that differ, before and after."""
    places = [at for at in sorted({*before, *after}) if before.get(at) != after.get(at)]
    zeros = bytes(PAGE_SIZE)

    return (
        {at: before.get(at, zeros) for at in places},
        {at: after.get(at, zeros) for at in places},
    )
