"""Writing records: events in order, through structlog's processors, chained, handed over in groups.

structlog is used with explicit processors and no global configuration. It takes longer to import
than a one-shot command may, so that readers of a log do without this file.
"""

from __future__ import annotations

import errno
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog

from memhub.audit.chain import GENESIS, SEAL_SIZE, Mark, UnfitRecord
from memhub.audit.failure import AuditError
from memhub.audit.line import MAX_LINE, MAX_VALUES, check_size
from memhub.audit.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, MutableMapping

    from structlog.typing import Processor

    from memhub.audit.writing.sealing import Sealer
    from memhub.audit.writing.sink import FileSink
    from memhub.audit.writing.tail import Tail


_NEVER: Final = 1 << 63


class Chain:
    """Where the chain stands, and the lines that wait to be written.

    It is the logger that structlog wraps: `link` ends the processor chain, and `record` takes the
    rendered line. Only `record` moves the chain, so an event that fails on its way leaves no gap.

    Attributes:
        seq: sequence number of the last record, 0 before the first.
        head: that record's hash.
        pending: the lines not written yet.
    """

    __slots__ = ("head", "pending", "seq")

    def __init__(self, seq: int = 0, head: str = GENESIS) -> None:
        self.seq = seq
        self.head = head
        self.pending = bytearray()

    def link(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> bytes:
        """Give the event its place in the chain, as JSON (a structlog processor, the last)."""
        if "hash" in event:
            raise UnfitRecord("an event has no field 'hash'", errno.EINVAL)

        event["v"] = SCHEMA_VERSION
        event["seq"] = self.seq + 1
        event["prev"] = self.head
        try:
            return orjson.dumps(event)
        except TypeError as error:
            raise UnfitRecord(f"not JSON: {error}", errno.EINVAL) from error

    def record(self, line: bytes) -> None:
        """Seal a rendered line and let the chain go on from it."""
        if len(line) > MAX_LINE - SEAL_SIZE:
            raise UnfitRecord(f"{len(line)} bytes are too long for a line", errno.EMSGSIZE)

        if len(line) > MAX_VALUES:
            _check_values(line)

        body = line[:-1]
        digest = sha256(body).hexdigest()
        self.pending += b'%b,"hash":"%b"}\n' % (body, digest.encode())
        self.seq += 1
        self.head = digest

    def back_to(self, mark: Mark) -> None:
        """Forget the lines that were recorded since `mark`; they must still be pending."""
        del self.pending[mark.pending :]
        self.seq = mark.seq
        self.head = mark.head


class RecordWriter:
    """Chains events and hands their lines to a file, as a group.

    What `flush` has returned from is in the hands of the operating system (or on the disk); what
    it has raised for is in neither the file nor the chain.

    Args:
        sink: the file.
        tail: where its chain ends.
        processors: structlog processors that every event passes before it is linked.

    Attributes:
        path: the file's path.
        chain: where the chain stands, flushed or not.
        sink: the file; None once the log is closed.
        flushed_seq: sequence number of the last record that a flush has handed over, or a sync.
        flushed_head: that record's hash.
        unsynced: the lines that were written without waiting for the disk.
        on_sync: called when `unsynced` is on the disk, or with the error that has dropped it.
        sealer: takes the lines that were written, where the log is sealed.
    """

    def __init__(self, sink: FileSink, tail: Tail, processors: Iterable[Processor]) -> None:
        self.path = sink.path
        self.sink: FileSink | None = sink
        self.chain = Chain(tail.seq, tail.head)
        self.flushed_seq = self._written_seq = tail.seq
        self.flushed_head = self._written_head = tail.head
        self.unsynced = bytearray()
        self.on_sync: Callable[[AuditError | None], None] = lambda _error: None
        self._epoch = 0
        self._written_epoch = 0
        self._record = wrap(self.chain, processors).record
        self.sealer: Sealer | None = None
        self._due_seq = self._due_size = _NEVER
        self._on_due: Callable[[], None] | None = None

    def append(
        self, rows: Iterable[Mapping[str, Any]], *, flush: bool = True, sync: bool = True
    ) -> None:
        """Chain some events and buffer their lines: all of them, or none.

        Args:
            rows: the events; they are not changed.
            flush: also hand the lines over, and those that were buffered before.
            sync: without it, they are written, and `sync` brings them to the disk. What was
                written so before is brought there first.

        Raises:
            AuditError: the log is closed (EBADF), cannot take them, or one of them cannot be a
                line: it holds what JSON does not, or is too long.
        """
        sink, chain = self.sink, self.chain
        if sink is None:
            raise self._closed()

        if self.unsynced and sync and flush:
            self.sync()

        seq, head, pending = chain.seq, chain.head, len(chain.pending)
        try:
            for row in rows:
                self._record(row)
        except UnfitRecord as error:
            chain.back_to(Mark(seq, head, pending, self._epoch))
            raise AuditError(self.path, f"record refused: {error}", error.errno) from error

        if not flush or not chain.pending:
            return

        self._epoch += 1
        data = bytes(chain.pending)
        try:
            sink.append(data, sync=sync)
        except AuditError:
            self.forget()
            raise

        chain.pending.clear()
        self._written_seq, self._written_head = chain.seq, chain.head
        self._written_epoch = self._epoch
        if sync:
            self._note_flushed(data)
        else:
            self.unsynced += data

        if chain.seq >= self._due_seq or sink.size >= self._due_size:
            self._tell_due()

    @property
    def waits_for_disk(self) -> bool:
        """Whether records count when the disk has them."""
        return self.sink is not None and self.sink.durability == "disk"

    def sync(self) -> None:
        """Bring to the disk what was written without waiting for it.

        Raises:
            AuditError: that failed; none of it is in the file or the chain.
        """
        if not self.unsynced:
            return

        try:
            self.require_sink().sync()
        except AuditError as error:
            self._written_seq, self._written_head = self.flushed_seq, self.flushed_head
            self.forget()
            self.unsynced.clear()
            self.on_sync(error)
            raise

        self._note_flushed(bytes(self.unsynced))
        self.unsynced.clear()
        self.on_sync(None)

    def _note_flushed(self, data: bytes) -> None:
        self.flushed_seq, self.flushed_head = self._written_seq, self._written_head
        if self.sealer is not None:
            self.sealer.add(data)

    def watch(self, due_seq: int | None, due_size: int | None, on_due: Callable[[], None]) -> bool:
        """Call `on_due` once, after the write that makes the log so long.

        Args:
            due_seq: from this record on; None for any number.
            due_size: from a file of so many bytes on; None for any size.
            on_due: must not raise or write to the log.

        Returns:
            whether the log is that long already; then `on_due` is not called.
        """
        seq, size = due_seq or _NEVER, due_size or _NEVER
        if self.flushed_seq >= seq or (self.sink is not None and self.sink.size >= size):
            return True

        self._due_seq, self._due_size, self._on_due = seq, size, on_due

        return False

    def _tell_due(self) -> None:
        self._due_seq = self._due_size = _NEVER
        if self._on_due is not None:
            self._on_due()

    def mark(self) -> Mark:
        """A place to `rollback` to."""
        chain = self.chain

        return Mark(chain.seq, chain.head, len(chain.pending), self._epoch)

    def rollback(self, mark: Mark) -> None:
        """Drop the records made since `mark`; a failed flush has dropped the earlier ones too.

        Raises:
            ValueError: records made since the mark have been written.
        """
        if mark.epoch == self._epoch:
            self.chain.back_to(mark)
        elif mark.epoch >= self._written_epoch or mark.head == self._written_head:
            self.forget()
        else:
            raise ValueError(f"record {mark.seq + 1} is written and cannot be taken back")

    def forget(self) -> None:
        """Drop all that is pending."""
        self.chain.back_to(Mark(self._written_seq, self._written_head, 0, self._epoch))

    def stand_at(self, sink: FileSink, tail: Tail) -> None:
        """Let the chain go on in a file from where that ends."""
        self.sink = sink
        self._epoch += 1
        self.flushed_seq = self._written_seq = tail.seq
        self.flushed_head = self._written_head = tail.head
        self._written_epoch = self._epoch
        self.forget()

    def require_sink(self) -> FileSink:
        """The file.

        Raises:
            AuditError: EBADF; the log is closed.
        """
        if self.sink is None:
            raise self._closed()

        return self.sink

    def _closed(self) -> AuditError:
        return AuditError(self.path, "the audit log is closed", errno.EBADF)


class RecordLogger(structlog.BoundLoggerBase):
    """A bound logger with one method and no levels: an audit record is not optional."""

    def record(self, event: Mapping[str, Any]) -> None:
        """Run `event`, over the bound context, through the processors and hand on the line."""
        line: Any = {**self._context, **event}
        try:
            for process in self._processors:
                line = process(self._logger, "record", line)
        except structlog.DropEvent as error:
            raise UnfitRecord("a processor dropped an audit record", 0) from error

        self._logger.record(line)


def wrap(chain: Chain, processors: Iterable[Processor] = ()) -> RecordLogger:
    """Build the logger that ends in `chain`.

    Args:
        chain: takes the events and keeps their lines.
        processors: run before the event is linked, in order; may add, change and remove fields.
    """
    logger = structlog.wrap_logger(
        chain,
        processors=[*processors, chain.link],
        wrapper_class=RecordLogger,
        context_class=dict,
        cache_logger_on_first_use=True,
        # placeholders: the stamp fills them in, and they keep these members first in the line
        v=SCHEMA_VERSION,
        seq=0,
        prev="",
    )
    bound: RecordLogger = logger.bind()

    return bound


def _check_values(line: bytes) -> None:
    """Refuse what no reader would take."""
    try:
        check_size(line)
    except ValueError as error:
        raise UnfitRecord(str(error), errno.EMSGSIZE) from error
