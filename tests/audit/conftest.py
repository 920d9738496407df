"""Logs that are the same at every run: clocks that count, a fixed identity."""

from __future__ import annotations

import errno
import itertools
import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from memhub.audit import AuditError, AuditLog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Opener = Callable[..., AuditLog]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def opened(path: Path) -> Opener:
    """Open the log at `path`, deterministic unless told otherwise."""

    def opener(**options: Any) -> AuditLog:
        ticks = itertools.count(1_764_000_000_000_000_000, 1000)
        defaults = {"wall": lambda: next(ticks), "mono": lambda: 5, "log_id": "a-log"}

        return AuditLog.open(path, **{**defaults, **options})

    return opener


def event(number: int) -> dict[str, Any]:
    """A small event that differs from its neighbours."""
    return {"event": "request.get", "wall_ns": number, "mono_ns": number, "base": number << 40}


@pytest.fixture
def small(opened: Opener, path: Path) -> bytes:
    """The bytes of a closed log of six records."""
    with opened() as log:
        for number in range(4):
            log.record(event(number))

    return path.read_bytes()


@pytest.fixture
def every_write_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memhub.audit.writing.sink.LOOK_EVERY_NS", 0)


@pytest.fixture
def moved(path: Path) -> Path:
    return path.with_name("audit.jsonl.1")


@pytest.fixture
def log(opened: Opener, every_write_looks: None) -> Iterator[AuditLog]:
    """A log that has recorded one event."""
    log = opened(header={"pid": 7})
    log.record(event(1))
    log.flush()
    yield log
    try:
        log.close()
    except AuditError as error:
        assert error.errno == errno.ESTALE  # noqa: PT017 - the test has left it misplaced


class Disk:
    """A write(2) that fails, or writes a part, when told to."""

    def __init__(self) -> None:
        self.room: int | None = None
        self.error = errno.ENOSPC
        self.most = 1 << 30
        self.calls = 0

    def write(self, fd: int, data: bytes) -> int:
        self.calls += 1
        part = data[: self.most]
        if self.room is not None:
            part = part[: self.room]
            self.room -= len(part)
            if not part:
                raise OSError(self.error, os.strerror(self.error))

        return os.write(fd, part)


@pytest.fixture
def disk() -> Disk:
    return Disk()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def names(path: Path) -> list[str]:
    return [record["event"] for record in lines(path)]
