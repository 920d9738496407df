"""The lines of one file of a log, as it grows.

Whoever writes the file may take back what a full disk left of a write, or cut the file short. So
before it is read on, the end of the last line that was read is compared with what is there now.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from memhub.audit.chain import SEAL_SIZE
from memhub.audit.failure import AuditError
from memhub.audit.line import MAX_LINE
from memhub.audit.reading.source import PACKED, DamagedSource, open_source, split_lines
from memhub.audit.reading.unfinished import UnfinishedLine
from memhub.audit.writing.place import leads_to

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK: Final = 1 << 18

#: How many of the lines read last are remembered.
_MARKS: Final = 4096

#: `held`: what was read is there; `cut`: only its beginning is; `gone`: nothing of it is.
Fate = Literal["held", "cut", "gone"]


class Mark(NamedTuple):
    """The end of a line that was read.

    Attributes:
        end: where the next line begins, bytes from the start of the file.
        seal: the last bytes of the line, which hold its hash; empty at the start of the file.
    """

    end: int
    seal: bytes


#: Where nothing was read yet.
START: Final = Mark(0, b"")


def mark_after(line: bytes, end: int) -> Mark:
    """The mark of a line (without its newline) whose successor begins at `end`."""
    return Mark(end, line[-SEAL_SIZE:])


def open_part(path: str, mark: Mark = START) -> GrowingFile | PackedFile:
    """Open a file of a log behind a line.

    Args:
        path: the file; where it is not there and was compressed, that one is opened.
        mark: the last line that was read.

    Raises:
        AuditError: it cannot be opened, or is compressed in a way that is not supported.
    """
    with open_source(path) as source:
        plain = source.plain

    if plain and Path(path).exists():
        return GrowingFile(path, mark)

    return PackedFile(path if Path(path).exists() else path + PACKED, mark)


class PackedFile:
    """A compressed file: it is whole, and does not change.

    Args:
        path: the file.
        mark: the last line that was read.

    Attributes:
        path: as above.
        mark: as above, of the line that was read last.
    """

    def __init__(self, path: str, mark: Mark = START) -> None:
        self.path = path
        self.mark = mark
        self._closing = ExitStack()
        # opened now, as it may be renamed before it is read
        self._source = self._closing.enter_context(open_source(path))
        self._read = False

    def find_fate(self) -> Fate:
        """What became of what was read: a compressed file does not change."""
        return "held"

    def is_at(self, path: str) -> bool:
        """Whether a path leads to this file."""
        return leads_to(path, self._source.fd)

    def is_unlinked(self) -> bool:
        """Whether the file was taken back by its writer: what is compressed never is."""
        return False

    def count_bytes(self) -> int:
        """Bytes of the file that were read."""
        return self._source.taken

    def read_lines(self) -> Iterator[bytes]:
        """The lines behind the mark, without their newlines; none at a second call.

        Raises:
            AuditError: the compressed data are damaged, or a line is too long.
        """
        if self._read:
            return

        self._read = True
        try:
            for line in split_lines(self._source.blocks(self.mark.end)):
                self.mark = mark_after(line, self.mark.end + len(line) + 1)
                yield line
        except (DamagedSource, ValueError) as error:
            raise AuditError(self.path, f"audit log not read: {error}") from error
        except OSError as error:
            raise AuditError.of(self.path, "audit log not read", error) from error

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._closing.close()


class GrowingFile:
    """A file that is written meanwhile.

    Args:
        path: the file.
        mark: the last line that was read.

    Attributes:
        path: as above.
    """

    def __init__(self, path: str, mark: Mark = START) -> None:
        self.path = path
        self._marks = deque([mark], _MARKS)
        self._seen: tuple[int, int] | None = None
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise AuditError.of(path, "audit log not read", error) from error

    @property
    def mark(self) -> Mark:
        """The last line that was read."""
        return self._marks[-1]

    def is_at(self, path: str) -> bool:
        """Whether a path leads to this file."""
        return leads_to(path, self._fd)

    def is_unlinked(self) -> bool:
        """Whether the file has no name any more."""
        return os.fstat(self._fd).st_nlink == 0

    def count_bytes(self) -> int:
        """Bytes of the file that were read."""
        return self.mark.end

    def find_fate(self) -> Fate:
        """What became of what was read; if it was cut, reading goes on where it was cut."""
        if self._has(self.mark):
            return "held"

        for count, mark in enumerate(reversed(self._marks)):
            if mark.seal and self._has(mark):
                for _ in range(count):
                    self._marks.pop()
                return "cut"

        return "gone"

    def read_lines(self) -> Iterator[bytes]:
        """The lines behind the mark that are whole, without their newlines.

        The mark moves with each line, before the line is given out.

        Raises:
            AuditError: it cannot be read, or a line is too long.
        """
        state = os.fstat(self._fd)
        seen = (state.st_size, state.st_mtime_ns)
        if seen == self._seen:
            return

        rest, offset = UnfinishedLine(), self.mark.end
        while block := self._read(_BLOCK, offset):
            offset += len(block)
            for line in rest.split(block):
                self._marks.append(mark_after(line, self.mark.end + len(line) + 1))
                yield line

            if rest.size >= MAX_LINE:
                why = f"the line at byte {self.mark.end} has more than {MAX_LINE} bytes"
                raise AuditError(self.path, why)

        self._seen = seen

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _has(self, mark: Mark) -> bool:
        """Whether the line of a mark is there."""
        size = len(mark.seal)

        return not size or self._read(size + 1, mark.end - size - 1) == mark.seal + b"\n"

    def _read(self, count: int, offset: int) -> bytes:
        try:
            return os.pread(self._fd, count, offset)
        except OSError as error:
            raise AuditError.of(self.path, "audit log not read", error) from error
