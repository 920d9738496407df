"""The bytes behind a machine's memory: one sparse file in memory, mapped once.

The core does no I/O, and this is the one place where it calls the operating system for storage:
the mapping is the store itself, no input ever comes from it, and a page costs nothing until
it is touched. On Linux it is a memfd, so that a later reader can map the same pages; elsewhere
it is an anonymous mapping without reservation.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
from typing import Any, Final

#: The most that one process can map with room to spare: half of a 47-bit address space.
STORE_MAX: Final = 1 << 46

_MAP_NORESERVE: Final = getattr(mmap, "MAP_NORESERVE", 0)


class Store:
    """A sparse run of zero bytes.

    A page takes memory from its first touch on, by a read as well as by a write.

    Attributes:
        size: bytes.
        fd: the memfd, sealed against growing and shrinking (a peer that holds it cannot cut
            the pages away under this process), or -1 where the system has none.
        map: the mapping; slices of it are copies.

    Args:
        size: bytes, positive.

    Raises:
        OSError: the system cannot map that much, or has no descriptor left.
    """

    __slots__ = ("fd", "map", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.fd = -1
        if sys.platform == "linux":
            self.fd = _memfd(size)

        try:
            self.map = _map_file(self.fd, size) if self.fd >= 0 else _map_anonymous(size)
        except BaseException:
            self._close_fd()
            raise

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
        os.ftruncate(fd, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    except BaseException:
        os.close(fd)
        raise

    return fd


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
