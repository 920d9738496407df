"""Some lines of a log at once: whether each is sound and follows the one before.

One call for many lines takes less time than one call for each, and most lines are of a shape that
is known, and need not be parsed. It says yes or no; what is wrong with which line is found one by
one.
"""

from __future__ import annotations

from hashlib import sha256
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from memhub.audit.chain import SEAL_SIZE
from memhub.audit.line import MAX_VALUES
from memhub.audit.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memhub.audit.verifying.line_shapes import LineShapes

#: Lines that are checked at once; more of them leave the processor's caches.
BATCH: Final = 64

#: Where the hashed bytes of a line end that has its newline.
_BODY: Final = -SEAL_SIZE - 1

_HEX: Final = b"0123456789abcdef"

_EVENT_OF: Final = itemgetter("event")


class SoundLines(NamedTuple):
    """Lines that are sound and follow each other, none of which is about the log itself.

    Attributes:
        seq: number of the record before them.
        prev: the hash that the first of them gives that record.
        lines: how many they are.
        size: their bytes, with newlines.
        head: hash of the last.
        leaves: their leaf hashes in the Merkle tree, one after another; empty if not asked for.
        found: which of them has the hash that is looked for, from 0; None if none has.
    """

    seq: int
    prev: str
    lines: int
    size: int
    head: str
    leaves: bytes
    found: int | None


class KnownLines(NamedTuple):
    """Lines that have known shapes.

    Attributes:
        seqs: `seq` of each.
        hashes: the hash of each.
        walls: `wall_ns` of each, in digits.
        machines: the machine of each as JSON; None for none.
    """

    seqs: Sequence[int]
    hashes: list[str]
    walls: Sequence[bytes]
    machines: Sequence[bytes | None]


def check_some(shapes: LineShapes, lines: list[bytes], seq: int, head: str) -> list[str] | None:
    """Check lines that follow a record, none of which is about the log itself.

    Args:
        shapes: those that were learned; further ones are.
        lines: the lines, with their newlines; at least one.
        seq: number of the record before.
        head: its hash.

    Returns:
        the hashes of as many of them as were checked, and are sound; None if one of those is not.
    """
    known = check_known(shapes, lines, seq, head)

    return check_batch(lines, seq, head) if known is None else known.hashes


def check_known(shapes: LineShapes, lines: list[bytes], seq: int, head: str) -> KnownLines | None:
    """Check lines that follow a record, up to the first whose shape is not known.

    Args:
        shapes: those that were learned; further ones are.
        lines: the lines, with their newlines; at least one.
        seq: number of the record before.
        head: its hash.

    Returns:
        the lines; None if one is not sound, or the first has no shape.
    """
    rows = shapes.match_lines(lines)
    if not rows:
        return None

    if len(rows) < len(lines):
        lines = lines[: len(rows)]

    seqs, prevs, walls, machines, marks = zip(*rows, strict=True)
    hashes = [sha256(line[:_BODY]).hexdigest() for line in lines]
    follow = range(seq + 1, seq + 1 + len(lines))
    if (
        [*map(int, seqs)] != [*follow]
        or b"\n".join(marks) != "\n".join(hashes).encode()
        or prevs != (head.encode(errors="replace"), *marks[:-1])
        or not _are_text(lines)
    ):
        return None

    return KnownLines(follow, hashes, walls, machines)


def read_known(shapes: LineShapes, lines: list[bytes]) -> KnownLines | None:
    """Read lines, up to the first whose shape is not known; whether they are sound is not checked.

    Args:
        shapes: those that were learned; further ones are.
        lines: the lines, with their newlines; at least one.

    Returns:
        the lines; None if the first has no shape, or one is no record that can be read so.
    """
    rows = shapes.match_lines(lines)
    if not rows:
        return None

    seqs, prevs, walls, machines, marks = zip(*rows, strict=True)
    # a shape lets anything stand for a hash
    if b"".join((*prevs, *marks)).translate(None, _HEX) or not _are_text(lines[: len(rows)]):
        return None

    return KnownLines([*map(int, seqs)], [it.decode() for it in marks], walls, machines)


def _are_text(lines: list[bytes]) -> bool:
    """Whether lines are UTF-8."""
    data = b"".join(lines)
    if data.isascii():
        return True

    try:
        data.decode()
    except UnicodeDecodeError:
        return False

    return True


def check_batch(lines: list[bytes], seq: int, head: str) -> list[str] | None:
    """Check lines that follow a record, none of which is about the log itself.

    Args:
        lines: the lines, with their newlines; at least one.
        seq: number of the record before.
        head: its hash.

    Returns:
        the hashes of the lines; None if one is not sound or is about the log, or the lines are
        too long to be parsed without being measured.
    """
    data = b"".join(lines)
    if len(data) > MAX_VALUES:
        return None

    hashes = [sha256(line[:_BODY]).hexdigest() for line in lines]
    try:
        # each by itself: a line that is no object could be completed by the next one
        records = list(map(orjson.loads, lines))
        if any(event.startswith("log.") for event in set(map(_EVENT_OF, records))):
            return None

        _set_places(records, hashes, seq, head)

        # what has every place as it must be, and comes out the same again, is as it must be; it
        # has no member twice, and no number beyond 64 bits
        sound = orjson.dumps(records) == b"[%b]" % data[:-1].replace(b"\n", b",")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None

    return hashes if sound else None


def _set_places(records: list[dict[str, Any]], hashes: list[str], seq: int, head: str) -> None:
    """Give records the places in the chain that they must have; the hash becomes the last."""
    for record, digest in zip(records, hashes, strict=True):
        seq += 1
        record["v"] = SCHEMA_VERSION
        record["seq"] = seq
        record["prev"] = head
        del record["hash"]
        record["hash"] = head = digest
