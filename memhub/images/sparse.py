"""Bytes of a file as contents: holes and zeros take no memory, and what does is limited."""

from __future__ import annotations

import errno
import io
import os
import stat
from typing import IO, TYPE_CHECKING, Final

from memhub.abi import PAGE_SIZE
from memhub.core.spec import Content
from memhub.images.failure import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Bytes other than zeros that one file may bring.
DATA_MAX: Final = 1 << 30
#: Stretches that one file may bring.
PIECES_MAX: Final = 1 << 20

_READ: Final = 1 << 20
_ZEROS: Final = bytes(PAGE_SIZE)


def open_regular(path: str | os.PathLike[str], shown: str) -> io.FileIO:
    """Open a file without a buffer, and without waiting for who writes a pipe.

    Args:
        path: the file.
        shown: its name, for messages.

    Raises:
        ImageError: it is a pipe or a device.
        OSError: it cannot be opened, or is a folder.
    """
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))

        if not stat.S_ISREG(mode):
            raise ImageError(shown, "is not a regular file")

        return io.FileIO(fd)
    except BaseException:
        os.close(fd)
        raise


class Budget:
    """How many bytes and stretches a file may still bring.

    Args:
        path: the file, for the refusal.
        most: bytes other than zeros.
    """

    def __init__(self, path: str, most: int = DATA_MAX) -> None:
        self._path = path
        self._most = most
        self._bytes = self._pieces = 0

    def begin(self, *, offset: int | None = None, line: int | None = None) -> None:
        """Count a stretch; ImageError where it is one too many."""
        self._pieces += 1
        if self._pieces > PIECES_MAX:
            what = f"brings more than {PIECES_MAX} stretches, which is the limit"
            raise ImageError(self._path, what, offset=offset, line=line)

    def take(self, size: int, *, offset: int | None = None, line: int | None = None) -> None:
        """Count bytes; ImageError where they are too many."""
        self._bytes += size
        if self._bytes > self._most:
            what = f"brings more than {self._most} bytes that are not zero, which is the limit"
            raise ImageError(self._path, what, offset=offset, line=line)


def read_contents(
    file: IO[bytes],
    place: int,
    size: int,
    base: int,
    source: str,
    budget: Budget,
    *,
    zeros: int = 0,
) -> Iterator[Content]:
    """A stretch of a file as contents that cover a stretch of addresses whole.

    Args:
        file: the file, open without a buffer.
        place: where it begins.
        size: bytes, all of them in the file.
        base: the physical address of the first.
        source: where it comes from, for messages.
        budget: what the file may bring.
        zeros: how many zeros follow in memory.

    Raises:
        ImageError: it brings too much.
    """
    start, data, total = 0, b"", size + zeros
    for at, found in _filled(file, place, size, budget):
        if at > start or data:
            yield Content(base=base + start, data=data, zeros=at - start - len(data), source=source)

        start, data = at, found

    if total > start:
        yield Content(base=base + start, data=data, zeros=total - start - len(data), source=source)


def _filled(file: IO[bytes], place: int, size: int, budget: Budget) -> Iterator[tuple[int, bytes]]:
    """The longest runs of pages that hold something: how far from `place`, and the bytes."""
    begin, run = 0, bytearray()
    for at, piece in _pieces(file, place, place + size):
        view = memoryview(piece)
        for low in range(0, len(piece), PAGE_SIZE):
            block = view[low : low + PAGE_SIZE]
            if block == _ZEROS[: len(block)]:
                continue

            here = at + low - place
            if not run or begin + len(run) != here:
                if run:
                    yield begin, bytes(run)

                begin, run = here, bytearray()
                budget.begin(offset=at + low)

            budget.take(len(block), offset=at + low)
            run += block

    if run:
        yield begin, bytes(run)


def _pieces(file: IO[bytes], place: int, end: int) -> Iterator[tuple[int, bytes]]:
    """What is in a file between two places, without its holes, in pieces."""
    for low, high in _data_ranges(file, place, end):
        at = low
        while at < high:
            piece = os.pread(file.fileno(), min(_READ, high - at), at)
            if not piece:
                return  # somebody cut the file meanwhile

            yield at, piece
            at += len(piece)


def _data_ranges(file: IO[bytes], place: int, end: int) -> Iterator[tuple[int, int]]:
    """The stretches of a file that are no holes, where the system tells them."""
    if not hasattr(os, "SEEK_DATA"):
        yield place, end
        return

    at, fd = place, file.fileno()
    while at < end:
        try:
            low = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole to the end of the file
                return

            yield at, end  # a file system without holes
            return

        if low >= end:
            return

        high = min(end, os.lseek(fd, low, os.SEEK_HOLE))
        yield low, high
        at = high
