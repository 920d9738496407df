"""A log of millions of records: one run of a hub in segments, and copies of it as later runs.

A hub takes minutes for a million records, so only the first run is made by one. Each further run
has the same records a day later, with numbers and hashes that go on, as if the hub had been started
again and had been asked the same.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

import orjson

from benchmarks.analysis_log import Bench
from memhub import AuditLog
from memhub.audit.chain import SEAL_SIZE
from memhub.audit.reading.segments import log_files
from memhub.audit.reading.source import open_source
from memhub.audit.writing.folder import pack_segment
from memhub.audit.writing.keeping import Keeping
from memhub.engine.log_keeping import LogKeeper

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DAY_NS: Final = 86_400_000_000_000

#: A hub looks at its log after so many requests.
_KEPT_EVERY: Final = 256


def make_run(folder: Path, records: int, segment_bytes: int) -> int:
    """Have a hub write a log of segments.

    Args:
        folder: for the segments; it is made.
        records: it ends with at least so many.
        segment_bytes: a segment of this size ends.

    Returns:
        how many records it has.
    """
    folder.mkdir()
    with AuditLog.open(folder, log_id="bench", keeping=Keeping(max_bytes=segment_bytes)) as log:
        bench = Bench(log)
        keeper = LogKeeper(bench.hub.engine, log)
        while log.seq < records:
            for _ in range(_KEPT_EVERY):
                bench.step()

            log.flush()
            keeper.keep()

        count = log.seq

    return count + 1


def repeat_run(run: Path, folder: Path, times: int) -> int:
    """Make a log of a run and of copies of it.

    Args:
        run: the segments of the run.
        folder: for the segments of the log, compressed but for the last; it is made.
        times: how many runs the log has.

    Returns:
        how many records it has.
    """
    folder.mkdir()
    copy = _Copy(folder)
    files = log_files(run)
    for number in range(times):
        for file in files:
            copy.add_lines(_lines_of(file), number, len(files))

    copy.close()

    return copy.seq


def count_records(folder: Path) -> int:
    """How many records a log of segments has: the number of its last record."""
    *_, last = _lines_of(log_files(folder)[-1])

    return int(orjson.loads(last)["seq"])


def _lines_of(path: str) -> Iterator[bytes]:
    rest = b""
    with open_source(path) as source:
        for block in source.blocks():
            *lines, rest = (rest + block).split(b"\n")
            yield from lines


class _Copy:
    """The log that is made.

    Attributes:
        seq: of the last record.
    """

    def __init__(self, folder: Path) -> None:
        self.seq = 0
        self._head = b"0" * 64
        self._folder = folder
        self._name: Path | None = None
        self._lines: list[bytes] = []

    def add_lines(self, lines: Iterator[bytes], run: int, segments: int) -> None:
        """Take the lines of one segment of a run; that of the next run goes on in the last one."""
        shift, before = run * _DAY_NS, run * (segments - 1)
        for line in lines:
            text = line[line.index(b'"event"') : -SEAL_SIZE]
            if text.startswith(b'"event":"log.'):
                text = self._own_text(text, run, before)

            begin = text.index(b'"wall_ns":') + 10
            end = text.index(b",", begin)
            self.seq += 1
            whole = b'{"v":1,"seq":%d,"prev":"%b",%b%d%b' % (
                self.seq, self._head, text[:begin], int(text[begin:end]) + shift, text[end:],
            )  # fmt: skip
            self._head = sha256(whole).hexdigest().encode()
            self._lines.append(b'%b,"hash":"%b"}\n' % (whole, self._head))
            if len(self._lines) == 4096:
                self._store()

    def _own_text(self, text: bytes, run: int, before: int) -> bytes:
        """What the log says of itself, for its place in the copy."""
        record = orjson.loads(b"{%b}" % text)
        if record["event"] == "log.open" and run:
            record |= {"event": "log.resume", "continued": True, "clean": True}

        if "segment" in record:
            number = record["segment"] = record["segment"] + before
            if record["event"] == "log.segment":
                self._go_on_in(number)
        elif self._name is None:
            self._go_on_in(1)

        return orjson.dumps(record)[1:-1]

    def _go_on_in(self, number: int) -> None:
        self.close()
        if self._name is not None:
            pack_segment(str(self._name))

        self._name = self._folder / f"{number:08}.jsonl"

    def _store(self) -> None:
        if self._name is not None and self._lines:
            with self._name.open("ab") as file:
                file.writelines(self._lines)

        self._lines.clear()

    def close(self) -> None:
        """Write what waits."""
        self._store()
