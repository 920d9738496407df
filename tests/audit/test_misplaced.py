"""A log whose file is deleted, replaced, cut or renamed under the writer."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from audit.conftest import Disk, Opener, event, lines, names
from memhub.audit import AuditError, AuditLog, verify
from memhub.audit.writing.place import LOOK_EVERY_NS

if TYPE_CHECKING:
    from pathlib import Path


def refused(log: AuditLog, words: str) -> None:
    """A record is refused, and the log stands where it stood."""
    before = log.seq, log.head, log.pending
    log.record(event(2))
    with pytest.raises(AuditError, match=f"record not written: the file was {words}") as caught:
        log.flush()

    assert caught.value.errno == errno.ESTALE
    assert str(caught.value).startswith(f"{log.path}: ")
    assert (log.seq, log.head, log.pending) == before


@pytest.mark.parametrize("loss", ["deleted", "replaced", "moved to another file system"])
def test_a_file_that_is_gone_takes_no_record_until_the_log_is_reopened(
    log: AuditLog, path: Path, moved: Path, loss: str
) -> None:
    head = log.head
    assert log.misplaced is None
    if loss != "deleted":
        moved.write_bytes(path.read_bytes())
    if loss == "replaced":
        moved.replace(path)
    else:
        path.unlink()

    assert "was deleted" in str(log.misplaced)
    refused(log, "deleted")
    refused(log, "deleted")

    assert log.reopen() == (2, head, False)
    assert log.misplaced is None
    log.record(event(2))
    log.close()
    assert verify(path).ok
    assert lines(path)[-2]["wall_ns"] == 2


@pytest.mark.parametrize("left", [0, 100, 400])
def test_a_file_that_was_cut_takes_no_record_until_the_log_is_reopened(
    log: AuditLog, path: Path, left: int
) -> None:
    os.truncate(path, left)
    kept = path.read_bytes()

    refused(log, "cut short")
    assert kept == path.read_bytes()

    assert log.reopen()
    log.record(event(3))
    log.close()
    verdict = verify(path)

    assert verdict.ok
    assert verdict.log_id == "a-log"
    assert names(path)[-2:] == ["request.get", "log.close"]


def test_a_failed_write_to_a_file_that_was_cut_does_not_fill_it_with_zeros(
    opened: Opener, path: Path, disk: Disk
) -> None:
    def cut_then_write(fd: int, data: bytes) -> int:
        if disk.room is not None:
            os.truncate(path, 10)
        return disk.write(fd, data)

    log = opened(write=cut_then_write)
    disk.room = 0
    log.record(event(1))
    with pytest.raises(AuditError):
        log.flush()

    assert path.stat().st_size == 10
    disk.room = None
    log.reopen()
    log.close()
    assert verify(path).ok


def test_a_cut_log_that_does_not_verify_stays_refused(log: AuditLog, path: Path) -> None:
    first = path.read_bytes().splitlines(keepends=True)[0]
    path.write_bytes(first.replace(b"a-log", b"b-log"))
    with pytest.raises(AuditError, match="last record does not verify"):
        log.reopen()

    refused(log, "cut short")
    path.unlink()
    assert log.reopen()


def test_a_renamed_file_keeps_its_records_while_a_rotation_may_last(
    log: AuditLog, path: Path, moved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.rename(moved)
    log.record(event(2))
    log.flush()

    assert str(log.misplaced).startswith("the file was renamed or its path leads elsewhere")
    assert len(lines(moved)) == 3
    assert not path.exists()

    monkeypatch.setattr("memhub.audit.writing.place.RENAMED_FOR_NS", -1)
    refused(log, "renamed")

    moved.rename(path)
    log.record(event(3))
    log.flush()
    assert log.misplaced is None


def test_writes_look_once_a_millisecond_and_those_that_wait_for_the_disk_always(
    opened: Opener, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 10**15
    monkeypatch.setattr("memhub.audit.writing.sink.LOOK_EVERY_NS", LOOK_EVERY_NS)
    monkeypatch.setattr("time.monotonic_ns", lambda: now)
    log = opened()
    path.unlink()
    log.record(event(1))
    log.flush()
    now += LOOK_EVERY_NS - 1
    log.record(event(1))
    log.flush()
    now += 1
    refused(log, "deleted")

    assert LOOK_EVERY_NS == 1_000_000
    assert log.reopen()
    log.close()
    log = opened(durability="disk")
    path.unlink()
    refused(log, "deleted")
    assert log.reopen()
    log.close()
