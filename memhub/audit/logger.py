"""The writing side of the chain: structlog with explicit processors, no global configuration."""

from __future__ import annotations

import errno
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from memhub.audit.chain import GENESIS, SEAL_SIZE, UnfitRecord
from memhub.audit.line import MAX_LINE, MAX_VALUES, check_size
from memhub.audit.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, MutableMapping

    from structlog.typing import Processor

    from memhub.audit.chain import Mark


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
