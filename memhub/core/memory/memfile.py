"""Files and mappings of the operating system in which `backing` keeps a machine's memory."""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
from typing import Any, Final

F_SEAL_FUTURE_WRITE: Final = 0x10  # Linux 5.1; the fcntl module has no name for it
#: Permission bits with which nobody can open a memfd again.
NO_MODE: Final = 0

_MAP_NORESERVE: Final = getattr(mmap, "MAP_NORESERVE", 0)


class Frozen:
    """Pages that nobody writes any more, in a file that several stores go on from.

    Attributes:
        fd: the memfd; nobody else has a descriptor of it.
        size: bytes.
        borders: where pages that were written begin and end, in turn.
        map: the mapping in which they were written; to take it away now would cost time.
    """

    __slots__ = ("borders", "fd", "map", "size")

    def __init__(self, fd: int, size: int, borders: list[int], written: mmap.mmap) -> None:
        self.fd = fd
        self.size = size
        self.borders = borders
        self.map = written

    def map_privately(self) -> mmap.mmap:
        """A mapping of its own for one store, whose writes do not reach the file."""
        return map_file(self.fd, self.size, mmap.MAP_PRIVATE)

    def read(self, place: int, length: int) -> bytes:
        """Copy bytes out, a page at most."""
        return self.map[place : place + length]

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            os.close(self.fd)


def make_memfd(size: int) -> int:
    """A memfd of zeros that can neither grow nor shrink.

    Raises:
        OSError: the process has no descriptor left, or the size is too large.
    """
    import fcntl

    fd = os.memfd_create("memhub", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.fchmod(fd, NO_MODE)  # a memfd begins with all permissions for everybody
        os.ftruncate(fd, size)
        add_seals(fd, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    except BaseException:
        os.close(fd)
        raise

    return fd


def add_seals(fd: int, seals: int) -> None:
    """Add seals to a memfd; OSError (EPERM) where they are final."""
    import fcntl

    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)


def map_file(fd: int, size: int, kind: int | None = None) -> mmap.mmap:
    """Map a file: shared, unless `kind` is another flag; OSError if the system cannot."""
    # Before 3.13 the mapping keeps a descriptor of its own beside ours.
    once: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}
    kind = mmap.MAP_SHARED if kind is None else kind

    return mmap.mmap(fd, size, flags=kind | _MAP_NORESERVE, **once)


def map_anonymous(size: int) -> mmap.mmap:
    """Map zeros that no file is behind; OSError if the system cannot."""
    if sys.platform == "win32":
        return mmap.mmap(-1, size)

    area = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        # one touched byte must not cost two megabytes
        with contextlib.suppress(OSError):
            area.madvise(mmap.MADV_NOHUGEPAGE)

    return area
