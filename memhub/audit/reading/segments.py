"""The files of a log: one, or the segments of a folder in their order.

Segment 1 is `00000001.jsonl`. A segment that has ended is compressed into `00000001.jsonl.zst`
while the log goes on; until that is complete, and a little longer, both are there.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from memhub.audit.failure import AuditError
from memhub.audit.reading.source import STANDARD_INPUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from memhub.audit.reading.source import Source

#: The file that makes a folder a packed set, which the analysis reads and a log's readers do not.
PACKED: Final = "memhub-packed.json"

_NAME: Final = re.compile(r"([0-9]{8,18})\.jsonl(\.zst|\.gz)?")

#: Bytes on the disk from which processes are worth their start.
_LARGE: Final = 16 << 20


class Segment(NamedTuple):
    """One file of a folder.

    Attributes:
        number: its number, from 1.
        path: the file.
        packed: whether it is compressed.
    """

    number: int
    path: str
    packed: bool


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a log is a folder of segments, or is to become one: its path ends in a slash."""
    text = os.fspath(path)

    return text.endswith(os.sep) or (text != STANDARD_INPUT and Path(text).is_dir())


def log_name(path: str | os.PathLike[str]) -> str:
    """What a log is called in messages."""
    text = os.fspath(path)

    return "standard input" if text == STANDARD_INPUT else text


def segment_path(folder: str | os.PathLike[str], number: int) -> str:
    """Where a segment is written."""
    return str(Path(folder) / f"{number:08}.jsonl")


def number_of(path: str) -> int | None:
    """The number in a segment's file name, or None for another name."""
    parts = _NAME.fullmatch(Path(path).name)

    return None if parts is None else int(parts[1])


def list_segments(folder: str | os.PathLike[str], *, links: bool = True) -> list[Segment]:
    """The segments of a folder, oldest first; of two forms of one the compressed one.

    Only regular files are segments.

    Args:
        folder: the folder.
        links: whether symbolic links to such files are too.

    Raises:
        AuditError: the folder cannot be read.
    """
    found: dict[int, Segment] = {}
    try:
        with os.scandir(folder) as entries:
            names = sorted(it.name for it in entries if it.is_file(follow_symlinks=links))
    except OSError as error:
        raise AuditError.of(os.fspath(folder), "audit log not read", error) from error

    for name in names:
        parts = _NAME.fullmatch(name)
        if parts is not None:
            number = int(parts[1])
            # in this order a name with an ending comes last
            found[number] = Segment(number, str(Path(folder) / name), parts[2] is not None)

    return [found[number] for number in sorted(found)]


def log_files(path: str | os.PathLike[str]) -> list[str]:
    """The files of a log in their order: itself, or the segments of a folder.

    Raises:
        AuditError: the folder cannot be read, or has no segment.
    """
    if not is_folder(path):
        return [os.fspath(path)]

    files = [segment.path for segment in list_segments(path)]
    if not files:
        rule = "the folder has no segment of an audit log (00000001.jsonl)"
        if (Path(path) / PACKED).is_file():
            rule = "a packed set answers questions, lint and sql; this is asked of the log itself"

        raise AuditError(os.fspath(path), rule, errno.ENOENT)

    return files


def is_folder_in_use(path: str | os.PathLike[str]) -> bool:
    """Whether a writer has a folder of segments locked."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False

    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)

    return False


def choose_jobs(path: str | os.PathLike[str], wanted: int | None = None) -> int:
    """How many processes are to check a log.

    Args:
        path: the log.
        wanted: what the caller asks for; None for one on each core where the log is large.
    """
    if wanted is not None:
        return wanted

    large = sum(map(_size_of, log_files(path))) >= _LARGE

    return len(os.sched_getaffinity(0)) if large else 1


class Meter:
    """How much of a log's files was read, told to whoever shows it.

    Args:
        files: the files.
        progress: called with the bytes done and the bytes in all, as they are on the disk.
    """

    def __init__(self, files: Sequence[str], progress: Callable[[int, int], None] | None) -> None:
        self._progress = progress
        self._done = 0
        self._name: str | None = None
        self._last = 0
        self._total = sum(map(_size_of, files)) if len(files) > 1 and progress else None

    def blocks(self, source: Source, offset: int = 0) -> Iterator[bytes]:
        """The blocks of a source from an offset on; each is told once it was used."""
        for block in source.blocks(offset):
            yield block
            self.tell(source)

    def tell(self, source: Source) -> None:
        """Tell how far a file was read; nothing is told of a pipe."""
        if self._progress is None or source.size is None:
            return

        if source.name != self._name:
            self._done, self._name = self._done + self._last, source.name

        self._last = source.taken
        self._progress(self._done + source.taken, self._total or source.size)


def _size_of(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0
