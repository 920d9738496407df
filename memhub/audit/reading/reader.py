"""Read a log's records, and count them; `verify` checks the chain."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from memhub.audit.failure import AuditError
from memhub.audit.line import parse_record
from memhub.audit.reading.segments import Meter, log_files
from memhub.audit.reading.select import EVERYTHING, Selection
from memhub.audit.reading.source import DamagedSource, Source, open_source, split_lines

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from memhub.audit.reading.snapshots import Start

#: The most different names that one counter of a Summary keeps, and the longest.
MAX_NAMES: Final = 1 << 16
MAX_NAME: Final = 256

#: What the rest is counted under.
OTHERS: Final = "(others)"


def read_records(
    path: str | os.PathLike[str], *, typed: bool = False, start: Start | None = None
) -> Iterator[dict[str, Any]]:
    """Iterate over the records of a log, in order.

    A last line without its newline is left out: it is being written, or was never finished.
    Memory is bounded by the longest line that is allowed, 16 MiB, whatever the file holds.

    Args:
        path: a file, a folder of segments, a pipe, or `-` for standard input; files may be
            compressed with gzip or zstd.
        typed: whether to refuse a record too that lacks a member which every record has, or has
            one of another type than the schema says. `memhub.audit.schema.problems` tells more.
        start: where to begin; None for the beginning.

    Raises:
        AuditError: it cannot be read, or a line is not a record: not one JSON object, too large,
            with a member twice or a number beyond 64 bits, of another schema version, or with a
            list or an object where the schema has a single value. It names the line.
    """
    files = (log_files(path), 0) if start is None else start

    return (record for _, record in _read_files(*files, typed=typed))


def read_lines(
    path: str | os.PathLike[str],
    *,
    typed: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Iterate over the lines of a log, without their newlines, and the records that they hold.

    Args:
        path: as for `read_records`.
        typed: likewise.
        progress: called with the bytes done and the bytes in all, as they are on the disk, once a
            block; not for a pipe.

    Raises:
        AuditError: as `read_records` does.
    """
    return _read_files(log_files(path), 0, typed=typed, progress=progress)


def _read_files(
    files: Sequence[str],
    offset: int,
    *,
    typed: bool,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[bytes, dict[str, Any]]]:
    meter = Meter(files, progress)
    for file in files:
        yield from _read_file(file, offset, meter, typed=typed)
        offset = 0


def _read_file(
    path: str, offset: int, meter: Meter, *, typed: bool
) -> Iterator[tuple[bytes, dict[str, Any]]]:
    with open_source(path) as source:
        for number, line in enumerate(lines_of(source, meter, offset), 1):
            try:
                record = parse_record(line, typed=typed)
            except ValueError as error:
                raise _no_record(source, number, error) from error

            yield line, record


def lines_of(source: Source, meter: Meter, offset: int = 0) -> Iterator[bytes]:
    """The whole lines of a file, without their ends.

    Args:
        source: the file.
        meter: is told how much was read.
        offset: where to begin, in bytes.

    Raises:
        AuditError: it cannot be read, or a line is too long.
    """
    number = 0
    try:
        for line in split_lines(meter.blocks(source, offset)):
            yield line
            number += 1
    except DamagedSource as error:
        where = f"line {number + 1}"
        raise AuditError(source.name, f"audit log not read: {where}: {error}") from error
    except ValueError as error:
        raise _no_record(source, number + 1, error) from error


def _no_record(source: Source, number: int, error: ValueError) -> AuditError:
    return AuditError(source.name, f"line {number} is not a record: {error}")


def first_record(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The first record of a log; None for one without a whole line.

    Raises:
        AuditError: it cannot be read, or its first line is not a record.
    """
    return next(read_records(path, typed=True), None)


#: Counters of a Summary and the field that each counts.
_COUNTED: Final = {
    "events": "event",
    "operations": "op",
    "errors": "errno",
    "machines": "machine",
    "processes": "process",
    "owners": "owner",
}


@dataclass(slots=True)
class Summary:
    """How often each thing occurs in a log; records without the field are not counted.

    A counter keeps 65,536 different names of at most 256 characters. What a longer log has
    beyond that is counted as `(others)`, so that no file fills memory.

    Attributes:
        records: all records.
        refused: requests with an errno; the `wait.end` before one is not counted again.
        first_ns: wall clock of the first record, or None.
        last_ns: wall clock of the last record, or None.
        events: by `event`.
        operations: by `op`.
        errors: by `errno`, successes left out.
        machines: by `machine`.
        processes: by `process`.
        owners: by `owner`.
    """

    records: int = 0
    refused: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    events: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    machines: Counter[str] = field(default_factory=Counter)
    processes: Counter[str] = field(default_factory=Counter)
    owners: Counter[str] = field(default_factory=Counter)


def summary(
    path: str | os.PathLike[str],
    selection: Selection = EVERYTHING,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Count a log's records by event, operation, errno, machine, process and owner.

    Args:
        path: as for `read_records`.
        selection: which records are counted; all if not given.
        progress: as for `read_lines`.

    Raises:
        AuditError: as `read_records` does for typed records.
    """
    total = Summary()
    counters = [(getattr(total, name), key) for name, key in _COUNTED.items()]
    for _, record in read_lines(path, typed=True, progress=progress):
        if not selection.matches(record):
            continue

        total.records += 1
        wall = record.get("wall_ns")
        if total.first_ns is None:
            total.first_ns = wall
        total.last_ns = wall
        wait_ended = record["event"] == "wait.end"
        if record.get("errno") is not None and not wait_ended:
            total.refused += 1
        for counter, key in counters:
            if wait_ended and key in ("errno", "op"):
                continue
            if (value := record.get(key)) is not None:
                counter[_counted_name(counter, value)] += 1

    return total


def _counted_name(counter: Counter[str], name: str) -> str:
    if name in counter or (len(counter) < MAX_NAMES and len(name) <= MAX_NAME):
        return name

    return OTHERS
