"""Logs that grow, and a reader that takes what is new."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from audit.conftest import event
from memhub.audit import AuditLog, read_records
from memhub.shipping.follow import Follower

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from memhub.shipping.places import Place


class Watch:
    """A follower, the hashes of all that it gave out, and what it told."""

    def __init__(self, path: Path | str, start: Place | None = None) -> None:
        self.told: list[str] = []
        self.follower = Follower(str(path), start, self.told.append)
        self.hashes: list[str] = []

    def take(self) -> list[int]:
        """The numbers of the records that are new."""
        found = list(self.follower.take())
        self.hashes += [it.record["hash"] for it in found]

        return [it.record["seq"] for it in found]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.jsonl"


@pytest.fixture
def log(path: Path) -> Iterator[AuditLog]:
    log = AuditLog.open(path)
    yield log
    if log.writer.sink is not None:
        log.close()


@pytest.fixture
def segments(tmp_path: Path) -> Iterator[AuditLog]:
    log = AuditLog.open(f"{tmp_path}/log/")
    yield log
    log.close()


def write(log: AuditLog, *numbers: int) -> list[str]:
    """Record events, and the hash of each."""
    hashes = []
    for number in numbers:
        log.record(event(number))
        hashes.append(log.head)
    log.flush()

    return hashes


def all_hashes(*paths: Path) -> list[str]:
    return [record["hash"] for path in paths for record in read_records(path)]
