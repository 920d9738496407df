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
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import sys
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any, Final

from memhub.abi import PAGE_SIZE

if TYPE_CHECKING:
    from memhub.abi import Buffer

#: The most that one process can map with room to spare: half of a 47-bit address space.
STORE_MAX: Final = 1 << 46

_MAP_NORESERVE: Final = getattr(mmap, "MAP_NORESERVE", 0)

_F_SEAL_FUTURE_WRITE: Final = 0x10  # Linux 5.1; the fcntl module has no name for it
_OWNER_MODE: Final = 0o600
_NO_MODE: Final = 0
#: What pages that nobody wrote are copied from; the system allocates none of its pages either.
_ZEROS: Final = bytes(64 << 20)


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

    Args:
        size: bytes, positive.

    Raises:
        OSError: the system cannot map that much, or has no descriptor left.
    """

    __slots__ = ("_borders", "_final", "fd", "map", "sealed", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.sealed = False
        self._final = False
        self.fd = -1
        if sys.platform == "linux":
            self.fd = _memfd(size)

        try:
            self.map = _map_file(self.fd, size) if self.fd >= 0 else _map_anonymous(size)
        except BaseException:
            self._close_fd()
            raise

        # Where pages that were written here begin and end, in turn. Without a file all of them
        # count as written: a private mapping is read without allocating.
        self._borders = [] if self.fd >= 0 else [0, size]

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
        index = bisect_right(self._borders, place)

        return (self._borders[index - 1], self._borders[index]) if index % 2 else (1, 0)

    def read(self, place: int, length: int) -> bytes:
        """Copy bytes out; allocates no page."""
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
        first = place - place % PAGE_SIZE
        last = end + -end % PAGE_SIZE
        borders = self._borders
        low, high = bisect_left(borders, first), bisect_right(borders, last)
        if place == end or (low == high and low % 2):
            return False

        borders[low:high] = [first] * (low % 2 == 0) + [last] * (high % 2 == 0)

        return True

    def seal_writes(self) -> None:
        """Keep every later descriptor and mapping from writing; `map` goes on writing.

        Does nothing where the system has no memfd or no such seal (Linux before 5.1).

        Raises:
            OSError: EPERM; a descriptor is out already, and the seals are final.
        """
        if self.fd < 0 or self.sealed:
            return

        try:
            _add_seals(self.fd, _F_SEAL_FUTURE_WRITE)
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
            _add_seals(self.fd, fcntl.F_SEAL_SEAL)
            self._final = True

        mode = os.O_RDWR if writable else os.O_RDONLY
        os.fchmod(self.fd, _OWNER_MODE)
        try:
            return os.open(f"/proc/self/fd/{self.fd}", mode | os.O_CLOEXEC)
        finally:
            os.fchmod(self.fd, _NO_MODE)

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


def _memfd(size: int) -> int:
    import fcntl

    fd = os.memfd_create("memhub", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.fchmod(fd, _NO_MODE)  # a memfd begins with all permissions for everybody
        os.ftruncate(fd, size)
        _add_seals(fd, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    except BaseException:
        os.close(fd)
        raise

    return fd


def _add_seals(fd: int, seals: int) -> None:
    import fcntl

    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)


def _map_file(fd: int, size: int) -> mmap.mmap:
    # Before 3.13 the mapping keeps a descriptor of its own beside ours.
    once: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}

    return mmap.mmap(fd, size, flags=mmap.MAP_SHARED | _MAP_NORESERVE, **once)


def _map_anonymous(size: int) -> mmap.mmap:
    if sys.platform == "win32":
        return mmap.mmap(-1, size)

    area = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        # one touched byte must not cost two megabytes
        with contextlib.suppress(OSError):
            area.madvise(mmap.MADV_NOHUGEPAGE)

    return area
