"""What can be wrong with a log, where, and what was probably done to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from memhub.escape import escape_controls

#: `header`: the first record is not a log.open; `json`: not one object on one line,
#: too large, a member twice or a number beyond 64 bits; `schema`:
#: another version; `hash`: the line was altered; `seq`: records lost, doubled or moved; `prev`:
#: the record before was replaced; `seal`: what is sealed is not what is there; `unsealed`: records
#: follow the last seal; `torn`: an unfinished last line; `head`: the hash given is not
#: in the chain; `packed`: a segment's compressed data are damaged; `empty`: the file has no
#: records.
BreakKind = Literal[
    "empty",
    "header",
    "json",
    "schema",
    "hash",
    "seq",
    "prev",
    "seal",
    "unsealed",
    "torn",
    "head",
    "packed",
]

#: `altered`: bytes of a record; `missing`, `doubled`, `reordered`: whole records; `torn`: the last
#: line is not whole; `cut`: records are missing from the end; `rewritten`: records were replaced
#: and their hashes computed anew; `foreign`: not a log of this kind.
Damage = Literal[
    "altered", "missing", "doubled", "reordered", "torn", "cut", "rewritten", "foreign"
]


def count_text(count: int, what: str) -> str:
    """A number of things in words: `1 record`, `2 records`."""
    return f"{count} {what}{'s' * (count != 1)}"


class Fault(NamedTuple):
    """What is wrong with a line: a Break without its place."""

    kind: BreakKind
    expected: str
    found: str
    reason: str
    damage: Damage


@dataclass(frozen=True, slots=True)
class Break:
    """Where a chain breaks first.

    Attributes:
        kind: which rule is broken.
        line: number of the line in its file, from 1.
        offset: where that line begins, in bytes from the start of the file.
        seq: the sequence number that the line gives itself, if it can be read.
        expected: what the chain requires there.
        found: what is there.
        reason: what that means.
        damage: what was probably done to the log.
        file: the segment, where the log is a folder.
    """

    kind: BreakKind
    line: int
    offset: int
    seq: int | None
    expected: str
    found: str
    reason: str
    damage: Damage
    file: str | None = None

    def __str__(self) -> str:
        file = "" if self.file is None else f"{self.file}: "
        seq = "" if self.seq is None else f", seq {self.seq}"

        return escape_controls(
            f"{file}line {self.line}, byte {self.offset}{seq}: {self.reason} "
            f"(expected {self.expected}, found {self.found})"
        )
