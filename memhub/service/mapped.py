"""A machine's memory, mapped from the service's descriptor, by physical address."""

from __future__ import annotations

import mmap
import os
from bisect import bisect_right

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    Row = tuple[int, int, int, str]


class MappedMemory:
    """A machine's memory in this process; accesses are not checked and not logged.

    The machine goes on meanwhile: its other clients see at once what is written here. The first
    access to a page makes the kernel allocate it, also a read; `os.pread` of `fd` does not.

    Args:
        fd: the descriptor that the service sent; this object closes it.
        rows: what the file holds: physical base, length, offset in the file, kind; in order.
        writable: whether it may be written.

    Attributes:
        fd: the descriptor.
        rows: the table.
        map: the whole file.
    """

    def __init__(self, fd: int, rows: tuple[Row, ...], *, writable: bool) -> None:
        self.fd = fd
        self.rows = rows
        self.writable = writable
        mode = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        self.map = mmap.mmap(fd, os.fstat(fd).st_size, mmap.MAP_SHARED, mode)
        self._starts = [row[0] for row in rows]

    def place(self, address: int, length: int) -> int:
        """Where a stretch of physical memory lies in the file.

        Raises:
            BadAddress: EFAULT; it is not in one piece of mapped memory.
        """
        index = bisect_right(self._starts, address) - 1
        if index >= 0:
            base, size, offset, _ = self.rows[index]
            if 0 <= length <= base + size - address:
                return offset + address - base

        from memhub.errors import BadAddress

        raise BadAddress(f"{address:#x}/{length:#x} is not in one piece of mapped memory")

    def read(self, address: int, length: int) -> bytes:
        """Copy bytes out; errors are those of `place`."""
        at = self.place(address, length)

        return self.map[at : at + length]

    def write(self, address: int, data: bytes) -> None:
        """Copy bytes in; errors are those of `place`.

        Raises:
            TypeError: the map is for reading only.
        """
        at = self.place(address, len(data))
        self.map[at : at + len(data)] = data

    def close(self) -> None:
        """Unmap and close. Closing twice does nothing."""
        if self.fd >= 0:
            self.map.close()
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "fd", -1) >= 0 and hasattr(self, "map"):
            self.close()
