"""Places in a log: its end, the last records before that, and the place behind a known record."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memhub.audit.chain import seal_of
from memhub.audit.failure import AuditError
from memhub.audit.line import parse_record
from memhub.audit.reading.segments import is_folder
from memhub.audit.reading.source import open_source
from memhub.shipping.failure import ShippingFailed
from memhub.shipping.part_file import START, Mark, mark_after, open_part
from memhub.shipping.parts import Part, first_part, has_record, list_parts, read_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memhub.shipping.state_file import Shipped

_BLOCK: Final = 1 << 18

#: Bytes of lines that `read_last` keeps at most.
_MOST_BYTES: Final = 256 << 20


class Place(NamedTuple):
    """Behind one line of a log.

    Attributes:
        part: the file.
        mark: the line.
    """

    part: Part
    mark: Mark


def find_end(path: str) -> Place | None:
    """The place behind the last whole line; None for a log without one.

    Raises:
        AuditError: the log cannot be read.
    """
    parts = list_parts(path) if is_folder(path) else [first_part(path)]
    written = [part for part in parts if part is not None and has_record(part)]

    return Place(written[-1], find_last_mark(written[-1].path)) if written else None


def count_bytes(path: str, start: Place | None) -> int:
    """Bytes of the files of a log from a place on, as they are on the disk.

    Args:
        path: the log.
        start: the place; its whole file counts. None for the beginning.
    """
    parts = list_parts(path) if is_folder(path) or start is not None else []
    files = [it.path for it in parts if start is None or it.order >= start.part.order] or [path]

    return sum(Path(it).stat().st_size for it in files if Path(it).is_file())


def find_last_mark(path: str) -> Mark:
    """The mark of the last whole line of a file.

    Raises:
        AuditError: the file cannot be read.
    """
    if _is_plain(path):
        found = next(_read_backward(path, Path(path).stat().st_size), None)

        return START if found is None else mark_after(*found)

    file = open_part(path)
    deque(file.read_lines(), 0)
    file.close()

    return file.mark


def read_last(
    path: str, end: Place | None, count: int, wanted: Callable[[dict[str, Any]], bool]
) -> list[tuple[bytes, dict[str, Any]]]:
    """The last records before a place that are wanted, oldest first.

    Files are read from their ends, so a long log takes no longer than a short one.

    Args:
        path: the log.
        end: the place; None for a log without a record.
        count: how many records at most.
        wanted: says of a record whether it counts.

    Returns:
        the lines, without their newlines, and what they hold.

    Raises:
        AuditError: a file cannot be read, or a line is not a record.
        ShippingFailed: the records need too much memory.
    """
    if end is None:
        return []

    kept: list[bytes] = []
    for part in reversed(list_parts(path) if is_folder(path) else [end.part]):
        if part.order <= end.part.order and len(kept) < count:
            stop = end.mark.end if part.order == end.part.order else None
            kept += _last_of(part.path, stop, count - len(kept), wanted)

    return [(line, parse_record(line, typed=True)) for line in reversed(kept)]


def find_shipped(path: str, shipped: Shipped) -> Place:
    """The place behind the record that was sent last.

    Args:
        path: the log. Of one that was rotated by renaming, the older files are searched too.
        shipped: which record that is.

    Raises:
        AuditError: the log cannot be read.
        ShippingFailed: the record is not in the log.
    """
    parts = list_parts(path)
    seal = seal_of(shipped.hash)
    for part in reversed(parts):
        header = read_header(part.path)
        if header is not None and header.log_id not in ("", shipped.log_id):
            raise ShippingFailed(
                f"{path} is the log {header.log_id}, and the state file is of {shipped.log_id}", 2
            )

        if header is None or (is_folder(path) and header.seq > shipped.seq):
            continue

        mark = _find_line(part.path, seal)
        if mark is not None:
            return Place(part, mark)

        if is_folder(path):
            break

    raise ShippingFailed(
        f"{path}: record {shipped.seq} with hash {shipped.hash}, which was sent last, is not in "
        "the log: it was altered or cut, or files of it were taken away; without the state file "
        "the log is sent from its beginning",
        2,
    )


def _find_line(path: str, seal: bytes) -> Mark | None:
    file = open_part(path)
    try:
        return next((file.mark for line in file.read_lines() if line.endswith(seal)), None)
    finally:
        file.close()


def _last_of(
    path: str, end: int | None, count: int, wanted: Callable[[dict[str, Any]], bool]
) -> list[bytes]:
    """The last lines of one file before a byte of it, newest first."""
    packed = not _is_plain(path)
    kept: deque[bytes] = deque()
    size = 0
    for line in _read_forward(path) if packed else _read_lines_backward(path, end):
        try:
            if not wanted(parse_record(line, typed=True)):
                continue
        except ValueError as error:
            raise AuditError(path, f"a line is not a record: {error}") from error

        kept.append(line)
        size += len(line)
        if len(kept) > count:
            size -= len(kept.popleft())

        if size > _MOST_BYTES:
            raise ShippingFailed(f"{count} records have more than {_MOST_BYTES >> 20} MiB", 2)

        if not packed and len(kept) == count:
            break

    return [*reversed(kept)] if packed else [*kept]


def _is_plain(path: str) -> bool:
    with open_source(path) as source:
        # the path of a segment that was compressed meanwhile leads to nothing
        return source.plain and Path(path).exists()


def _read_forward(path: str) -> Iterator[bytes]:
    file = open_part(path)
    try:
        yield from file.read_lines()
    finally:
        file.close()


def _read_lines_backward(path: str, end: int | None) -> Iterator[bytes]:
    size = Path(path).stat().st_size if end is None else end

    return (line for line, _ in _read_backward(path, size))


def _read_backward(path: str, end: int) -> Iterator[tuple[bytes, int]]:
    """The whole lines before a byte of a file and where the next one begins, newest first."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # `rest` is the piece of a line that ends at `behind`, with a newline if it is whole
        start, behind, rest, whole = end, end, b"", False
        while start:
            size = min(_BLOCK, start)
            start -= size
            pieces = (os.pread(fd, size, start) + rest).split(b"\n")
            rest = pieces[0]
            for piece in reversed(pieces[1:]):
                if whole:
                    yield piece, behind
                behind -= len(piece) + whole
                whole = True

        if whole:
            yield rest, behind
    finally:
        os.close(fd)
