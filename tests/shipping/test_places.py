"""The end of a log, the last records before it, and the place behind a record that was sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from memhub.audit import read_records
from memhub.audit.writing.folder import pack_segment
from memhub.shipping.places import find_end, find_shipped, read_last
from memhub.shipping.state_file import Shipped
from shipping.conftest import Watch, write

if TYPE_CHECKING:
    from pathlib import Path

    from memhub.audit import AuditLog


@pytest.mark.parametrize("count", [1, 3, 5, 99])
def test_the_last_records_of_a_folder_are_found_from_its_end(
    segments: AuditLog, count: int
) -> None:
    for number in range(3):
        write(segments, number)
        segments.rotate()

    assert segments.folder is not None
    pack_segment(segments.folder.ended()[1])
    records = list(read_records(segments.path))
    end = find_end(segments.path)

    found = read_last(segments.path, end, count, lambda _: True)
    assert [it[1]["seq"] for it in found] == [it["seq"] for it in records][-count:]
    found = read_last(segments.path, end, count, lambda it: it["event"] == "request.get")
    wanted = [it["seq"] for it in records if it["event"] == "request.get"]
    assert [it[1]["seq"] for it in found] == wanted[-count:]

    watch = Watch(segments.path, end)
    write(segments, 9)
    assert watch.take() == [len(records) + 1]


def test_lines_longer_than_a_block_are_read_backward(
    log: AuditLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(log, 1, 2, 3)
    with path.open("ab") as file:
        file.write(b'{"torn":')

    for block in (1, 7, 100, 1000, 1 << 18):
        monkeypatch.setattr("memhub.shipping.places._BLOCK", block)
        found = read_last(str(path), find_end(str(path)), 9, lambda _: True)
        assert [it[1]["seq"] for it in found] == [1, 2, 3, 4]


def test_reading_goes_on_behind_a_record_that_was_sent(log: AuditLog, path: Path) -> None:
    (sent, *_) = write(log, 1, 2)
    shipped = Shipped(log.log_id, 2, sent)
    assert Watch(path, find_shipped(str(path), shipped)).take() == [3]

    path.rename(path.with_name("a.jsonl.1"))
    log.reopen()
    assert Watch(path, find_shipped(str(path), shipped)).take() == [3, 4, 1]
