"""Where reading can begin for a moment: at the last snapshot of the machines before it.

A segment begins with a snapshot, and a long file has one every few thousand records. Files whose
bytes can be reached are searched by halves, so that this takes the same time for a log of any
length. A compressed segment is unpacked for it, in memory.
"""

from __future__ import annotations

import mmap
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from memhub.audit.failure import AuditError
from memhub.audit.reading.segments import is_folder, list_segments
from memhub.audit.reading.source import DamagedSource, open_source

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator
    from typing import Any

    #: Whether a record is behind the moment.
    IsBehind = Callable[[dict[str, Any]], bool]

_SNAPSHOT: Final = b'"event":"log.snapshot"'

#: A compressed segment of more bytes than this is read from its start.
_UNPACKED_MAX: Final = 512 << 20

#: How far into a segment its first record of a hub is looked for.
_HEAD: Final = 1 << 20


class Start(NamedTuple):
    """A place in a log where reading can begin.

    Attributes:
        files: the file to begin with, and those behind it.
        offset: where to begin in the first of them, in bytes of the log.
    """

    files: tuple[str, ...]
    offset: int


def find_start(path: str | os.PathLike[str], is_behind: IsBehind) -> Start | None:
    """Find the last snapshot before a moment.

    Args:
        path: a file or a folder of segments.
        is_behind: whether a record is behind the moment; it is once it is for all later ones.

    Returns:
        None where reading has to begin at the start: there is no snapshot before the moment, or
        the log is a pipe, a compressed file, or not readable as it should be.

    Raises:
        AuditError: the folder cannot be read.
    """
    if not is_folder(path):
        return _find_in(str(path), (str(path),), is_behind) if Path(path).is_file() else None

    files = [segment.path for segment in list_segments(path)]
    index = _last_before(files, is_behind)
    while index >= 0:
        start = _find_in(files[index], tuple(files[index:]), is_behind)
        if start is not None:
            return start

        index -= 1

    return None


def _last_before(files: list[str], is_behind: IsBehind) -> int:
    """The last file that does not begin behind the moment."""
    low, high = 0, len(files) - 1
    while low < high:
        middle = (low + high + 1) // 2
        first = _first_record(files[middle])
        if first is None or is_behind(first):
            high = middle - 1
        else:
            low = middle

    return high


def _first_record(path: str) -> dict[str, Any] | None:
    """The first record of a file that is of a hub, and so has the hub's clock."""
    data = b""
    try:
        with open_source(path) as source:
            for block in source.blocks():
                data += block
                if len(data) >= _HEAD:
                    break
    except (AuditError, DamagedSource):
        return None

    last = None
    for line in data.split(b"\n")[:-1]:
        last = _parse(line)
        if last is None or not str(last["event"]).startswith("log."):
            break

    return last


def _find_in(path: str, files: tuple[str, ...], is_behind: IsBehind) -> Start | None:
    try:
        with _bytes_of(path) as data:
            end = _find_line(data, is_behind)
            found = data.rfind(_SNAPSHOT, 0, end)
            while found >= 0:
                begin = data.rfind(b"\n", 0, found) + 1
                record = _parse(data[begin : data.find(b"\n", begin)])
                if record is not None and _is_whole_before(record, is_behind):
                    return Start(files, begin)

                found = data.rfind(_SNAPSHOT, 0, begin)
    except (AuditError, DamagedSource, OSError, ValueError):
        pass  # the pass from the start says what is wrong

    return None


def _is_whole_before(record: dict[str, Any], is_behind: IsBehind) -> bool:
    """Whether a record begins a snapshot whose last record is not behind the moment."""
    count = record.get("count")
    if record["event"] != "log.snapshot" or type(count) is not int:
        return False

    return not is_behind({**record, "event": "held.part", "seq": record["seq"] + count})


def _find_line(data: mmap.mmap | bytes, is_behind: IsBehind) -> int:
    """Where the first line behind the moment begins, or the end of the last whole line."""
    low, high = 0, data.rfind(b"\n") + 1
    while low < high:
        middle = (low + high) // 2
        begin = data.rfind(b"\n", low, middle)
        begin = low if begin < 0 else begin + 1
        end = data.find(b"\n", begin, high) + 1
        record = _parse(data[begin : end - 1]) if end else None
        if record is None:
            raise ValueError("not a record")

        if is_behind(record):
            high = begin
        else:
            low = end

    return low


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None

    whole = isinstance(record, dict) and type(record.get("seq")) is int
    timed = whole and type(record.get("wall_ns")) is int and isinstance(record.get("event"), str)

    return record if timed else None


@contextmanager
def _bytes_of(path: str) -> Iterator[mmap.mmap | bytes]:
    with open_source(path) as source:
        unpacked = None if source.plain else _unpacked(source.blocks())

    if unpacked is not None:
        yield unpacked
        return

    with (
        Path(path).open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        yield data


def _unpacked(blocks: Iterator[bytes]) -> bytes:
    data = bytearray()
    for block in blocks:
        data += block
        if len(data) > _UNPACKED_MAX:
            raise ValueError("too large to be unpacked in memory")

    return bytes(data)
