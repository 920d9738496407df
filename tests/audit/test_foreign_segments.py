"""A log's folder into which others put files, links and pipes, or take segments away."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from audit.conftest import event
from audit.test_damage import KEY, chained
from audit.test_segments import every_kind, fill, names
from memhub.audit import AuditError, AuditLog, verify
from memhub.audit.writing.folder import pack_segment

if TYPE_CHECKING:
    from memhub.audit.seals.note_keys import SigningKey


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


@every_kind
def test_a_rotation_takes_no_file_that_is_there(
    folder: Path, tmp_path: Path, key: SigningKey | None
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("precious")
    with AuditLog.open(f"{folder}/", key=key) as log:
        log.record(event(1))
        following = folder / "00000002.jsonl"
        for put in (lambda: following.symlink_to(outside), lambda: following.write_text("mine")):
            put()
            with pytest.raises(AuditError, match=r"00000002\.jsonl"):
                log.rotate()

            assert (outside.read_text(), following.read_text() in ("precious", "mine")) == (
                "precious",
                True,
            )
            following.unlink()

        log.rotate()

    assert verify(folder).ok


def test_a_compressed_segment_is_not_replaced_by_a_file_beside_it(folder: Path) -> None:
    fill(folder, None)
    plain = folder / "00000001.jsonl"
    whole = plain.read_bytes()
    pack_segment(str(plain))
    packed = (folder / "00000001.jsonl.zst").read_bytes()
    for other in (whole[:300], b"hello\n", whole + b"more\n"):
        plain.write_bytes(other)
        with pytest.raises(AuditError, match=r"differs from .*00000001\.jsonl\.zst, which is kept"):
            pack_segment(str(plain))

        assert (folder / "00000001.jsonl.zst").read_bytes() == packed
        assert verify(folder).ok

    plain.write_bytes(whole)
    pack_segment(str(plain))
    assert not plain.exists()


def test_a_link_is_not_compressed_and_a_pipe_is_no_segment(folder: Path, tmp_path: Path) -> None:
    fill(folder, None)
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (folder / "00000002.jsonl").rename(tmp_path / "away")
    (folder / "00000002.jsonl").symlink_to(secret)
    with pytest.raises(AuditError, match="segment not compressed"):
        pack_segment(str(folder / "00000002.jsonl"))

    (folder / "00000002.jsonl").unlink()
    os.mkfifo(folder / "00000002.jsonl")
    os.mkfifo(folder / "00000009.jsonl")
    verdict = verify(folder)
    assert verdict.broken is not None
    assert verdict.broken.damage == "missing"


def test_a_log_without_its_last_segments_is_told_after_a_restart_too(folder: Path) -> None:
    for packed in (False, True):
        fill(folder, KEY, 4)
        for name in names(folder)[-2:]:
            (folder / name).unlink()

        said = " ".join(verify(folder, keys=[KEY.verifier()]).notes)
        assert f"the log goes on in segment {len(names(folder)) + 1}, which is not here" in said
        if packed:
            for name in names(folder):
                pack_segment(str(folder / name))

        fill(folder, KEY, 1)
        verdict = verify(folder, keys=[KEY.verifier()])
        assert verdict.ok
        assert "continued without a log.close before it" in " ".join(verdict.notes)


def test_a_last_segment_of_another_log_is_not_continued(folder: Path, tmp_path: Path) -> None:
    fill(folder, KEY)
    fill(tmp_path / "other", KEY, 5)
    (tmp_path / "other" / "00000004.jsonl").rename(folder / "00000004.jsonl")
    with pytest.raises(AuditError, match=r"it does not follow .*00000003\.jsonl"):
        AuditLog.open(folder, key=KEY)


def test_a_seal_has_no_members_that_nobody_signed(folder: Path) -> None:
    fill(folder, KEY, 1)
    path = folder / "00000001.jsonl"
    records = [json.loads(line) for line in path.read_bytes().splitlines()]
    records[-1]["reason"] = "all is well"
    path.write_bytes(chained(records))
    verdict = verify(folder, keys=[KEY.verifier()])

    assert verdict.broken is not None
    assert verdict.broken.kind == "seal"


def test_a_damaged_compressed_segment_is_a_break_at_its_first_bad_record(folder: Path) -> None:
    fill(folder, KEY)
    packed = Path(pack_segment(str(folder / "00000002.jsonl")))
    data = packed.read_bytes()
    packed.write_bytes(data[:-9])
    verdict = verify(folder, keys=[KEY.verifier()])

    assert verdict.broken is not None
    assert (verdict.broken.kind, verdict.broken.damage) == ("packed", "altered")
    assert verdict.broken.file == str(packed)

    packed.write_bytes(data[:40] + bytes(8) + data[48:])
    for jobs in (1, 2):
        verdict = verify(folder, keys=[KEY.verifier()], jobs=jobs)
        assert verdict.broken is not None
        assert verdict.broken.file == str(packed)
        assert verdict.broken.line >= 1


def test_a_segment_whose_file_was_renamed_is_named(folder: Path) -> None:
    fill(folder, None)
    renamed = folder / "00000007.jsonl"
    (folder / "00000003.jsonl").rename(renamed)
    verdict = verify(folder)

    assert verdict.broken is not None
    assert (verdict.broken.kind, verdict.broken.damage) == ("header", "reordered")
    assert str(verdict.broken) == (
        f"{renamed}: line 1, byte 0, seq {verdict.records + 1}: the file of the segment was "
        "renamed (expected segment 7, found segment 3)"
    )


def test_a_segment_in_the_middle_that_ends_within_a_line_is_told_so(folder: Path) -> None:
    fill(folder, None)
    path = folder / "00000002.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    verdict = verify(folder)

    assert verdict.broken is not None
    assert verdict.broken.reason == (
        "the segment's last line is unfinished, and another one follows"
    )
