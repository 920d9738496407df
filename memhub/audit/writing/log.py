"""An audit log that is written: begun, continued, rotated, sealed, closed."""

from __future__ import annotations

import contextlib
import errno
import os
import time
import uuid
from typing import TYPE_CHECKING, Any, Self, final

from memhub.audit.failure import AuditError
from memhub.audit.writing.keeping import KEEPING, Keeping
from memhub.audit.writing.opening import check_opening, open_place
from memhub.audit.writing.own_records import OwnRecords
from memhub.audit.writing.place import describe_fate
from memhub.audit.writing.tail import EndedFile, RecoveredTail, Tail, read_tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from structlog.typing import Processor

    from memhub.audit.chain import Mark
    from memhub.audit.seals.note_keys import SigningKey
    from memhub.audit.writing.opening import LogPlace
    from memhub.audit.writing.sink import Durability, FileSink


@final
class AuditLog:
    """A hash-chained log of JSON lines; made by `open`, used from one thread.

    `record` only buffers. When `flush` returns, the records are with the operating system (or on
    the disk); when it raises, they are neither in the file nor in the chain.

    Attributes:
        path: the file or folder.
        folder: the folder of segments; None for a log of one file.
        keeping: when a hub rotates and seals it.
        recovered: the unfinished line that was cut off when the file was continued, or None.
        writer: what chains the records and hands them over.
    """

    def __init__(
        self,
        place: LogPlace,
        processors: Iterable[Processor],
        clocks: tuple[Callable[[], int], Callable[[], int]],
        log_id: str | None,
        header: Mapping[str, Any],
        keeping: Keeping,
    ) -> None:
        # structlog takes longer to import than a one-shot command may, and readers do without
        from memhub.audit.writing.writer import RecordWriter

        sink, tail, folder = place.sink, place.tail, place.folder
        self.path = sink.path if folder is None else folder.path
        self.folder = folder
        self.keeping = keeping
        self.recovered: RecoveredTail | None = tail.torn
        self.writer = RecordWriter(sink, tail, processors)
        self.writer.sealer = place.sealer
        identity = tail.log_id or log_id or uuid.uuid4().hex
        self._own = OwnRecords(self.writer, clocks, identity, header)

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
        key: SigningKey | None = None,
        keeping: Keeping = KEEPING,
        write: Callable[[int, bytes], int] = os.write,
    ) -> AuditLog:
        """Begin a log, or continue the one that the file or folder holds.

        A last line that a killed writer left unfinished is cut off; a `log.recovered` record
        and `recovered` say what it was. The first record of this process is flushed before
        `open` returns, so a full or read-only file system is found here.

        Args:
            path: the file, or a folder for a log of segments: one that exists, or a path that
                ends in a slash. The directory that it is in must exist.
            durability: `os` flushes with write(2), `disk` with fdatasync(2) after it.
            wall: wall clock for the log's own records, nanoseconds since 1970.
            mono: monotonic clock for them, nanoseconds.
            log_id: identity of a new log; a random one if None.
            software: name and version of what writes.
            header: further fields of `log.open` and `log.resume` (`pid`, `uid`, `config`).
            processors: structlog processors that every event passes before it is stamped.
            key: has the log sealed: at intervals, and where a segment or the log ends. Keep it
                where those who can write the log cannot read it.
            keeping: when a hub that runs rotates and seals the log.
            write: in place of `os.write`, for tests.

        Raises:
            AuditError: the file cannot be opened, written or locked, is not an audit log, its
                last record does not verify, or it is sealed with another key.
            TypeError: the key or the keeping is of another class.
            ValueError: the durability is another word.
        """
        check_opening(durability, key, keeping)
        place = open_place(path, durability, key, write)
        try:
            about = {**(header or {}), "software": software}
            log = cls(place, processors, (wall, mono), log_id, about, keeping)
            if place.new_segment and place.folder is not None:
                log._own.begin_segment(place.folder.number, resumed=place.tail)
            else:
                log._own.begin(place.tail)
        except BaseException:
            place.close()
            raise

        return log

    @property
    def log_id(self) -> str:
        """Identity of the log, kept over restarts."""
        return self._own.log_id

    @property
    def seq(self) -> int:
        """Sequence number of the last record, flushed or not."""
        return self.writer.chain.seq

    @property
    def head(self) -> str:
        """Hash of the last record, flushed or not: what `memhub audit verify --head` takes."""
        return self.writer.chain.head

    @property
    def pending(self) -> int:
        """Bytes that wait for a flush."""
        return len(self.writer.chain.pending)

    @property
    def flushed_seq(self) -> int:
        """Sequence number of the last record that a flush has handed over."""
        return self.writer.flushed_seq

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
        self.writer.append((event,), flush=False)

        return self.writer.chain.seq

    def flush(self) -> None:
        """Write the buffered lines in one write; return when they count as logged.

        Raises:
            AuditError: they could not be written. The file and the chain are as the last flush left
                them, and the lines are dropped; a later flush may succeed.
        """
        if self.writer.chain.pending or self.writer.unsynced:
            self.writer.append(())

    def mark(self) -> Mark:
        """A place to `rollback` to."""
        return self.writer.mark()

    def rollback(self, mark: Mark) -> None:
        """Drop the records made since `mark`; a failed flush has dropped the earlier ones too.

        Args:
            mark: from `mark`.

        Raises:
            ValueError: records made since the mark have been written.
        """
        self.writer.rollback(mark)

    @property
    def misplaced(self) -> str | None:
        """What became of the file, in words; None if the path still leads to it.

        What was deleted, replaced or cut takes no record. A renamed file takes them for a minute,
        so that a rotation has time to ask for `reopen`.
        """
        sink = self.writer.sink

        return None if sink is None else describe_fate(sink.find_fate())

    def seal(self) -> bool:
        """Sign all records so far, in a `log.seal` record, where the log has a key.

        Returns:
            whether it did: not where there is no key, or nothing new.

        Raises:
            AuditError: it could not be written.
        """
        return self._own.seal()

    def rotate(self, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        """Go on in the next segment of the folder; this one ends in `log.rotate`, and sealed.

        Args:
            rows: what the next segment begins with, behind its `log.segment` record.

        Raises:
            AuditError: EINVAL: the log is no folder; or the next segment could not be written,
                and this one goes on.
        """
        old, folder = self.writer.require_sink(), self.folder
        if folder is None:
            raise AuditError(self.path, "a log of one file has no next segment", errno.EINVAL)

        if self.misplaced is None:
            self.flush()

        sink = old.open_beside(folder.following)
        try:
            self._go_on_in(sink, folder.number + 1, rows)
        except BaseException:
            sink.discard()
            raise

        folder.number += 1
        old.close()

    def _go_on_in(self, sink: FileSink, number: int, rows: Iterable[Mapping[str, Any]]) -> None:
        old = self.writer.require_sink()
        try:
            self._own.end_segment(number)
        except AuditError:
            if self.misplaced is None:
                raise
            self.writer.forget()  # a segment that was deleted or cut takes no end
        left = Tail(self.seq, self.head, self.log_id, closed=True)
        self.writer.stand_at(sink, left)
        try:
            self._own.begin_segment(number, rows)
        except BaseException:
            self.writer.stand_at(old, left)
            with contextlib.suppress(AuditError):
                self._own.begin(left)
            raise

    def reopen(self) -> EndedFile | None:
        """Go on in the file that the path leads to now, as after a rotation.

        The file that was renamed ends in `log.close`. A file that is not there is begun, with
        the same `log_id`; one that holds a log is continued.

        Returns:
            where the chain of the file before ends; None if the path still leads to this one,
                which is written on.

        Raises:
            AuditError: what was pending could not be written and is lost, or the new file cannot
                be opened, locked, read or written. The log goes on with the old file.
        """
        old = self.writer.require_sink()
        sink = old.find_successor()
        try:
            self.flush()
            return None if sink is None else self._move(old, sink)
        except BaseException:
            if sink is not None and sink is not old:
                sink.close()
            raise

    def close(self) -> None:
        """Write `log.close`, flush, and close the file; a second call does nothing.

        Raises:
            AuditError: the last records could not be written; the file is closed nevertheless.
        """
        sink = self.writer.sink
        if sink is None:
            return

        try:
            self._own.close()
        finally:
            sink.close()
            self.writer.sink = None
            if self.folder is not None:
                self.folder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.writer.sink is None else f"{self.pending} bytes pending"

        return f"<AuditLog {self.path} seq={self.seq} {state}>"

    def _move(self, old: FileSink, sink: FileSink) -> EndedFile:
        """Leave one file in order and begin or continue another, or the same one if it was cut."""
        tail = read_tail(sink.fd, sink.path)
        if sink is old:
            ended = EndedFile(self.flushed_seq, self.writer.flushed_head, closed=False)
            sink.accept_size()
            self._stand_at(sink, tail)
            self._own.begin(tail)
            return ended

        closed = self._end_file()
        ended = EndedFile(self.flushed_seq, self.writer.flushed_head, closed)
        left = Tail(*ended[:2], self.log_id, closed)
        self._stand_at(sink, tail)
        try:
            self._own.begin(tail)
        except AuditError:
            self._stand_at(old, left)
            with contextlib.suppress(AuditError):
                self._own.begin(left)
            raise

        old.close()

        return ended

    def _end_file(self) -> bool:
        """Write `log.close` if the file takes it; one that was deleted does not."""
        with contextlib.suppress(AuditError):
            self._own.close()
            return True

        return False

    def _stand_at(self, sink: FileSink, tail: Tail) -> None:
        """Let the chain go on in a file from where that ends."""
        self.writer.stand_at(sink, tail)
        self._own.log_id = tail.log_id or self.log_id
        self.recovered = tail.torn
