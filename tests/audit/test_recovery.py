"""A log goes on where it stopped, or says why not."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from audit.conftest import Opener, event
from memhub.audit import AuditError, RecoveredTail, read_records, verify
from memhub.audit.chain import digest_of, seal_of

if TYPE_CHECKING:
    from pathlib import Path

WRITER = """
import sys
from memhub.audit import AuditLog
log = AuditLog.open(sys.argv[1])
number = 0
while True:
    log.record({"event": "request.get", "wall_ns": number, "mono_ns": 0, "reason": "x" * 3000})
    log.flush()
    number += 1
    print(log.flushed_seq, log.head, flush=True)
"""


def names(path: Path) -> list[str]:
    return [record["event"] for record in read_records(path)]


def test_a_closed_log_is_continued_in_the_same_chain(opened: Opener, path: Path) -> None:
    opened().close()
    with opened(log_id="another") as log:
        assert (log.seq, log.flushed_seq, log.log_id) == (3, 3, "a-log")
        assert log.recovered is None

    records = list(read_records(path))
    verdict = verify(path)

    assert names(path) == ["log.open", "log.close", "log.resume", "log.close"]
    assert (records[2]["continued"], records[2]["clean"]) == (True, True)
    assert (verdict.broken, verdict.notes, verdict.log_id) == (None, (), "a-log")


def test_a_missing_close_shows_in_the_resume_and_in_the_verdict(
    opened: Opener, path: Path, small: bytes
) -> None:
    path.write_bytes(b"".join(small.splitlines(keepends=True)[:-1]))

    assert (verify(path).notes) == (
        "no log.close at the end: still open, killed, or cut at a line's end",
    )

    opened().close()

    assert list(read_records(path))[5]["clean"] is False
    (note,) = verify(path).notes
    assert note.startswith("line 6: continued without a log.close before it: the writer was killed")


def test_a_torn_last_line_is_cut_at_every_byte(opened: Opener, path: Path, small: bytes) -> None:
    whole = small.splitlines(keepends=True)
    start = len(small) - len(whole[-1])
    for length in range(1, len(whole[-1])):
        torn = small[start : start + length]
        path.write_bytes(small[:start] + torn)
        with opened() as log:
            assert RecoveredTail(start, torn) == log.recovered

        data = path.read_bytes()
        record = json.loads(data.splitlines()[6])

        assert small[:start] == data[:start]
        assert record["event"] == "log.recovered"
        assert (start, length) == (record["cut_offset"], record["cut_length"])
        assert hashlib.sha256(torn).hexdigest() == record["cut_hash"]
        assert verify(path).ok


def test_a_torn_header_is_cut_and_the_log_begins_anew(
    opened: Opener, path: Path, small: bytes
) -> None:
    header = small.splitlines()[0]
    for length in (1, 40, 150, len(header)):
        path.write_bytes(header[:length])
        opened().close()

        assert names(path) == ["log.open", "log.recovered", "log.close"]
        assert (verify(path).broken, verify(path).log_id) == (None, "a-log")


@pytest.mark.parametrize("content", [b"root:x:0:0", b"root:x:0:0\n", b"{}\n", b"[1]\n", b"\n\n\n"])
def test_a_file_that_is_no_log_is_refused_and_left_alone(
    opened: Opener, path: Path, content: bytes
) -> None:
    path.write_bytes(content)
    with pytest.raises(AuditError, match=r"audit log|log\.open"):
        opened()

    assert content == path.read_bytes()


def test_an_empty_file_becomes_a_log(opened: Opener, path: Path) -> None:
    path.touch()
    opened().close()

    assert names(path) == ["log.open", "log.close"]


def test_a_log_whose_last_record_was_altered_is_not_continued(
    opened: Opener, path: Path, small: bytes
) -> None:
    last = small.splitlines(keepends=True)[-1]
    start = len(small) - len(last)
    for offset in range(start, len(small) - 1):
        altered = bytearray(small)
        altered[offset] ^= 1
        path.write_bytes(altered)
        with pytest.raises(AuditError, match="does not verify"):
            opened()

        assert altered == path.read_bytes()


def test_a_log_whose_last_record_follows_another_one_is_not_continued(
    opened: Opener, path: Path, small: bytes
) -> None:
    lines = small.splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], *lines[4:5]]))
    with pytest.raises(AuditError, match="does not follow"):
        opened()


def test_a_log_of_another_schema_is_not_continued(opened: Opener, path: Path, small: bytes) -> None:
    body = small.splitlines()[0].replace(b'"v":1', b'"v":2')
    path.write_bytes(body[:-75] + seal_of(digest_of(body)) + b"\n")
    with pytest.raises(AuditError, match="schema 2, where 1 is written"):
        opened()


def test_records_longer_than_a_block_are_found_at_the_end(opened: Opener, path: Path) -> None:
    with opened(header={"config": "x" * 300_000}) as log:
        log.record({**event(1), "reason": "y" * 200_000})
        log.record({**event(2), "reason": "z" * 200_000})
    path.write_bytes(path.read_bytes()[:-200_000])
    with opened() as log:
        assert log.recovered is not None
        assert log.seq == 4

    assert verify(path).ok


def test_a_killed_writer_loses_nothing_that_it_flushed(opened: Opener, path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        told = [writer.stdout.readline() for _ in range(50)]
        writer.send_signal(signal.SIGKILL)
        told += writer.stdout.readlines()

    seq, head = [line for line in told if line.endswith("\n")][-1].split()
    opened().close()
    verdict = verify(path, head=head)

    assert (None, int(seq)) == (verdict.broken, verdict.head_line)
