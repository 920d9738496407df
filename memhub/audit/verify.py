"""Check a log's chain and say where it breaks: one pass, in constant memory."""

from __future__ import annotations

import fcntl
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Literal, TypeGuard

import orjson

from memhub.audit.chain import GENESIS, HASH_ALGORITHM, SEAL_SIZE, digest_of, seal_of
from memhub.audit.failure import AuditError
from memhub.audit.line import MAX_LINE, MAX_VALUES, check_size, parse_object, show_value
from memhub.audit.schema import SCHEMA_VERSION
from memhub.audit.source import DamagedSource, Source, open_source
from memhub.escape import escape_controls

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

_HASH: Final = re.compile("[0-9a-f]{64}")

#: `header`: the first record is not a log.open; `json`: not one object on one line,
#: too large, a member twice or a number beyond 64 bits; `schema`:
#: another version; `hash`: the line was altered; `seq`: records lost, doubled or moved; `prev`:
#: the record before was replaced; `torn`: an unfinished last line; `head`: the hash given is not
#: in the chain; `empty`: the file has no records.
BreakKind = Literal["empty", "header", "json", "schema", "hash", "seq", "prev", "torn", "head"]


@dataclass(frozen=True, slots=True)
class Break:
    """Where a chain breaks first.

    Attributes:
        kind: which rule is broken.
        line: number of the line, from 1.
        offset: where that line begins, in bytes from the start of the file.
        seq: the sequence number that the line gives itself, if it can be read.
        expected: what the chain requires there.
        found: what is there.
        reason: what that means.
    """

    kind: BreakKind
    line: int
    offset: int
    seq: int | None
    expected: str
    found: str
    reason: str

    def __str__(self) -> str:
        seq = "" if self.seq is None else f", seq {self.seq}"

        return escape_controls(
            f"line {self.line}, byte {self.offset}{seq}: {self.reason} "
            f"(expected {self.expected}, found {self.found})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What `verify` found.

    Attributes:
        path: the file.
        records: whole records that verify, up to the first break.
        size: bytes of the file when it was opened; of a pipe or a compressed file, bytes of the
            log that were read.
        head: hash of the last record that verifies: keep it elsewhere and give it to `verify`
            later, since a chain cannot show by itself that its end is missing.
        head_line: line that carries the hash that was asked for, or None.
        log_id: identity that the header gives.
        closed: whether the last record is a `log.close`.
        broken: the first break, or None.
        notes: what is not a break but should be known.
    """

    path: str
    records: int
    size: int
    head: str
    head_line: int | None
    log_id: str | None
    closed: bool
    broken: Break | None
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the chain holds from the header to the end."""
        return self.broken is None


def verify(
    path: str | os.PathLike[str],
    *,
    head: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Verdict:
    """Check every record of a log.

    Args:
        path: a file, which may be in use, a pipe, or `-` for standard input; it may be
            compressed with gzip, and with zstd where Python can read it.
        head: a record's hash that was kept elsewhere, 64 hex digits; it must be in the chain.
        progress: called with the bytes done and the bytes in all, once a block; not for a pipe,
            whose size is not known.

    Raises:
        AuditError: the file cannot be read, or its compressed data are damaged.
        ValueError: `head` is not 64 hex digits.
    """
    walk = ChainWalk(parse_hash(head) if head is not None else None)
    with open_source(path) as source:
        try:
            for block in source.blocks():
                walk.feed(block)
                if progress and source.size is not None:
                    progress(source.taken, source.size)
                if walk.broken:
                    break
        except DamagedSource as error:
            where = f"line {walk.lines + 1}"
            raise AuditError(source.name, f"audit log not read: {where}: {error}") from error

        walk.finish(in_use=bool(walk.rest) and is_in_use(source))
        known = source.size if source.plain else None

        return walk.verdict(source.name, walk.taken if known is None else known)


def parse_hash(text: str) -> str:
    """Read a record's hash as people hand it over.

    Raises:
        ValueError: it is not 64 hex digits.
    """
    digits = text.strip().lower()
    if not _HASH.fullmatch(digits):
        raise ValueError(
            f"{show_value(text)!r} is not a hash of a record: 64 hex digits are expected, "
            f"and it has {len(digits)} characters"
        )

    return digits


def is_in_use(source: Source) -> bool:
    """Whether a writer has the file locked."""
    if source.size is None or not source.plain:
        return False

    try:
        fcntl.flock(source.fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True

    fcntl.flock(source.fd, fcntl.LOCK_UN)

    return False


class ChainWalk:
    """The state of one pass: the position, and what the next record must say."""

    def __init__(self, wanted: str | None) -> None:
        self.wanted = wanted
        self.head = GENESIS
        self.head_line: int | None = None
        self.lines = 0
        self.offset = 0
        self.taken = 0
        self.rest = b""
        self.log_id: str | None = None
        self.closed = False
        self.broken: Break | None = None
        self.notes: list[str] = []

    def feed(self, block: bytes) -> None:
        """Check the lines that `block` completes."""
        self.taken += len(block)
        lines = (self.rest + block).split(b"\n")
        self.rest = lines.pop()
        self._lines(lines)
        if self.broken is None and len(self.rest) >= MAX_LINE:
            self._break("json", self.rest, f"at most {MAX_LINE} bytes", "more", "a line has no end")

    def _lines(self, lines: list[bytes]) -> None:
        head, number, offset = self.head, self.lines, self.offset
        loads, dumps, wanted, seal = orjson.loads, orjson.dumps, self.wanted, SEAL_SIZE
        for line in lines:
            digest = sha256(line[:-seal]).hexdigest()
            try:
                if len(line) > MAX_VALUES:
                    check_size(line)
                record = loads(line)
                event = record["event"]
                own = event.startswith("log.")
                # a line that comes out the same again has no member twice and ends in its hash
                sound = (
                    record["prev"] == head
                    and record["seq"] == number + 1
                    and type(record["seq"]) is type(record["v"]) is int
                    and record["v"] == SCHEMA_VERSION
                    and dumps(record) == line
                    and record.popitem() == ("hash", digest)
                )
            except (ValueError, KeyError, TypeError, AttributeError):
                sound = False
            if not sound or not number:
                self.head, self.lines, self.offset = head, number, offset
                self._look(line)
                if self.broken:
                    return

            head = digest
            number += 1
            offset += len(line) + 1
            if own:
                self._own(event, number)
            else:
                self.closed = False
            if digest == wanted:
                self.head_line = number

        self.head, self.lines, self.offset = head, number, offset

    def _own(self, event: str, line: int) -> None:
        """Keep what the log's own records say."""
        if event == "log.resume" and not self.closed:
            self.notes.append(f"line {line}: continued without a log.close before it")
        elif event == "log.recovered":
            self.notes.append(f"line {line}: an unfinished line was cut off before this record")
        self.closed = event == "log.close"

    def _look(self, line: bytes) -> None:
        """Find what is wrong with a line, if anything; the most obvious cause is tested first."""
        try:
            record = parse_object(line)
        except ValueError as error:
            found = f"{len(line)} bytes" if len(line) > MAX_VALUES else repr(line[:40])
            self._break("json", line, "a JSON object", found, str(error))
            return

        first = self.lines == 0
        if first and record.get("event") != "log.open":
            self._header(record, "log.open", record.get("event"), "the log's beginning is missing")
        elif not _is_integer(record.get("v"), SCHEMA_VERSION):
            found = show_value(record.get("v"))
            self._break("schema", record, f"v {SCHEMA_VERSION}", found, "another schema version")
        elif line[-SEAL_SIZE:] != seal_of(digest_of(line)):
            expected, found = digest_of(line), show_value(record.get("hash"))
            self._break("hash", record, expected, found, "the record's bytes were altered")
        elif not _is_integer(record.get("seq"), self.lines + 1):
            self._sequence(record)
        elif record.get("prev") != self.head:
            found = show_value(record.get("prev"))
            self._break("prev", record, self.head, found, "not the successor of the record before")
        elif not isinstance(record.get("event"), str):
            found = show_value(record.get("event"))
            self._break("schema", record, "an event", found, "no event name")
        elif first and record.get("hash_algorithm") != HASH_ALGORITHM:
            named = record.get("hash_algorithm")
            self._header(record, HASH_ALGORITHM, named, "the header names another chain")
        elif first:
            self.log_id = show_value(record.get("log_id"))

    def _header(self, record: dict[str, Any], expected: str, found: object, why: str) -> None:
        self._break("header", record, expected, show_value(found), why)

    def _sequence(self, record: dict[str, Any]) -> None:
        due, seq = self.lines + 1, record.get("seq")
        if _is_integer(seq) and seq > due:
            reason = f"records {due} to {seq - 1} are missing or moved"
        else:
            reason = "a record is repeated or moved"
        self._break("seq", record, str(due), show_value(seq), reason)

    def _break(
        self, kind: BreakKind, where: dict[str, Any] | bytes, expected: str, found: str, reason: str
    ) -> None:
        seq = where.get("seq") if isinstance(where, dict) else None
        known = seq if _is_integer(seq) else None
        self.broken = Break(kind, self.lines + 1, self.offset, known, expected, found, reason)

    def finish(self, *, in_use: bool) -> None:
        """Check the end of the file."""
        if self.broken:
            return

        if self.rest and in_use:
            self.notes.append(f"{len(self.rest)} bytes of a record that is being written")
        elif self.rest:
            size = f"{len(self.rest)} bytes"
            self._break("torn", self.rest, "a newline", size, "the last line is unfinished")
        elif not self.lines:
            self._break("empty", b"", "a log.open record", "nothing", "the log is empty")
        if self.broken is None and self.wanted and self.head_line is None:
            why = "records are missing from the end, or the chain was rewritten"
            self._break("head", b"", self.wanted, self.head, why)

    def verdict(self, path: str, size: int) -> Verdict:
        """The pass as a value."""
        notes = list(self.notes)
        if self.broken is None and not self.closed:
            notes.append("no log.close at the end: still open, killed, or cut at a line's end")
        if self.head_line is not None and self.head_line < self.lines:
            notes.append(f"the head given is line {self.head_line}; {self.lines} are in the chain")

        return Verdict(
            path=path,
            records=self.lines,
            size=size,
            head=self.head,
            head_line=self.head_line,
            log_id=self.log_id,
            closed=self.closed,
            broken=self.broken,
            notes=tuple(notes),
        )


def _is_integer(value: object, due: int | None = None) -> TypeGuard[int]:
    """Whether a value is an integer, and the one that is due; true and 1.0 are equal to 1."""
    return type(value) is int and (due is None or value == due)
