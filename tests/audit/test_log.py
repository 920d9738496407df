"""What the writer promises: order, chain, structlog, the same bytes again."""

from __future__ import annotations

import errno
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from audit.conftest import Opener, event, lines
from memhub.audit import AuditError, verify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_each_line_names_the_hash_of_the_line_before(opened: Opener, path: Path) -> None:
    with opened() as log:
        log.record(event(1))
        log.record(event(2))

    raw = path.read_bytes().splitlines(keepends=True)
    records = [json.loads(line) for line in raw]

    assert [record["seq"] for record in records] == [1, 2, 3, 4]
    assert ["0" * 64] + [r["hash"] for r in records[:-1]] == [r["prev"] for r in records]
    assert [hashlib.sha256(line[:-76]).hexdigest() for line in raw] == [r["hash"] for r in records]


def test_a_log_begins_with_its_header_and_ends_with_its_close(opened: Opener, path: Path) -> None:
    opened(software="memhub 0.1.0", header={"pid": 7}).close()
    first, last = lines(path)

    assert {
        "v": 1,
        "event": "log.open",
        "log_id": "a-log",
        "hash_algorithm": "sha256",
        "continued": False,
        "software": "memhub 0.1.0",
        "pid": 7,
    }.items() <= first.items()
    assert (last["event"], last["count"]) == ("log.close", 2)


def test_the_members_that_place_a_record_come_first_and_its_hash_last(
    opened: Opener, path: Path
) -> None:
    with opened() as log:
        log.record(event(1))

    keys = list(lines(path)[1])

    assert keys[:4] == ["v", "seq", "prev", "event"]
    assert keys[-1] == "hash"


def test_u64_addresses_are_integers_to_the_last_bit(opened: Opener, path: Path) -> None:
    with opened() as log:
        log.record({**event(1), "base": 0xFFFFF800DEADBEEF, "length": (1 << 64) - 1})

    record = lines(path)[1]

    assert (record["base"], record["length"]) == (0xFFFFF800DEADBEEF, (1 << 64) - 1)


def test_record_returns_the_sequence_number_and_leaves_the_event_alone(opened: Opener) -> None:
    given = event(1)
    with opened() as log:
        assert [log.record(given), log.record(given)] == [2, 3]

    assert event(1) == given


def test_an_event_cannot_choose_its_place(opened: Opener, path: Path) -> None:
    with opened() as log:
        log.record({**event(1), "v": 9, "seq": 99, "prev": "x"})

    assert verify(path).ok


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("base", 1 << 64, errno.EINVAL),
        ("owner", "\udcff", errno.EINVAL),
        ("owner", b"raw", errno.EINVAL),
        ("hash", "mine", errno.EINVAL),
        ("reason", "x" * (16 << 20), errno.EMSGSIZE),
    ],
)
def test_an_event_that_cannot_be_a_line_leaves_the_chain_where_it_was(
    opened: Opener, path: Path, field: str, value: object, code: int
) -> None:
    with opened() as log:
        before = log.seq, log.head, log.pending
        with pytest.raises(AuditError, match="record refused") as caught:
            log.record({**event(1), field: value})

        assert (code, before) == (caught.value.errno, (log.seq, log.head, log.pending))

    assert verify(path).ok


def test_a_closed_log_takes_no_records_and_closes_again_in_silence(opened: Opener) -> None:
    log = opened()
    log.close()
    log.close()
    with pytest.raises(AuditError, match="closed") as caught:
        log.record(event(1))

    assert caught.value.errno == errno.EBADF
    assert "closed" in repr(log)


def test_events_pass_structlog_processors_in_order(opened: Opener, path: Path) -> None:
    seen: list[tuple[str, object]] = []

    def first(_logger: object, method: str, record: Any) -> Any:
        seen.append((method, record["event"]))

        return {**record, "site": "lab"}

    def second(_logger: object, _method: str, record: Any) -> Any:
        record["site"] = record["site"].upper()

        return record

    with opened(processors=[first, second]) as log:
        log.record(event(1))

    assert [("record", e) for e in ("log.open", "request.get", "log.close")] == seen
    assert [record["site"] for record in lines(path)] == ["LAB"] * 3
    assert verify(path).ok


def test_a_processor_cannot_drop_a_record(opened: Opener) -> None:
    def drop(_logger: object, _method: str, record: Any) -> Any:
        if record["event"] == "request.get":
            raise structlog.DropEvent

        return record

    with opened(processors=[drop]) as log, pytest.raises(AuditError, match="dropped"):
        log.record(event(1))


@pytest.fixture
def configured() -> Iterator[dict[str, Any]]:
    """A host program that configured structlog for itself, and wants it left alone."""

    def fail(*_args: object) -> Any:
        pytest.fail("a processor of the host program saw an audit record")

    structlog.configure(processors=[fail], context_class=dict)
    yield structlog.get_config()
    structlog.reset_defaults()


def test_the_log_neither_reads_nor_changes_structlogs_global_configuration(
    opened: Opener, path: Path, configured: dict[str, Any]
) -> None:
    before = dict(configured)
    with opened() as log:
        log.record(event(1))

    assert before == structlog.get_config()
    assert verify(path).ok


def test_the_same_events_and_clocks_make_the_same_bytes(opened: Opener, path: Path) -> None:
    copies = []
    for _ in range(2):
        with opened() as log:
            log.record(event(1))
        copies.append(path.read_bytes())
        path.unlink()

    assert copies[0] == copies[1]
