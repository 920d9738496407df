"""The requests of an audit log, as a script: every MEMRANGE_SET, whatever was answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.audit.reader import read_records
from memhub.compare.script import (
    REQUESTS_MAX,
    Request,
    ScriptError,
    checked,
    clear_text,
    set_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


def read_log(path: str, *, machine: str | None = None) -> tuple[Request, ...]:
    """Read the requests of a log.

    Args:
        path: the log, as `memhub audit` takes it.
        machine: the machine whose requests they are; None where the log has one.

    Raises:
        ScriptError: the log has no or too many requests, or those of several machines.
        AuditError: it cannot be read.
    """
    rows = list(_rows(path, machine))
    machines = sorted({row["machine"] for row in rows})
    if machine is None and len(machines) > 1:
        raise ScriptError(
            f"{path} has requests to {', '.join(machines)}: say whose with --log-machine"
        )

    if not rows:
        whose = "" if machine is None else f" to {machine!r}"
        raise ScriptError(f"{path} has no requests for ranges{whose}")

    return checked(map(_request_of, rows))


def _rows(path: str, machine: str | None) -> Iterator[dict[str, Any]]:
    found = 0
    for row in read_records(path, typed=True):
        asks = row["event"] == "request.set" and row.get("op") in ("update", "remove")
        if asks and machine in (None, row["machine"]):
            found += 1
            if found > REQUESTS_MAX:
                raise ScriptError(f"{path} has more than {REQUESTS_MAX} requests for ranges")

            yield row


def _request_of(row: dict[str, Any]) -> Request:
    base, length, flags = row.get("base"), row.get("length"), row.get("flags")
    if base is None or length is None or flags is None:
        raise ScriptError(f"record {row['seq']} is of a request and lacks its range")

    source = row["seq"]
    if row["op"] == "remove":
        return Request(clear_text(base, length), True, base, length, source=source)

    owner = row.get("owner") or ""

    return Request(set_text(base, length, flags), False, base, length, flags, owner, source=source)
