"""Read a log's records, and count them; `verify` checks the chain."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from memhub.audit.failure import AuditError

if TYPE_CHECKING:
    from collections.abc import Iterator

_BUFFER: Final = 1 << 18


def read_records(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """Iterate over the records of a log, in order.

    A last line without its newline is left out: it is being written, or was never finished.

    Args:
        path: the file.

    Raises:
        AuditError: the file cannot be read, or a line is not a JSON object.
    """
    name = os.fspath(path)
    number = 0
    try:
        with open(name, "rb", buffering=_BUFFER) as file:  # noqa: PTH123
            for number, line in enumerate(file, 1):  # noqa: B007
                if line.endswith(b"\n"):
                    yield _record(line)
    except OSError as error:
        raise AuditError.of(name, "audit log not read", error) from error
    except ValueError as error:
        raise AuditError(name, f"line {number} is not a record: {error}") from error


def _record(line: bytes) -> dict[str, Any]:
    record = orjson.loads(line)
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")

    return record


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

    Attributes:
        records: all records.
        refused: records with an errno.
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


def summary(path: str | os.PathLike[str]) -> Summary:
    """Count a log's records by event, operation, errno, machine, process and owner.

    Args:
        path: the file.

    Raises:
        AuditError: the file cannot be read, or a line is not a JSON object.
    """
    total = Summary()
    counters = [(getattr(total, name), key) for name, key in _COUNTED.items()]
    for record in read_records(path):
        total.records += 1
        wall = record.get("wall_ns")
        if total.first_ns is None:
            total.first_ns = wall
        total.last_ns = wall
        if record.get("errno") is not None:
            total.refused += 1
        for counter, key in counters:
            if (value := record.get(key)) is not None:
                counter[value] += 1

    return total
