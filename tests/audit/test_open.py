"""What may be opened as a log, and what is refused."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from audit.conftest import Disk, Opener, event
from memhub.audit import AuditError, AuditLog, verify

if TYPE_CHECKING:
    from pathlib import Path


def test_two_writers_are_refused_and_the_first_goes_on(opened: Opener, path: Path) -> None:
    with opened() as log:
        with pytest.raises(AuditError, match="another process writes") as caught:
            opened()
        log.record(event(1))

    assert caught.value.errno == errno.EBUSY
    assert (verify(path).ok, verify(path).records) == (True, 3)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "no" / "audit.jsonl"
    with pytest.raises(AuditError, match="No such file") as caught:
        AuditLog.open(missing)

    assert (errno.ENOENT, str(missing)) == (caught.value.errno, caught.value.filename)
    assert str(caught.value).startswith(str(missing))


def test_a_folder_of_other_things_and_a_fifo_are_no_logs(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(AuditError, match="holds something other than an audit log: fifo"):
        AuditLog.open(tmp_path)

    with pytest.raises(AuditError, match="not a regular file"):
        AuditLog.open(tmp_path / "fifo")


def test_a_path_that_may_not_be_opened_is_named(
    opened: Opener, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(AuditError, match="Permission denied") as caught:
            opened()

    assert (errno.EACCES, str(path)) == (caught.value.errno, caught.value.filename)


def test_a_disk_that_is_full_at_start_fails_the_opening(opened: Opener, disk: Disk) -> None:
    disk.room = 30
    with pytest.raises(AuditError, match="record not written"):
        opened(write=disk.write)

    opened().close()
