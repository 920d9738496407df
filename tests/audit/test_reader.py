"""Reading a log without checking its chain."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from audit.conftest import Opener, event
from memhub.audit import AuditError, AuditLog, read_lines, read_records, summary

if TYPE_CHECKING:
    from pathlib import Path


def test_records_come_in_order_without_an_unfinished_one(path: Path, small: bytes) -> None:
    path.write_bytes(small + b'{"v":1')

    assert [record["seq"] for record in read_records(path)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("line", [b"{\n", b"[1]\n", b"\n", b"\xff\n"])
def test_a_line_that_is_no_record_is_named(path: Path, small: bytes, line: bytes) -> None:
    path.write_bytes(small + line)
    with pytest.raises(AuditError, match="line 7 is not a record"):
        list(read_records(path))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="No such file"):
        summary(tmp_path / "none")


def test_a_summary_counts_what_is_there(opened: Opener, path: Path) -> None:
    with opened() as log:
        for number, error in enumerate([None, "EBUSY", "EBUSY", "EINVAL"]):
            log.record(
                {
                    **event(number),
                    "event": "request.set",
                    "op": "update" if number else "remove",
                    "errno": error,
                    "machine": "lab",
                    "process": f"p{number % 2}",
                    "owner": None if number else "xorg",
                }
            )
    total = summary(path)

    assert (total.records, total.refused) == (6, 3)
    assert total.events == {"log.open": 1, "request.set": 4, "log.close": 1}
    assert total.operations == {"update": 3, "remove": 1}
    assert total.errors == {"EBUSY": 2, "EINVAL": 1}
    assert Counter(lab=4) == total.machines
    assert total.processes == {"p0": 2, "p1": 2}
    assert total.owners == {"xorg": 1}
    assert total.first_ns == 1_764_000_000_000_000_000
    assert total.last_ns == 1_764_000_000_000_001_000


def test_a_summary_of_an_empty_file_is_empty(path: Path) -> None:
    path.touch()

    assert (summary(path).records, summary(path).first_ns) == (0, None)


def test_reading_tells_how_far_it_is_over_all_files(tmp_path: Path) -> None:
    with AuditLog.open(f"{tmp_path}/log/") as log:
        for number in range(3):
            log.record(event(number))
            log.rotate()

    size = sum(it.stat().st_size for it in (tmp_path / "log").iterdir())
    for read in (
        lambda tell: list(read_lines(tmp_path / "log", progress=tell)),
        lambda tell: summary(tmp_path / "log", progress=tell),
    ):
        told: list[tuple[int, int]] = []
        read(lambda done, total, told=told: told.append((done, total)))
        assert told[-1] == (size, size)
        assert told == sorted(told)
        assert len(told) >= 4
