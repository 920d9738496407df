r"""How records are chained: the bytes of a line, without files.

A line is a JSON object whose last member is its own hash::

    {"v":1,"seq":7,"prev":"<64 hex>", ... ,"hash":"<64 hex>"}\n

`hash` is the SHA-256 of the line's bytes before `,"hash":`, and `prev`, which those bytes hold,
is the `hash` of the line before. So each line carries its own hash and that of the line before: a
changed byte is found in its own line, also in the last one, and a lost, doubled or moved line in
the next. The end with the hash has a fixed length, so a shell can check one line:
`sed -n 7p LOG | head -c -76 | sha256sum`.
"""

from __future__ import annotations

import errno
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from memhub.audit.schema import SCHEMA_VERSION
from memhub.escape import EscapedMessage

if TYPE_CHECKING:
    from collections.abc import MutableMapping

HASH_ALGORITHM: Final = "sha256"

#: The `prev` of a file's first record.
GENESIS: Final = "0" * 64

#: Bytes of `,"hash":"…"}`, without the newline.
SEAL_SIZE: Final = 75

#: The longest line that is written or read, newline included.
MAX_LINE: Final = 16 << 20

#: What a log's first line begins with.
HEADER_START: Final = b'{"v":%d,"seq":1,"prev":"%b","event":"log.open"' % (
    SCHEMA_VERSION,
    GENESIS.encode(),
)


class UnfitRecord(EscapedMessage, ValueError):
    """Raised when an event cannot become a line; the chain has not changed."""

    def __init__(self, reason: str, errno: int) -> None:
        self.errno = errno
        super().__init__(reason)


def digest_of(line: bytes) -> str:
    """The hash that a sealed line (without its newline) should carry."""
    return sha256(line[:-SEAL_SIZE]).hexdigest()


def seal_of(digest: str) -> bytes:
    """The end of a line whose hash is `digest`."""
    return b',"hash":"%b"}' % digest.encode()


class Mark(NamedTuple):
    """A position in the chain to return to.

    Attributes:
        seq: sequence number of the last record before the mark.
        head: that record's hash.
        pending: bytes that were waiting to be written.
        epoch: how often the log had been written when the mark was made.
    """

    seq: int
    head: str
    pending: int
    epoch: int


class Chain:
    """The end of the chain, and the lines that wait to be written.

    It is the logger that structlog wraps: `stamp` and `render` end the processor chain, and
    `record` takes the rendered line. Only `record` extends the chain, so an event that fails before
    it leaves no gap.

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

    def stamp(
        self, _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Give the event its place in the chain (a structlog processor)."""
        if "hash" in event:
            raise UnfitRecord("an event has no field 'hash'", errno.EINVAL)

        event["v"] = SCHEMA_VERSION
        event["seq"] = self.seq + 1
        event["prev"] = self.head

        return event

    def render(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> bytes:
        """Turn the event into JSON (a structlog processor, the last)."""
        try:
            return orjson.dumps(event)
        except TypeError as error:
            raise UnfitRecord(f"not JSON: {error}", errno.EINVAL) from error

    def record(self, line: bytes) -> None:
        """Add the hash to a rendered line and extend the chain by it."""
        if len(line) > MAX_LINE - SEAL_SIZE:
            raise UnfitRecord(f"{len(line)} bytes are too long for a line", errno.EMSGSIZE)

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
