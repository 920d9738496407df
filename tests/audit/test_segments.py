"""A log that is a folder: segments that are rotated, compressed, sealed, lost and read."""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from audit.conftest import Disk, event
from audit.test_damage import KEY
from memhub.audit import AuditError, AuditLog, read_records, verify
from memhub.audit.schema import problems
from memhub.audit.seals.note_keys import SigningKey
from memhub.audit.writing.folder import pack_segment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

every_kind = pytest.mark.parametrize("key", [None, KEY], ids=["plain", "sealed"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


def fill(folder: Path, key: SigningKey | None, segments: int = 3, **options: Any) -> None:
    with AuditLog.open(f"{folder}/", key=key, **options) as log:
        for number in range(segments):
            log.record(event(number))
            if number < segments - 1:
                log.rotate([event(100 + number)])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@every_kind
def test_segments_are_one_chain_over_rotations_and_restarts(
    folder: Path, key: SigningKey | None
) -> None:
    fill(folder, key)
    fill(folder, key, 2)
    records = list(read_records(folder))

    assert names(folder) == [f"0000000{number}.jsonl" for number in (1, 2, 3, 4)]
    assert [it["seq"] for it in records] == list(range(1, len(records) + 1))
    assert [problem for it in records if "log." in it["event"] for problem in problems(it)] == []
    begins = [it for it in records if it["event"] == "log.segment"]
    assert [it["segment"] for it in begins] == [2, 3, 4]
    assert {it["log_id"] for it in begins} == {records[0]["log_id"]}
    verdict = verify(folder, keys=[KEY.verifier()] if key else [])
    assert (verdict.ok, verdict.closed, verdict.records) == (True, True, len(records))
    assert verdict.sealed == (len(records) - 1 if key else 0)


@every_kind
def test_each_segment_verifies_by_itself_and_says_where_it_begins(
    folder: Path, key: SigningKey | None
) -> None:
    fill(folder, key)
    before = 0
    for path in sorted(folder.iterdir()):
        verdict = verify(path, keys=[KEY.verifier()] if key else [])
        assert verdict.ok, path
        assert bool(before) == any(
            f"begins with record {before + 1};" in it for it in verdict.notes
        )
        before += verdict.records


@every_kind
def test_compressed_segments_are_read_and_verified_as_they_are(
    folder: Path, key: SigningKey | None
) -> None:
    fill(folder, key)
    records = list(read_records(folder))
    before = verify(folder)
    with AuditLog.open(folder, key=key) as log:
        assert log.folder is not None
        for path in log.folder.ended():
            pack_segment(path)

        assert log.folder.ended() == []

    assert names(folder) == ["00000001.jsonl.zst", "00000002.jsonl.zst", "00000003.jsonl"]
    assert list(read_records(folder))[: len(records)] == records
    assert verify(folder, head=before.head).ok


@every_kind
def test_a_log_whose_last_segment_is_compressed_goes_on_in_another(
    folder: Path, key: SigningKey | None
) -> None:
    fill(folder, key)
    for path in sorted(folder.iterdir()):
        pack_segment(str(path))

    fill(folder, key, 1)
    verdict = verify(folder, keys=[KEY.verifier()] if key else [])
    assert (verdict.ok, names(folder)[-1]) == (True, "00000004.jsonl")


def test_a_second_writer_is_refused(folder: Path) -> None:
    with (
        AuditLog.open(f"{folder}/"),
        pytest.raises(AuditError, match="another process writes this audit log"),
    ):
        AuditLog.open(folder)

    AuditLog.open(folder).close()


def test_a_log_is_continued_with_its_own_key_alone(folder: Path, tmp_path: Path) -> None:
    fill(folder, KEY)
    for key, why in ((None, "is sealed with the key"), (_other(), "and not with")):
        with pytest.raises(AuditError, match=why) as caught:
            AuditLog.open(folder, key=key)

        assert caught.value.errno == errno.EACCES

    fill(tmp_path / "plain", None)
    with pytest.raises(AuditError, match="was begun without seals"):
        AuditLog.open(tmp_path / "plain", key=KEY)


def _other() -> SigningKey:
    return SigningKey.generate("other")


def test_a_log_of_one_file_is_not_rotated(tmp_path: Path) -> None:
    with (
        AuditLog.open(tmp_path / "a.jsonl") as log,
        pytest.raises(AuditError, match="has no next segment"),
    ):
        log.rotate()


# What is done to segments


@every_kind
def test_a_segment_that_is_missing_or_out_of_place_is_named(
    folder: Path, key: SigningKey | None
) -> None:
    fill(folder, key, 4)
    (folder / "00000002.jsonl").rename(folder.parent / "away")
    verdict = verify(folder)
    assert verdict.broken is not None
    assert (verdict.broken.damage, verdict.broken.kind) == ("missing", "seq")
    assert str(verdict.broken).startswith(f"{folder}/00000003.jsonl: line 1, byte 0")

    (folder / "00000003.jsonl").rename(folder / "00000002.jsonl")
    (folder.parent / "away").rename(folder / "00000003.jsonl")
    verdict = verify(folder)
    assert verdict.broken is not None
    assert verdict.broken.damage == "reordered"


@every_kind
def test_a_folder_without_its_first_segment_is_named(folder: Path, key: SigningKey | None) -> None:
    fill(folder, key)
    (folder / "00000001.jsonl").unlink()
    verdict = verify(folder)

    assert verdict.broken is not None
    assert (verdict.broken.damage, verdict.broken.kind) == ("missing", "header")


@every_kind
def test_a_segment_that_was_cut_is_found_at_the_next_one(
    folder: Path, key: SigningKey | None
) -> None:
    fill(folder, key)
    path = folder / "00000002.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    verdict = verify(folder)
    assert verdict.broken is not None
    assert (verdict.broken.damage, verdict.broken.line) == ("missing", 1)

    path.write_bytes(b"".join(lines)[:-5])
    verdict = verify(folder)
    assert verdict.broken is not None
    assert (verdict.broken.damage, verdict.broken.kind) == ("torn", "torn")
    assert verdict.broken.file == str(path)


def test_a_segment_of_another_log_is_refused(folder: Path, tmp_path: Path) -> None:
    fill(folder, None)
    other = tmp_path / "other"
    fill(other, None)
    (other / "00000003.jsonl").replace(folder / "00000003.jsonl")
    verdict = verify(folder)

    assert verdict.broken is not None
    assert verdict.broken.kind in ("prev", "header")


def test_a_log_without_its_last_segment_ends_in_a_seal_and_says_so(folder: Path) -> None:
    fill(folder, KEY)
    (folder / "00000003.jsonl").unlink()
    verdict = verify(folder, keys=[KEY.verifier()])

    assert verdict.ok
    assert any("cut back to this seal" in it for it in verdict.notes)


# Failures


def write_of(disk: Disk) -> Callable[[int, bytes], int]:
    return disk.write


@every_kind
@pytest.mark.parametrize("writes", range(4))
def test_a_rotation_that_fails_goes_on_in_the_old_segment(
    folder: Path, key: SigningKey | None, writes: int
) -> None:
    """The disk is full at the first write of the rotation, the second, and so on."""
    disk = Disk()
    with AuditLog.open(f"{folder}/", key=key, write=write_of(disk)) as log:
        log.record(event(1))
        log.flush()
        left = [writes]

        def write(fd: int, data: bytes) -> int:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            return os.write(fd, data)

        disk.write = write  # type: ignore[method-assign]
        sink = log.writer.require_sink()
        sink._write = write
        if writes < (3 if key else 2):
            with pytest.raises(AuditError, match="No space left"):
                log.rotate([event(7)])

            assert names(folder) == ["00000001.jsonl"]
        else:
            left[0] = 1 << 30
            log.rotate([event(7)])

        left[0] = 1 << 30
        log.record(event(2))
        log.rotate([event(8)])

    verdict = verify(folder, keys=[KEY.verifier()] if key else [])
    assert verdict.ok, verdict.broken
    assert [it["base"] >> 40 for it in read_records(folder) if "base" in it][-1] == 8


@pytest.mark.usefixtures("every_write_looks")
@pytest.mark.parametrize("what", ["deleted", "cut"])
@every_kind
def test_a_segment_that_is_gone_is_left_behind_and_missed(
    folder: Path, key: SigningKey | None, what: str
) -> None:
    with AuditLog.open(f"{folder}/", key=key) as log:
        log.record(event(1))
        log.flush()
        path = folder / "00000001.jsonl"
        if what == "deleted":
            path.unlink()
        else:
            os.truncate(path, 20)

        assert log.misplaced is not None
        log.record(event(2))
        with pytest.raises(AuditError, match="takes no more records"):
            log.flush()

        log.rotate([event(3)])

    assert names(folder)[-1] == "00000002.jsonl"
    assert verify(folder / "00000002.jsonl").ok
    assert not verify(folder).ok


@pytest.mark.parametrize("left", [b"", b'{"v":1,"seq":9,"prev":"'], ids=["empty", "torn"])
@every_kind
def test_a_segment_that_a_killed_writer_left_without_a_record_is_taken_away(
    folder: Path, key: SigningKey | None, left: bytes
) -> None:
    fill(folder, key)
    (folder / "00000004.jsonl").write_bytes(left)
    (folder / "00000002.jsonl.zst.unfinished").write_bytes(b"half")
    fill(folder, key, 1)

    assert names(folder) == ["00000001.jsonl", "00000002.jsonl", "00000003.jsonl"]
    assert verify(folder, keys=[KEY.verifier()] if key else []).ok


def test_a_segment_compressed_twice_is_read_once(folder: Path) -> None:
    fill(folder, None)
    kept = (folder / "00000001.jsonl").read_bytes()
    pack_segment(str(folder / "00000001.jsonl"))
    (folder / "00000001.jsonl").write_bytes(kept)

    assert verify(folder).ok
    assert len(list(read_records(folder))) == verify(folder).records


def test_a_seal_that_does_not_fit_what_is_written_stops_a_continuation(folder: Path) -> None:
    fill(folder, KEY)
    path = folder / "00000003.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    record = json.loads(lines[1])
    record["wall_ns"] += 1
    path.write_bytes(lines[0] + json.dumps(record).encode() + b"\n" + b"".join(lines[2:]))

    with pytest.raises(AuditError, match="the log is not continued: line 2"):
        AuditLog.open(folder, key=KEY)
