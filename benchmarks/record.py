"""The cost of the log: a record against a bare line, verification against reading the bytes."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import anyio
import orjson

from benchmarks.harness import Goal, Plan, Row, measure_sync, once
from benchmarks.rig import GET, GET_ALL, records_of
from memhub.audit import AuditLog, verify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Records that share a write.
_BATCH = 256


def _one_record(plan: Plan) -> dict[str, Any]:
    records = anyio.run(records_of, plan.folder / "one", lambda h: h.ioctl(GET, GET_ALL))
    record: dict[str, Any] = records[0]
    for name in ("v", "seq", "prev"):
        del record[name]

    return record


def _cpu(plan: Plan, record: dict[str, Any]) -> Row:
    path = plan.folder / "log"
    with AuditLog.open(path) as log, (plan.folder / "bare").open("wb") as bare:

        def subject(count: int) -> None:
            for number in range(count):
                log.record(record)
                if number % _BATCH == 0:
                    log.flush()

        def anchor(count: int) -> None:
            for _ in range(count):
                bare.write(orjson.dumps(record) + b"\n")

        samples = measure_sync({"record": subject, "bare orjson line": anchor}, plan)

    return samples.row("log: CPU of a record", "record", "bare orjson line", Goal(10, 4))


def _read_hash_parse(path: Path) -> None:
    with path.open("rb") as file:
        for line in file:
            sha256(line).hexdigest()
            orjson.loads(line)


def _verification(plan: Plan, record: dict[str, Any]) -> Iterator[Row]:
    path = plan.folder / "long"
    with AuditLog.open(path) as log:
        for number in range(plan.scaled(100_000, 20)):
            log.record(record)
            if number % _BATCH == 0:
                log.flush()

    samples = measure_sync(
        {
            "verify": once(lambda: verify(path)),
            "two": once(lambda: verify(path, jobs=2)),
            "read": once(lambda: _read_hash_parse(path)),
        },
        plan.with_rounds(7),
    )
    for words, subject, goal in (
        ("log: verification", "verify", Goal(0.6, 0.9)),
        ("log: verification, two processes", "two", Goal(1.0, 1.5)),
    ):
        yield samples.row(words, subject, "read", goal, more=True)


def rows(plan: Plan) -> Iterator[Row]:
    """Writing and checking."""
    record = _one_record(plan)
    yield _cpu(plan, record)
    yield from _verification(plan, record)
