"""What a file that is to be continued holds: its header, its last record, an unfinished line."""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, NamedTuple

from memhub.audit.chain import (
    GENESIS,
    HASH_ALGORITHM,
    HEADER_START,
    SEAL_SIZE,
    digest_of,
    seal_of,
)
from memhub.audit.failure import AuditError
from memhub.audit.line import MAX_LINE, parse_object, show_value
from memhub.audit.schema import SCHEMA_VERSION

_BLOCK: Final = 1 << 16
_ADVICE: Final = "`memhub audit verify` says where it breaks"


@dataclass(frozen=True, slots=True)
class RecoveredTail:
    """An unfinished last line that was cut off when a log was continued.

    Attributes:
        offset: where it began, in bytes from the start of the file.
        data: the bytes cut.
    """

    offset: int
    data: bytes

    def fields(self) -> dict[str, Any]:
        """What a `log.recovered` record says of it."""
        return {
            "cut_offset": self.offset,
            "cut_length": len(self.data),
            "cut_hash": sha256(self.data).hexdigest(),
        }


class EndedFile(NamedTuple):
    """Where the chain of a file ends that a log was moved away from.

    Attributes:
        seq: sequence number of its last record.
        head: that record's hash, for `memhub audit verify --head`.
        closed: whether it is a `log.close`; a file that was deleted or is full takes none.
    """

    seq: int
    head: str
    closed: bool


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a file's chain.

    Attributes:
        seq: sequence number of the last whole record; 0 if there is none.
        head: its hash.
        log_id: the identity that the header gives the log.
        closed: whether the last whole record is a `log.close`.
        torn: the unfinished line after it.
        key: the verifier key of the log's seals that the header names, or None.
    """

    seq: int = 0
    head: str = GENESIS
    log_id: str = ""
    closed: bool = False
    torn: RecoveredTail | None = None
    key: str | None = None


def read_tail(fd: int, path: str) -> Tail:
    """Find the end of the chain in an open file.

    The header and the last two records are checked, not the whole chain.

    Args:
        fd: the file, readable.
        path: its name, for messages.

    Raises:
        AuditError: the file cannot be read, is not an audit log, has another schema, or its last
            record does not verify.
    """
    try:
        return _read_tail(fd, path)
    except AuditError:
        raise
    except OSError as error:
        raise AuditError.of(path, "audit log not read", error) from error


def _read_tail(fd: int, path: str) -> Tail:
    size = os.fstat(fd).st_size
    lines, torn = _last_lines(fd, path, size)
    cut = RecoveredTail(size - len(torn), torn) if torn else None
    if not lines:
        if torn and not HEADER_START.startswith(torn) and not torn.startswith(HEADER_START):
            raise AuditError(path, "the file holds something other than an audit log")

        return Tail(torn=cut)

    header = _header(fd, path)
    last = _checked(lines[-1], path, "last record")
    if len(lines) > 1:
        before = _checked(lines[-2], path, "last record but one")
        if (before["hash"], before["seq"] + 1) != (last["prev"], last["seq"]):
            raise AuditError(path, f"the last record does not follow the one before; {_ADVICE}")

    # a sealed log ends in the seal over its log.close
    ended = lines[-2] if last.get("event") == "log.seal" and len(lines) > 1 else lines[-1]
    closed = parse_object(ended).get("event") == "log.close"

    return Tail(last["seq"], last["hash"], header["log_id"], closed, cut, header.get("key"))


def _last_lines(fd: int, path: str, size: int) -> tuple[list[bytes], bytes]:
    """The last one or two whole lines, and what follows them."""
    data = b""
    start = size
    while start and data.count(b"\n") < 3:
        if len(data) > 3 * MAX_LINE:
            raise AuditError(path, "the file ends in lines longer than any record")
        begin = max(0, start - max(_BLOCK, len(data)))
        data = os.pread(fd, start - begin, begin) + data
        start = begin
    whole, newline, torn = data.rpartition(b"\n")

    return (whole.split(b"\n")[-2:] if newline else []), torn


def _header(fd: int, path: str) -> dict[str, Any]:
    line = b""
    while b"\n" not in line and len(line) < MAX_LINE:
        block = os.pread(fd, max(_BLOCK, len(line)), len(line))
        if not block:
            break
        line += block
    header = _parsed(line.partition(b"\n")[0], path, "line 1")
    if header.get("event") not in ("log.open", "log.segment"):
        raise AuditError(path, "the file does not begin with a log.open record")

    if header.get("v") != SCHEMA_VERSION:
        found = show_value(header.get("v"))
        raise AuditError(path, f"line 1: schema {found}, where {SCHEMA_VERSION} is written")

    named = header.get("hash_algorithm") == HASH_ALGORITHM
    if not named or not isinstance(header.get("log_id"), str):
        raise AuditError(path, f"line 1: the header names no log and no {HASH_ALGORITHM} chain")

    return header


def _checked(line: bytes, path: str, which: str) -> dict[str, Any]:
    record = _parsed(line, path, which)
    sound = type(record.get("seq")) is int and isinstance(record.get("prev"), str)
    if not sound or line[-SEAL_SIZE:] != seal_of(digest_of(line)):
        raise AuditError(
            path, f"the {which} does not verify, so the log is not continued; {_ADVICE}"
        )

    return record


def _parsed(line: bytes, path: str, which: str) -> dict[str, Any]:
    try:
        return parse_object(line)
    except ValueError as error:
        if which == "line 1":
            raise AuditError(
                path, f"the file does not begin with a log.open record: {error}"
            ) from error

        raise AuditError(
            path,
            f"the {which} does not verify, so the log is not continued: {error}; {_ADVICE}",
        ) from error
