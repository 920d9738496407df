"""What is handed over is whole: all of a flush or none, and rollback before it."""

from __future__ import annotations

import errno
import os
import random
import resource
from typing import TYPE_CHECKING

import pytest

from audit.conftest import Disk, Opener, event, lines
from memhub.audit import AuditError, read_records, verify

if TYPE_CHECKING:
    from pathlib import Path


def test_nothing_is_written_before_flush_and_a_flush_is_one_write(
    opened: Opener, path: Path, disk: Disk
) -> None:
    with opened(write=disk.write) as log:
        before, calls = path.stat().st_size, disk.calls
        for number in range(100):
            log.record(event(number))

        assert (before, calls) == (path.stat().st_size, disk.calls)

        log.flush()
        log.flush()

        assert calls + 1 == disk.calls
        assert (log.seq, log.flushed_seq, log.pending) == (101, 101, 0)
        assert len(lines(path)) == 101


def test_short_writes_are_carried_on(opened: Opener, path: Path, disk: Disk) -> None:
    disk.most = 7
    with opened(write=disk.write) as log:
        log.record(event(1))

    assert (verify(path).ok, verify(path).records) == (True, 3)


@pytest.mark.parametrize("room", [0, 1, 100, 400])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_failed_write_leaves_no_trace_and_the_log_goes_on_when_there_is_room(
    opened: Opener, path: Path, disk: Disk, room: int, code: int
) -> None:
    log = opened(write=disk.write)
    log.record(event(1))
    log.flush()
    kept, head = path.read_bytes(), log.head
    disk.room, disk.error = room, code
    for number in range(9):
        log.record(event(number))
    with pytest.raises(AuditError, match="record not written") as caught:
        log.flush()

    assert (code, str(path)) == (caught.value.errno, caught.value.filename)
    assert (kept, head, 2, 0) == (path.read_bytes(), log.head, log.seq, log.pending)

    disk.room = None

    assert log.record(event(3)) == 3
    log.close()
    assert (verify(path).ok, verify(path).records) == (True, 4)


def test_a_write_that_the_kernel_refuses_leaves_no_trace(opened: Opener, path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = opened()
    kept = path.read_bytes()
    for number in range(40):
        log.record(event(number))
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(kept) + 500, hard))
        with pytest.raises(AuditError) as caught:
            log.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert caught.value.errno == errno.EFBIG
    assert kept == path.read_bytes()
    log.close()
    assert (verify(path).ok, verify(path).records) == (True, 2)


def test_a_file_that_could_not_be_cut_back_is_cut_before_the_next_write(
    opened: Opener, path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_fd: int, _size: int) -> None:
        raise OSError(errno.EIO, "no")

    log = opened(write=disk.write)
    kept = path.read_bytes()
    log.record(event(1))
    disk.room = 50
    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", refuse)
        with pytest.raises(AuditError):
            log.flush()
        disk.room = None
        log.record(event(2))
        with pytest.raises(AuditError):
            log.flush()

    assert len(kept) + 50 == path.stat().st_size

    log.record(event(3))
    log.close()
    assert (verify(path).ok, verify(path).records) == (True, 3)


def test_disk_durability_syncs_each_flush_and_takes_a_record_back_when_it_fails(
    opened: Opener, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    real, fail = os.fdatasync, [False]

    def fdatasync(fd: int) -> None:
        synced.append(fd)
        if fail[0]:
            fail[0] = False
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(fd)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    log = opened(durability="disk")
    kept = path.read_bytes()
    log.record(event(1))
    log.record(event(2))
    log.flush()

    assert len(synced) == 2

    log.record(event(3))
    fail[0] = True
    with pytest.raises(AuditError):
        log.flush()

    assert (3, kept) == (log.seq, path.read_bytes()[: len(kept)])
    log.close()
    assert (verify(path).ok, verify(path).records) == (True, 4)


def test_os_durability_does_not_sync(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fdatasync", lambda _fd: pytest.fail("synced"))
    opened().close()


def test_an_unknown_durability_is_refused(opened: Opener) -> None:
    with pytest.raises(ValueError, match="'tape'"):
        opened(durability="tape")


def test_rollback_takes_back_what_was_recorded_since_the_mark(opened: Opener, path: Path) -> None:
    with opened() as log:
        log.record(event(1))
        mark, head = log.mark(), log.head
        log.record(event(2))
        log.record(event(3))
        log.rollback(mark)

        assert (2, head) == (log.seq, log.head)

        log.record(event(4))

    assert [record["wall_ns"] for record in lines(path)[1:-1]] == [1, 4]
    assert verify(path).ok


def test_rollback_after_a_flush_keeps_to_what_was_not_flushed(opened: Opener) -> None:
    with opened() as log:
        log.record(event(1))
        mark = log.mark()
        log.flush()
        log.record(event(2))
        log.rollback(mark)

        assert (log.seq, log.pending) == (2, 0)


def test_a_written_record_cannot_be_rolled_back(opened: Opener) -> None:
    with opened() as log:
        mark = log.mark()
        log.record(event(1))
        log.flush()
        with pytest.raises(ValueError, match="record 2 is written"):
            log.rollback(mark)

        assert log.seq == 2


def test_rollback_after_a_failed_flush_finds_nothing_to_do(opened: Opener, disk: Disk) -> None:
    with opened(write=disk.write) as log:
        log.record(event(1))
        mark = log.mark()
        log.record(event(2))
        disk.room = 10
        with pytest.raises(AuditError):
            log.flush()
        disk.room = None
        log.rollback(mark)

        assert (log.seq, log.pending) == (1, 0)


def test_close_raises_if_the_last_records_are_lost_and_frees_the_file(
    opened: Opener, path: Path, disk: Disk
) -> None:
    log = opened(write=disk.write)
    log.record(event(1))
    disk.room = 0
    with pytest.raises(AuditError):
        log.close()

    opened().close()
    assert [r["event"] for r in lines(path)] == ["log.open", "log.resume", "log.close"]


def test_ten_thousand_random_records_verify_over_random_flushes_and_restarts(
    opened: Opener, path: Path
) -> None:
    rng = random.Random(9)
    log, restarts = opened(), 0
    for number in range(10_000):
        log.record(
            {
                **event(number),
                "owner": "".join(rng.choices('aé\x00"\\\n🦆', k=rng.randrange(8))),
                "slots": rng.choices(range(96), k=rng.randrange(4)),
                "errno": rng.choice([None, "EBUSY"]),
                "base": rng.getrandbits(64),
            }
        )
        chance = rng.random()
        if chance < 0.05:
            log.flush()
        elif chance < 0.051:
            log.close()
            log, restarts = opened(), restarts + 1
    log.close()
    verdict = verify(path)

    assert (verdict.broken, verdict.notes) == (None, ())
    assert 10_000 + 2 * (restarts + 1) == verdict.records == len(list(read_records(path)))
    assert log.head == verdict.head
