"""Where a log is read from: a file, a pipe or standard input, plain or compressed.

It is read once, from front to back, in blocks of a bounded size, so nothing needs to seek.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import sys
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from memhub.audit.failure import AuditError
from memhub.audit.line import MAX_LINE
from memhub.audit.reading.unfinished import UnfinishedLine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import FileIO
    from types import ModuleType

#: Bytes that are read at once; for more the memory comes from the kernel anew each time.
_BLOCK: Final = 1 << 17

#: The path that means standard input.
STANDARD_INPUT: Final = "-"

#: The end of the name of a segment that the writer has compressed.
PACKED: Final = ".zst"

#: How compressed files begin, and what compressed them.
_MAGIC: Final = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\x00": "xz",
    b"BZh": "bzip2",
}


class DamagedSource(ValueError):
    """Raised where compressed data do not go on; what came before is right so far."""


class Source:
    """The bytes of a log, once.

    Args:
        file: open for reading, without a buffer.
        name: for messages.
        path: by which others can open the same file, from its beginning; None if there is none.

    Attributes:
        name: what the log is called in messages.
        path: as above.
        plain: whether the bytes are the file's own, not decompressed.
        size: bytes of a regular file when it was opened, None for anything else.
        taken: bytes read of it so far, before decompression.
    """

    def __init__(self, file: FileIO, name: str, path: str | None = None) -> None:
        self.name = name
        self.path = path
        self.fd = file.fileno()
        self.size = _size_left(self.fd)
        self.taken = 0
        self._file = file
        first = self._read_first()
        kind = next((kind for magic, kind in _MAGIC.items() if first.startswith(magic)), None)
        self.plain = kind is None
        self._unpack = None if kind is None else _find_unpacker(kind, name)
        self._first = first

    def blocks(self, offset: int = 0) -> Iterator[bytes]:
        """The log's bytes, a block at a time. A file that grows meanwhile still ends.

        Args:
            offset: bytes of the log that are left out first.

        Raises:
            DamagedSource: the compressed data are damaged or end early.
        """
        if self._unpack is not None:
            return _skip(self._unpack(self._stored()), offset)

        if offset and self.size is not None:
            self._file.seek(offset)
            self._first, self.taken = b"", offset
            offset = 0

        return _skip(self._stored(), offset)

    def _stored(self) -> Iterator[bytes]:
        if self._first:
            yield self._first

        while block := self._read(_BLOCK):
            yield block

    def _read_first(self) -> bytes:
        """Enough to tell how it is compressed; a pipe may hand it over byte by byte."""
        first = b""
        longest = max(map(len, _MAGIC))
        while len(first) < longest and (more := self._read(_BLOCK)):
            first += more

        return first

    def _read(self, most: int) -> bytes:
        if self.size is not None:
            most = min(most, self.size - self.taken)
        while (block := self._file.read(most)) is None:
            # a pipe that was made non-blocking by another that has it open
            select.select([self.fd], [], [])
        self.taken += len(block)

        return block


def _skip(blocks: Iterator[bytes], offset: int) -> Iterator[bytes]:
    for block in blocks:
        if offset < len(block):
            yield block[offset:] if offset else block

        offset = max(0, offset - len(block))


@contextmanager
def open_source(path: str | os.PathLike[str]) -> Iterator[Source]:
    """Open a log for reading.

    Args:
        path: a file, a pipe, a device such as `/dev/stdin`, or `-` for standard input.

    Raises:
        AuditError: it cannot be opened or read, or is compressed in a way that is not supported.
            OSError of reading inside the block becomes one too.
    """
    given = os.fspath(path)
    name = "standard input" if given == STANDARD_INPUT else given
    file: str | int = 0 if given == STANDARD_INPUT else given
    try:
        with _open_raw(file) as raw:
            yield Source(raw, name, None if given == STANDARD_INPUT else given)
    except AuditError:
        raise
    except OSError as error:
        raise AuditError.of(name, "audit log not read", error) from error


def _open_raw(file: str | int) -> FileIO:
    try:
        return open(file, "rb", buffering=0, closefd=file != 0)
    except FileNotFoundError:
        # a segment that was compressed since its folder was listed
        if isinstance(file, str) and os.path.exists(file + PACKED):  # noqa: PTH110
            return open(file + PACKED, "rb", buffering=0)  # noqa: PTH123

        raise


def split_lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The whole lines of some blocks, without their newlines; an unfinished last one is left out.

    Raises:
        ValueError: a line is longer than MAX_LINE; it is never held as a whole.
    """
    rest = UnfinishedLine()
    for block in blocks:
        yield from rest.split(block)
        if rest.size >= MAX_LINE:
            raise ValueError(f"a line has at most {MAX_LINE} bytes")


def _size_left(fd: int) -> int | None:
    """Bytes of a regular file from where it stands; None where its size says nothing."""
    state = os.fstat(fd)
    if not stat.S_ISREG(state.st_mode) or not state.st_size:
        return None

    return max(0, state.st_size - os.lseek(fd, 0, os.SEEK_CUR))


def _find_unpacker(kind: str, name: str) -> Callable[[Iterator[bytes]], Iterator[bytes]]:
    if kind == "gzip":
        return _gunzip

    if kind == "zstd":
        zstd = load_zstd()
        return lambda stored: _unzstd(stored, zstd)

    raise AuditError(
        name,
        f"audit log not read: it is compressed with {kind}; "
        f"decompress it into `memhub audit VERB -`",
        errno.ENOTSUP,
    )


def load_zstd() -> ModuleType:
    """The zstd module: of the standard library, or the package with the same interface."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd

    return zstd


def _gunzip(stored: Iterator[bytes]) -> Iterator[bytes]:
    """Decompress gzip members, one after another, a bounded block at a time."""
    member: Any = None
    try:
        for block in stored:
            data = block
            while data:
                if member is None:
                    # zeros between and after members are padding, as of a tape's blocks
                    data = data.lstrip(b"\0")
                    if not data:
                        break
                    member = zlib.decompressobj(31)
                if text := member.decompress(data, _BLOCK):
                    yield text
                data = member.unused_data if member.eof else member.unconsumed_tail
                if member.eof:
                    member = None
    except zlib.error as error:
        raise DamagedSource(f"the gzip data are damaged: {error}") from error

    if member is not None:
        raise DamagedSource("the gzip data end early")


def _unzstd(stored: Iterator[bytes], zstd: ModuleType) -> Iterator[bytes]:
    """Decompress zstd frames, likewise."""
    frame: Any = None
    try:
        for block in stored:
            data = block
            while data or (frame is not None and not frame.needs_input):
                frame = frame or zstd.ZstdDecompressor()
                if text := frame.decompress(data, _BLOCK):
                    yield text
                data = frame.unused_data if frame.eof else b""
                if frame.eof:
                    frame = None
    except zstd.ZstdError as error:
        raise DamagedSource(f"the zstd data are damaged: {error}") from error

    if frame is not None:
        raise DamagedSource("the zstd data end early")
