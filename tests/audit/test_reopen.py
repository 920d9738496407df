"""A log goes on in another file, or says why not; and who else may write at its path."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from audit.conftest import Opener, event, lines, names
from memhub.audit import AuditError, AuditLog, verify
from memhub.audit.schema import problems

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("waited", [False, True])
def test_a_reopened_log_ends_one_file_and_begins_another(
    log: AuditLog, path: Path, moved: Path, monkeypatch: pytest.MonkeyPatch, *, waited: bool
) -> None:
    path.rename(moved)
    if waited:
        assert log.misplaced
        later = log.writer.require_sink()._place._renamed_at
        assert later is not None
        monkeypatch.setattr("time.monotonic_ns", lambda: later + 120 * 10**9)

    ended = log.reopen()
    assert ended is not None
    log.record(event(2))
    log.close()
    old, new = lines(moved), lines(path)

    assert [r["event"] for r in old] == ["log.open", "request.get", "log.close"]
    assert [r["event"] for r in new] == ["log.open", "request.get", "log.close"]
    assert ended == (3, old[-1]["hash"], True)
    assert (old[-1]["count"], [r["seq"] for r in new]) == (3, [1, 2, 3])
    assert {k: old[0][k] for k in ("log_id", "pid", "software")} == {
        k: new[0][k] for k in ("log_id", "pid", "software")
    }
    for file in (path, moved):
        assert (verify(file).ok, verify(file).notes, verify(file).closed) == (True, (), True)


def test_a_log_that_is_in_place_is_not_reopened(log: AuditLog, path: Path) -> None:
    log.record(event(2))

    assert log.reopen() is None
    assert (log.pending, names(path)) == (0, ["log.open", "request.get", "request.get"])


def test_a_log_that_lies_at_the_path_is_continued(
    small: bytes, log: AuditLog, path: Path, moved: Path
) -> None:
    path.rename(moved)
    path.write_bytes(small + b'{"v":1,')
    assert log.reopen()
    assert log.recovered is not None
    log.close()

    assert names(path)[-3:] == ["log.resume", "log.recovered", "log.close"]
    assert verify(path).ok


@pytest.mark.parametrize("what", ["directory", "something else", "locked", "full"])
def test_a_failed_reopening_goes_on_with_the_old_file(
    opened: Opener, path: Path, moved: Path, what: str
) -> None:
    full = False
    inode = 0

    def write(fd: int, data: bytes) -> int:
        if full and os.fstat(fd).st_ino != inode:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.write(fd, data)

    log = opened(write=write)
    inode = path.stat().st_ino
    path.rename(moved)
    other = None
    if what == "directory":
        path.mkdir()
    elif what == "something else":
        path.write_text("precious")
    elif what == "locked":
        other = opened()
    else:
        full = True

    with pytest.raises(AuditError) as caught:
        log.reopen()

    assert str(caught.value).startswith(f"{path}: ")
    full = False
    log.record(event(2))
    log.flush()
    if what == "something else":
        assert path.read_text() == "precious"
    if other is not None:
        other.close()
        assert verify(path).ok
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink()
    assert log.reopen()
    log.close()

    assert (verify(moved).ok, verify(moved).closed) == (True, True)
    assert verify(path).ok
    assert [problem for r in lines(moved) for problem in problems(r) if "log." in r["event"]] == []
    if what == "full":
        assert names(moved) == ["log.open", "log.close", "log.resume", "request.get", "log.close"]
        assert lines(moved)[2]["clean"] is True


def test_what_was_pending_is_in_the_old_file(log: AuditLog, path: Path, moved: Path) -> None:
    mark = log.mark()
    log.record(event(2))
    path.rename(moved)
    assert log.reopen()

    assert names(moved) == ["log.open", "request.get", "request.get", "log.close"]
    with pytest.raises(ValueError, match="is written"):
        log.rollback(mark)


def test_a_closed_log_is_not_reopened(opened: Opener) -> None:
    log = opened()
    log.close()

    assert log.misplaced is None
    with pytest.raises(AuditError, match="closed"):
        log.reopen()


def test_a_second_writer_at_the_path_of_a_renamed_log_has_a_file_of_its_own(
    opened: Opener, path: Path, moved: Path
) -> None:
    first = opened()
    path.rename(moved)
    second = opened(log_id="second")
    for log in (first, second):
        log.record(event(1))
        log.flush()

    with pytest.raises(AuditError, match="another process writes this audit log"):
        first.reopen()

    for log in (first, second):
        log.close()

    assert (verify(moved).ok, verify(moved).log_id) == (True, "a-log")
    assert (verify(path).ok, verify(path).log_id) == (True, "second")


def test_a_file_that_is_renamed_before_it_is_locked_is_not_taken(
    opened: Opener, path: Path, moved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    real, left = fcntl.flock, [3]

    def rename_then_lock(fd: int, how: int) -> None:
        if left[0]:
            left[0] -= 1
            path.rename(moved)
        real(fd, how)

    monkeypatch.setattr(fcntl, "flock", rename_then_lock)
    with opened():
        assert path.exists()
        with pytest.raises(AuditError, match="another process writes"):
            opened()

    assert moved.read_bytes() == b""
    left[0] = 1 << 30
    with pytest.raises(AuditError, match="replaced whenever it was opened"):
        opened()


CONTENDER = """
import sys
from memhub.audit import AuditError, AuditLog
try:
    log = AuditLog.open(sys.argv[1])
except AuditError as error:
    print(error)
else:
    print("opened")
"""


@pytest.mark.parametrize("name", ["audit.jsonl", "symlink", "link"])
def test_another_process_is_refused_under_any_name_of_the_file(
    log: AuditLog, path: Path, name: str
) -> None:
    (path.parent / "symlink").symlink_to(path)
    (path.parent / "link").hardlink_to(path)
    done = subprocess.run(
        [sys.executable, "-c", CONTENDER, str(path.parent / name)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert done.stdout == f"{path.parent / name}: another process writes this audit log\n"
    assert log.misplaced is None
