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

from hashlib import sha256
from typing import Final, NamedTuple

from memhub.audit.line import MAX_LINE as MAX_LINE
from memhub.audit.schema import SCHEMA_VERSION
from memhub.escape import EscapedMessage

HASH_ALGORITHM: Final = "sha256"

#: The `prev` of a file's first record.
GENESIS: Final = "0" * 64

#: Bytes of `,"hash":"…"}`, without the newline.
SEAL_SIZE: Final = 75

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
