"""What may be opened as a log, and what is refused."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest

from audit.conftest import Disk, Opener, event
from memhub.audit import AuditError, AuditLog, Keeping, verify

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


@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
@pytest.mark.parametrize(
    ("given", "wrong", "rule"),
    [
        ({"key": "text"}, TypeError, "key 'text' is not a SigningKey"),
        ({"key": b""}, TypeError, "key b'' is not a SigningKey"),
        ({"keeping": "x"}, TypeError, "keeping 'x' is not a Keeping"),
        ({"keeping": None}, TypeError, "keeping None is not a Keeping"),
        ({"keeping": 5}, TypeError, "keeping 5 is not a Keeping"),
        ({"durability": "ram"}, ValueError, "durability 'ram' is neither"),
        ({"durability": ["os"]}, ValueError, "durability \\['os'\\] is neither"),
    ],
    ids=str,
)
def test_wrong_arguments_leave_nothing_behind(
    tmp_path: Path, given: dict[str, Any], wrong: type[Exception], rule: str, folder: bool
) -> None:
    with pytest.raises(wrong, match=rule):
        AuditLog.open(f"{tmp_path}/log{'/' if folder else ''}", **given)

    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("name", ["max_age", "seal_every"])
@pytest.mark.parametrize("time", [1e308, 10**400, 3650 * 86400 + 1])
def test_a_log_is_not_kept_by_a_time_of_more_than_ten_years(name: str, time: float) -> None:
    longest: dict[str, Any] = {name: 3650 * 86400}
    with pytest.raises(ValueError, match=f"^{name} .* is longer than 315360000 seconds"):
        Keeping(**(longest | {name: time}))

    assert getattr(Keeping(**longest), name) == 3650 * 86400
