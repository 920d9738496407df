"""The bytes behind a machine's memory: one sparse file in memory, mapped once.

The core does no I/O, and this is the one place where it calls the operating system for storage:
the mapping is the store itself, no input ever comes from it, and a page costs nothing until
it is written. On Linux it is a memfd, so that a later reader can map the same pages; elsewhere
it is an anonymous mapping without reservation.

The first read of a page through a shared mapping makes the kernel allocate it, so pages that were
never written are read in another way: as zeros while nobody else can write the file, and after
that with pread(2), which leaves a hole of the file a hole.

A descriptor of the memfd that only reads must stay so with whoever gets it. Two things see to
that. The file has no permission bits, so that nobody of another user can open it again through
`/proc/self/fd`; and where nobody is ever to write, a seal keeps every later descriptor and
mapping from writing, the owner's and root's too.

A store that was never handed out can be *frozen*: its file takes no write any more, and the store
goes on as a private mapping of it, in which the first write of a page copies that page. Others go
on from the same file likewise, so that a copy of a store costs what was written since, and not
what it holds.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from memhub.abi import PAGE_SIZE
from memhub.core.memory.borders import count_pages, note_stretch, pages_in
from memhub.core.memory.memfile import (
    F_SEAL_FUTURE_WRITE,
    NO_MODE,
    Frozen,
    add_seals,
    make_memfd,
    map_anonymous,
    map_file,
)

if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterator

    from memhub.abi import Buffer

#: The most that one process can map with room to spare: half of a 47-bit address space.
STORE_MAX: Final = 1 << 46

_OWNER_MODE: Final = 0o600
#: What pages that nobody wrote are copied from; the system allocates none of its pages either.
_ZEROS: Final = bytes(64 << 20)

#: A store is frozen anew, with a copy of all pages, where more than this many were written since
#: the last time, and more than this part of all: fewer are copied for each that goes on from it.
_DIRTY_MIN: Final = 256
_DIRTY_PART: Final = 8


#: First place in the store, one past the last, what holds the bytes, and the distance from a place
#: in the store to the place in that.
Stretch = tuple[int, int, "mmap.mmap | bytes", int]


class Store:
    """A sparse run of zero bytes.

    A page takes memory from its first write on, or from its first access in another's mapping.

    Attributes:
        size: bytes.
        fd: the memfd, sealed against growing and shrinking (a peer that holds it cannot cut
            the pages away under this process), or -1 where the system has none.
        map: the mapping; slices of it are copies. Write through `write`.
        sealed: whether every later descriptor and mapping is for reading only.
        base: the frozen pages that it goes on from, or None; then it has no file of its own.

    Args:
        size: bytes, positive.
        base: frozen pages of that size to go on from.

    Raises:
        OSError: the system cannot map that much, or has no descriptor left.
    """

    __slots__ = ("_borders", "_dirty", "_final", "base", "fd", "map", "sealed", "size")

    def __init__(self, size: int, base: Frozen | None = None) -> None:
        self.size = size
        self.sealed = False
        self._final = False
        self.fd = -1
        self.base = base
        if base is not None:
            self.map = base.map_privately()
            self._borders = [*base.borders]
            self._dirty: list[int] = []
            return

        if sys.platform == "linux":
            self.fd = make_memfd(size)

        try:
            self.map = map_file(self.fd, size) if self.fd >= 0 else map_anonymous(size)
        except BaseException:
            self._close_fd()
            raise

        # Where pages that were written begin and end, in turn. Without a file all of them count
        # as written: a private mapping is read without allocating.
        self._borders = [] if self.fd >= 0 else [0, size]
        self._dirty = self._borders  # of these, what was written here, and not before a freeze

    def stretch(self, place: int) -> Stretch | None:
        """The bytes around `place` that are all written, or all zeros; None where neither holds.

        It holds until `write` answers True, or `open_again` is called.
        """
        borders = self._borders
        index = bisect_right(borders, place)
        start = borders[index - 1] if index else 0
        end = borders[index] if index < len(borders) else self.size
        if index % 2:
            return start, end, self.map, 0

        if self._final and not self.sealed:
            return None  # another process may write here

        first = place - place % len(_ZEROS)

        return max(start, first), min(end, first + len(_ZEROS)), _ZEROS, -first

    def written(self, place: int) -> tuple[int, int]:
        """The stretch around `place` that was written here; (1, 0) if `place` was not."""
        index = bisect_right(self._dirty, place)

        return (self._dirty[index - 1], self._dirty[index]) if index % 2 else (1, 0)

    def read(self, place: int, length: int) -> bytes:
        """Copy bytes out; allocates no page."""
        if self.base is not None:
            return b"".join(self._read_stretches(place, place + length))

        if self.fd < 0:
            return self.map[place : place + length]

        data = os.pread(self.fd, length, place)
        while len(data) < length:  # one call moves 2 GiB less a page at most
            data += os.pread(self.fd, length - len(data), place + len(data))

        return data

    def write(self, place: int, data: Buffer) -> bool:
        """Copy bytes in; whether some of their pages are written for the first time."""
        end = place + len(data)
        self.map[place:end] = data  # type: ignore[assignment,unused-ignore]
        if place == end:
            return False

        first = place - place % PAGE_SIZE
        last = end + -end % PAGE_SIZE
        new = note_stretch(self._dirty, first, last)
        if new and self.base is not None:
            note_stretch(self._borders, first, last)

        return new

    def _read_stretches(self, place: int, end: int) -> Iterator[bytes]:
        while place < end:
            found = self.stretch(place)
            assert found is not None  # nobody else writes over frozen pages
            stop = min(end, found[1])
            yield found[2][place + found[3] : stop + found[3]]
            place = stop

    def pages(self) -> Iterator[int]:
        """The places of the pages that were written, of a store that was never handed out."""
        return pages_in(self._borders)

    def freeze(self) -> tuple[Frozen, dict[int, bytes]] | None:
        """Let others go on from the pages as they are now.

        Returns:
            the frozen pages, and those that were written since; None where the file was handed
            out, or the system has no memfd.

        Raises:
            OSError: the system cannot map that much, or has no descriptor left.
        """
        if self._final or (self.fd < 0 and self.base is None):
            return None

        if self.base is not None and count_pages(self._dirty) > max(
            _DIRTY_MIN, count_pages(self._borders) // _DIRTY_PART
        ):
            self.own_file()

        if self.base is None:
            base = Frozen(self.fd, self.size, [*self._borders], self.map)
            try:
                self.map = base.map_privately()
            except BaseException:
                base.fd = -1  # it stays this store's
                raise

            self.base, self.fd, self._dirty = base, -1, []

        page = PAGE_SIZE

        return self.base, {at: self.map[at : at + page] for at in pages_in(self._dirty)}

    def own_file(self) -> None:
        """Copy the pages into a file of its own, if it goes on from frozen ones.

        Raises:
            OSError: the system has no memory or no descriptor left; nothing has changed.
        """
        if self.base is None:
            return

        copy = Store(self.size)
        with memoryview(self.map) as held:
            for low, high in zip(self._borders[::2], self._borders[1::2], strict=True):
                copy.map[low:high] = held[low:high]  # type: ignore[assignment,unused-ignore]

        self.map.close()
        self.map, self.fd, self.base = copy.map, copy.fd, None
        self._dirty = self._borders
        copy.fd = -1

    def seal_writes(self) -> None:
        """Keep every later descriptor and mapping from writing; `map` goes on writing.

        Does nothing where the system has no memfd or no such seal (Linux before 5.1).

        Raises:
            OSError: EPERM; a descriptor is out already, and the seals are final.
        """
        if self.fd < 0 or self.sealed:
            return

        try:
            add_seals(self.fd, F_SEAL_FUTURE_WRITE)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        else:
            self.sealed = True

    def open_again(self, *, writable: bool) -> int:
        """A new descriptor of the memfd, fit to be handed out: nobody can add a seal any more.

        Args:
            writable: for writing as well as for reading.

        Returns:
            the descriptor, which is the caller's and has an open file description of its own,
            or -1 where the system has no memfd.

        Raises:
            OSError: `/proc` is not there, or the process has no descriptor left.
        """
        if self.fd < 0:
            return -1

        import fcntl

        if not self._final:
            add_seals(self.fd, fcntl.F_SEAL_SEAL)
            self._final = True

        mode = os.O_RDWR if writable else os.O_RDONLY
        os.fchmod(self.fd, _OWNER_MODE)
        try:
            return os.open(f"/proc/self/fd/{self.fd}", mode | os.O_CLOEXEC)
        finally:
            os.fchmod(self.fd, NO_MODE)

    def close(self) -> None:
        """Give the pages and the descriptor back; twice is once."""
        self.map.close()
        self._close_fd()

    def _close_fd(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            self._close_fd()
