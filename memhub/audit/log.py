"""The writer: events in order of effect, chained, buffered, and handed over as a group."""

from __future__ import annotations

import errno
import os
import time
import uuid
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Self, final

from memhub.audit.chain import HASH_ALGORITHM, Chain, Mark, UnfitRecord
from memhub.audit.failure import AuditError
from memhub.audit.sink import Durability, FileSink
from memhub.audit.tail import RecoveredTail, Tail, read_tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from structlog.typing import Processor


@final
class AuditLog:
    """A hash-chained log of JSON lines; made by `open`, used from one thread.

    `record` only buffers. When `flush` returns, the records are with the operating system (or on
    the disk); when it raises, they are neither in the file nor in the chain.

    Attributes:
        path: the file.
        log_id: its identity, kept over restarts.
        recovered: the unfinished line that was cut off when the file was continued, or None.
        flushed_seq: sequence number of the last record that a flush has handed over.
    """

    def __init__(
        self,
        sink: FileSink,
        tail: Tail,
        processors: Iterable[Processor],
        clocks: tuple[Callable[[], int], Callable[[], int]],
    ) -> None:
        # structlog takes too long to import for a one-shot command, and readers do not need it
        from memhub.audit.logger import wrap

        self.path = sink.path
        self.log_id = tail.log_id
        self.recovered: RecoveredTail | None = tail.torn
        self.flushed_seq = tail.seq
        self._flushed_head = tail.head
        self._clocks = clocks
        self._epoch = 0
        self._flushed_epoch = 0
        self._sink: FileSink | None = sink
        self._chain = Chain(tail.seq, tail.head)
        self._record: Callable[[Mapping[str, Any]], None] = wrap(self._chain, processors).record

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "os",
        wall: Callable[[], int] = time.time_ns,
        mono: Callable[[], int] = time.monotonic_ns,
        log_id: str | None = None,
        software: str | None = None,
        header: Mapping[str, Any] | None = None,
        processors: Iterable[Processor] = (),
        write: Callable[[int, bytes], int] = os.write,
    ) -> AuditLog:
        """Begin a log, or continue the one that the file holds.

        A last line that a killed writer left unfinished is cut off; a `log.recovered` record
        and `recovered` say what it was. The first record of this process is flushed before
        `open` returns, so a full or read-only file system is found here.

        Args:
            path: the file; its directory must exist.
            durability: `os` flushes with write(2), `disk` with fdatasync(2) after it.
            wall: wall clock for the log's own records, nanoseconds since 1970.
            mono: monotonic clock for them, nanoseconds.
            log_id: identity of a new log; a random one if None.
            software: name and version of what writes.
            header: further fields of `log.open` and `log.resume` (`pid`, `uid`, `config`).
            processors: structlog processors that every event passes before it is stamped.
            write: in place of `os.write`, for tests.

        Raises:
            AuditError: the file cannot be opened, written or locked, is not an audit log, or its
                last record does not verify.
        """
        sink = FileSink(path, durability, write=write)
        try:
            tail = read_tail(sink.fd, sink.path)
            log = cls(sink, tail, processors, (wall, mono))
            log.log_id = tail.log_id or log_id or uuid.uuid4().hex
            log._begin(tail, {**(header or {}), "software": software})
        except BaseException as error:
            sink.close()
            if isinstance(error, OSError) and not isinstance(error, AuditError):
                raise AuditError.of(sink.path, "audit log not read", error) from error
            raise

        return log

    @property
    def seq(self) -> int:
        """Sequence number of the last record, flushed or not."""
        return self._chain.seq

    @property
    def head(self) -> str:
        """Hash of the last record, flushed or not: what `memhub audit verify --head` takes."""
        return self._chain.head

    @property
    def pending(self) -> int:
        """Bytes that wait for a flush."""
        return len(self._chain.pending)

    def record(self, event: Mapping[str, Any]) -> int:
        """Chain one event and buffer its line.

        Args:
            event: flat fields, `event` first (`memhub.audit.schema`); it is not changed.

        Returns:
            the record's sequence number.

        Raises:
            AuditError: the log is closed (EBADF), or the event cannot be a line: it has a value
                that JSON cannot hold, or is too long. The chain has not changed.
        """
        try:
            self._record(event)
        except UnfitRecord as error:
            raise AuditError(self.path, f"record refused: {error}", error.errno) from error

        return self._chain.seq

    def append(self, rows: Iterable[Mapping[str, Any]], *, flush: bool = True) -> None:
        """Chain some events and buffer their lines: all of them, or none.

        Args:
            rows: the events; see `record`.
            flush: also hand the lines over, and those that were buffered before.

        Raises:
            AuditError: the log cannot take them.
        """
        chain = self._chain
        mark = Mark(chain.seq, chain.head, len(chain.pending), self._epoch)
        try:
            for row in rows:
                self._record(row)

            if flush:
                self.flush()
        except UnfitRecord as error:
            self.rollback(mark)
            raise AuditError(self.path, f"record refused: {error}", error.errno) from error
        except AuditError:
            self.rollback(mark)
            raise

    def flush(self) -> None:
        """Write the buffered lines in one write; return when they count as logged.

        Raises:
            AuditError: they could not be written. The file and the chain are as the last flush left
                them, and the lines are dropped; a later flush may succeed.
        """
        chain = self._chain
        if not chain.pending:
            return

        self._epoch += 1
        try:
            self._open_sink().append(bytes(chain.pending))
        except AuditError:
            self._forget()
            raise

        chain.pending.clear()
        self.flushed_seq = chain.seq
        self._flushed_head = chain.head
        self._flushed_epoch = self._epoch

    def mark(self) -> Mark:
        """A position to `rollback` to."""
        chain = self._chain

        return Mark(chain.seq, chain.head, len(chain.pending), self._epoch)

    def rollback(self, mark: Mark) -> None:
        """Drop the records made since `mark`; a failed flush has dropped the earlier ones too.

        Args:
            mark: from `mark`.

        Raises:
            ValueError: records made since the mark have been written.
        """
        if mark.epoch == self._epoch:
            self._chain.back_to(mark)
        elif mark.epoch >= self._flushed_epoch or mark.head == self._flushed_head:
            self._forget()
        else:
            raise ValueError(f"record {mark.seq + 1} is written and cannot be taken back")

    def close(self) -> None:
        """Write `log.close`, flush, and close the file; a second call does nothing.

        Raises:
            AuditError: the last records could not be written; the file is closed nevertheless.
        """
        if self._sink is None:
            return

        try:
            self._own("log.close", {"count": self._chain.seq + 1})
            self.flush()
        finally:
            self._sink.close()
            self._sink = None
            self._record = self._refuse

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._sink is None else f"{self.pending} bytes pending"

        return f"<AuditLog {self.path} seq={self.seq} {state}>"

    def _begin(self, tail: Tail, header: Mapping[str, Any]) -> None:
        fields = {
            "log_id": self.log_id,
            "hash_algorithm": HASH_ALGORITHM,
            "continued": tail.seq > 0,
            **header,
        }
        if tail.seq:
            self._own("log.resume", {**fields, "clean": tail.closed})
        else:
            self._own("log.open", fields)
        if tail.torn is not None:
            self._open_sink().cut(tail.torn.offset)
            self._own("log.recovered", _cut_fields(tail.torn))
        self.flush()

    def _own(self, event: str, fields: Mapping[str, Any]) -> None:
        """Record an event of the log itself."""
        wall, mono = self._clocks
        self.record({"event": event, "wall_ns": wall(), "mono_ns": mono(), **fields})

    def _forget(self) -> None:
        """Drop all that is pending."""
        self._chain.back_to(Mark(self.flushed_seq, self._flushed_head, 0, self._epoch))

    def _open_sink(self) -> FileSink:
        if self._sink is None:
            raise AuditError(self.path, "the audit log is closed", errno.EBADF)

        return self._sink

    def _refuse(self, _event: Mapping[str, Any]) -> None:
        self._open_sink()


def _cut_fields(torn: RecoveredTail) -> dict[str, Any]:
    return {
        "cut_offset": torn.offset,
        "cut_length": len(torn.data),
        "cut_hash": sha256(torn.data).hexdigest(),
    }
