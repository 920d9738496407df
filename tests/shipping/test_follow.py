"""A log that is followed over growth, rotations, cuts and what a writer takes back."""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import random
import shutil
from pathlib import Path

import pytest

from memhub.audit import AuditError, AuditLog, read_records
from memhub.audit.writing.folder import pack_segment
from memhub.shipping.follow import Look, choose_step
from shipping.conftest import Watch, all_hashes, write

# One file


def test_records_come_once_as_the_file_grows(log: AuditLog, path: Path) -> None:
    watch = Watch(path)
    assert watch.take() == [1]
    assert watch.take() == []

    write(log, 1, 2)
    assert watch.take() == [2, 3]
    assert watch.hashes == all_hashes(path)
    assert watch.told == []


def test_a_line_that_is_not_whole_is_left_until_it_is(log: AuditLog, path: Path) -> None:
    write(log, 1)
    whole = path.read_bytes()
    copy = path.with_name("copy.jsonl")
    watch = Watch(copy) if copy.exists() else None
    for length in range(1, len(whole) + 1):
        copy.write_bytes(whole[:length])
        watch = watch or Watch(copy)
        watch.take()
        assert len(watch.hashes) == whole[:length].count(b"\n")

    assert watch is not None
    assert watch.hashes == all_hashes(path)


def test_a_log_that_is_renamed_and_begun_anew_is_read_to_its_end_first(
    log: AuditLog, path: Path
) -> None:
    watch, old = Watch(path), path.with_name("a.jsonl.1")
    watch.take()
    write(log, 1)
    path.rename(old)
    write(log, 2)
    assert watch.take() == [2, 3]

    path.touch()  # as logrotate's `create` does
    write(log, 3)
    assert watch.take() == [4]

    write(log, 4)
    log.reopen()
    write(log, 5)
    assert watch.take() == [5, 6, 1, 2]
    assert watch.hashes == all_hashes(old, path)
    assert watch.told == []


def test_no_file_is_missed_where_several_rotations_pass_unseen(log: AuditLog, path: Path) -> None:
    watch, names = Watch(path), [path.with_name(f"a.jsonl.{n}") for n in (3, 2, 1)]
    watch.take()
    for name in names:
        write(log, 1, 2)
        path.rename(name)
        log.reopen()

    write(log, 3)
    packed = names[1].with_name("a.jsonl.2.gz")
    packed.write_bytes(gzip.compress(names[1].read_bytes()))
    names[1].unlink()
    path.with_name("a.jsonl-of-another").write_text("not a log\n")
    watch.take()

    assert watch.hashes == all_hashes(names[0], packed, names[2], path)


def test_a_file_that_was_copied_and_cut_is_read_from_the_copy(log: AuditLog, path: Path) -> None:
    watch, copy = Watch(path), path.with_name("a.jsonl.1")
    watch.take()
    write(log, 1, 2)
    shutil.copy(path, copy)
    path.write_bytes(b"")
    assert watch.take() == [2, 3]

    log.reopen()
    write(log, 3)
    assert watch.take() == [1, 2]
    assert watch.hashes == all_hashes(copy, path)


def test_a_copy_that_has_less_than_was_read_is_not_read_again(log: AuditLog, path: Path) -> None:
    watch, copy = Watch(path), path.with_name("a.jsonl.1")
    write(log, 1)
    shutil.copy(path, copy)
    write(log, 2)
    assert watch.take() == [1, 2, 3]

    path.write_bytes(b"")
    assert watch.take() == []
    log.reopen()
    assert watch.take() == [1]


def test_a_file_that_was_cut_back_goes_on_where_it_was_cut(log: AuditLog, path: Path) -> None:
    watch = Watch(path)
    write(log, 1, 2, 3)
    assert watch.take() == [1, 2, 3, 4]

    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]))
    log.reopen()
    write(log, *range(4, 20))
    assert watch.take() == list(range(3, 20))
    assert watch.hashes[-17:] == all_hashes(path)[2:]
    assert "taken back, or the file was cut" in watch.told[0]


def test_a_cut_beyond_what_is_remembered_is_told(
    log: AuditLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memhub.shipping.part_file._MARKS", 3)
    watch = Watch(path)
    write(log, *range(9))
    watch.take()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]))
    assert watch.take() == []

    log.reopen()
    assert watch.take() == [3]
    assert "cut far back" in watch.told[0]


def test_what_a_full_disk_takes_back_does_not_stop_the_reading(path: Path) -> None:
    whole = path.with_name("whole.jsonl")
    with AuditLog.open(whole) as log:
        write(log, 1, 2)
    lines = whole.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]))
    watch = Watch(path)
    assert watch.take() == [1, 2, 3]

    path.write_bytes(b"".join(lines[:2]))
    with AuditLog.open(path) as log:
        write(log, 7)

    assert watch.take() == [3, 4, 5]
    assert watch.hashes[3:] == all_hashes(path)[2:]


def test_an_empty_file_is_waited_for_and_a_missing_one_refused(path: Path) -> None:
    with pytest.raises(AuditError, match="No such file"):
        Watch(path).take()

    path.touch()
    watch = Watch(path)
    assert watch.take() == []
    with AuditLog.open(path):
        assert watch.take() == [1]


def test_a_line_that_is_not_a_record_is_named_by_its_byte(log: AuditLog, path: Path) -> None:
    watch = Watch(path)
    watch.take()
    end = path.stat().st_size
    with path.open("ab") as file:
        file.write(b'{"v":2}\n')

    with pytest.raises(AuditError, match=f"the line at byte {end} is not a record: v is 2"):
        watch.take()


# A folder


def test_a_folder_is_followed_over_its_rotations(segments: AuditLog) -> None:
    watch = Watch(segments.path)
    watch.take()
    for number in range(3):
        write(segments, number)
        segments.rotate()
        write(segments, number)
        if number == 1:
            watch.take()

    assert segments.folder is not None
    for ended in segments.folder.ended():
        pack_segment(ended)

    write(segments, 9)
    watch.take()
    assert watch.hashes == all_hashes(Path(segments.path))
    assert watch.told == []


def test_a_segment_that_is_compressed_while_it_is_read_is_read_on(segments: AuditLog) -> None:
    watch = Watch(segments.path)
    write(segments, 1)
    taking = watch.follower.take()
    first = next(taking).record["seq"]
    write(segments, 2)
    segments.rotate()
    assert segments.folder is not None
    pack_segment(segments.folder.ended()[0])
    write(segments, 3)
    rest = [it.record["seq"] for it in taking] + watch.take()

    assert [first, *rest] == [it["seq"] for it in read_records(segments.path)]


def test_a_segment_that_was_taken_away_unread_is_told(segments: AuditLog) -> None:
    watch = Watch(segments.path)
    watch.take()
    for _ in range(2):
        write(segments, 1)
        segments.rotate()

    Path(segments.path, "00000002.jsonl").unlink()
    assert watch.take() == [2, 3, 7]
    assert watch.told == [f"{segments.path}00000003.jsonl: records 4 to 6 are missing"]


@pytest.mark.parametrize("name", ["log/", "a.jsonl"])
def test_a_file_that_its_writer_took_back_sends_the_reader_back(tmp_path: Path, name: str) -> None:
    """The disk is full as the next file is begun, and its reader has seen more than that."""
    path, failing = tmp_path / name, [False]

    def write_half(fd: int, data: bytes) -> int:
        count = os.write(fd, data)
        if failing[0] and (b"log.segment" in data or b"log.open" in data):
            watch.take()
            raise OSError(errno.ENOSPC, "No space left on device")

        return count

    with AuditLog.open(f"{tmp_path}/{name}", write=write_half) as log:
        watch = Watch(path)
        write(log, 1)
        watch.take()
        for failing[0] in (True, True, False):
            if log.folder is None and not path.with_name("a.jsonl.1").exists():
                path.rename(path.with_name("a.jsonl.1"))

            with contextlib.suppress(AuditError):
                log.rotate() if log.folder is not None else log.reopen()

            write(log, 2, 3)

        watch.take()

    watch.take()
    files = [path] if path.is_dir() else [path.with_name("a.jsonl.1"), path]
    left = all_hashes(*files)
    assert [it for it in watch.hashes if it in set(left)] == left
    assert len(watch.hashes) == len(set(watch.hashes)) == len(left) + 2
    assert sum("the one before goes on" in text for text in watch.told) == 2


# What is done next, without files


@pytest.mark.parametrize(
    ("look", "step"),
    [
        (Look(held=True), "read"),
        (Look(held=True, before=True), "read"),
        (Look(held=True, follows=True), "next"),
        (Look(held=False), "wait"),
        (Look(held=False, follows=True), "next"),
        (Look(held=False, copy="whole", before=True, follows=True), "copy"),
        (Look(held=False, copy="short", before=True), "wait"),
        (Look(held=False, copy="short", before=True, follows=True), "next"),
        (Look(held=False, copy="same", before=True, follows=True), "end"),
        (Look(held=False, before=True, follows=True), "back"),
    ],
)
def test_each_look_has_its_step(look: Look, step: str) -> None:
    assert choose_step(look) == step


# Anything in any order


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_no_record_is_lost_or_doubled_in_any_history(tmp_path: Path, kind: str, seed: int) -> None:
    chance = random.Random(seed)
    name = tmp_path / "a.jsonl" if kind == "file" else f"{tmp_path}/log/"
    with AuditLog.open(name) as log:
        watch = Watch(name)
        watch.take()
        for turn in range(60):
            step = chance.choice(["write", "write", "take", "rotate", "pack"])
            if step == "write":
                write(log, *range(chance.randrange(4)))
            elif step == "take":
                watch.take()
            elif step == "rotate":
                rotate(log, tmp_path, turn)
            elif step == "pack" and log.folder is not None:
                for ended in log.folder.ended()[:1]:
                    pack_segment(ended)

    watch.take()
    files = [*sorted(tmp_path.glob("a.jsonl-*")), Path(name)]
    assert watch.hashes == all_hashes(*files)
    assert watch.told == []


def rotate(log: AuditLog, folder: Path, turn: int) -> None:
    if log.folder is not None:
        log.rotate()
    else:
        (folder / "a.jsonl").rename(folder / f"a.jsonl-{turn:03}")
        log.reopen()
