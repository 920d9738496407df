"""The files of a log in their order: the segments of a folder, or a file and those before it.

A log of one file that is rotated by renaming it is a row of files too: each begins anew with
`seq` 1 and the same `log_id`. The file that is written is at the log's path, the others lie beside
it with a longer name (`audit.jsonl.1`, `audit.jsonl-20260131.gz`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from memhub.audit.failure import AuditError
from memhub.audit.reading.reader import first_record
from memhub.audit.reading.segments import is_folder, list_segments
from memhub.audit.reading.source import PACKED

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What follows the log's name in the name of a file that was renamed.
_JOINTS: Final = (".", "-")

#: How often a folder is listed anew that changes meanwhile.
_TRIES: Final = 5


class Part(NamedTuple):
    """One file of a log.

    Attributes:
        order: its place among them: the number of a segment; for files that were rotated, the
            time and the hash of the first record.
        path: the file.
    """

    order: tuple[int, str]
    path: str


class Header(NamedTuple):
    """What the first record of a file says.

    Attributes:
        seq: its number.
        wall_ns: its wall clock.
        log_id: identity of the log.
        hash: its hash.
    """

    seq: int
    wall_ns: int
    log_id: str
    hash: str


def choose_next(parts: Iterable[Part], order: tuple[int, str]) -> Part | None:
    """The first part behind a place.

    Args:
        parts: in any order.
        order: the place; that of a part is not behind itself.
    """
    return min((part for part in parts if part.order > order), default=None)


def read_header(path: str) -> Header | None:
    """The first record of a file; None while its line is not whole.

    Raises:
        AuditError: the file cannot be read, or its first line is not a record.
    """
    record = first_record(path)
    if record is None:
        return None

    return Header(record["seq"], record["wall_ns"], record.get("log_id", ""), record["hash"])


def list_parts(path: str) -> list[Part]:
    """The files of a log that have a record, oldest first.

    Raises:
        AuditError: the folder cannot be read.
    """
    if is_folder(path):
        return [Part((it.number, ""), it.path) for it in list_segments(path)]

    for _ in range(_TRIES):
        before = _list_beside(path)
        found = _order_files(path, before)
        if _list_beside(path) == before:
            break

    return found


def first_part(path: str) -> Part | None:
    """Where reading a log begins: its first segment, or the file itself; None without a record.

    Raises:
        AuditError: it cannot be read, or its first line is not a record.
    """
    if is_folder(path):
        return min(list_parts(path), default=None)

    header = read_header(path)

    return None if header is None else Part((header.wall_ns, header.hash), path)


def has_record(part: Part) -> bool:
    """Whether a part has a whole line; one that is compressed has."""
    try:
        return part.path.endswith((PACKED, ".gz")) or read_header(part.path) is not None
    except FileNotFoundError:
        return False


def _list_beside(path: str) -> dict[str, int]:
    """The file and those whose names begin as its name does, with their inodes."""
    folder, name = os.path.split(path)
    found: dict[str, int] = {}
    with os.scandir(folder or ".") as entries:
        for entry in entries:
            rest = entry.name.removeprefix(name)
            if entry.name.startswith(name) and (not rest or rest.startswith(_JOINTS)):
                found[str(Path(folder) / entry.name)] = entry.inode()

    return found


def _order_files(path: str, names: Iterable[str]) -> list[Part]:
    """Those files that are of the same log as the newest one, oldest first.

    Of two copies of one file, the one that is not compressed is taken, and of these the larger.
    """
    headers = {name: header for name in names if (header := _read_own_header(name)) is not None}
    if not headers:
        return []

    newest = headers.get(path) or max(headers.values(), key=lambda it: it.wall_ns)
    found: dict[tuple[int, str], tuple[bool, int, str]] = {}
    for name, header in headers.items():
        if header.log_id == newest.log_id:
            order = (header.wall_ns, header.hash)
            found[order] = max(found.get(order, (False, -1, "")), _rate_copy(name))

    return [Part(order, found[order][2]) for order in sorted(found)]


def _rate_copy(name: str) -> tuple[bool, int, str]:
    try:
        return not name.endswith((PACKED, ".gz")), Path(name).stat().st_size, name
    except OSError:
        return False, 0, name


def _read_own_header(name: str) -> Header | None:
    """As `read_header`; None too for what is another file, or went away."""
    try:
        return read_header(name)
    except (AuditError, OSError):
        return None
