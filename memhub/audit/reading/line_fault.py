"""What is wrong with one line of a log, the most obvious cause first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeGuard

from memhub.audit.chain import HASH_ALGORITHM, SEAL_SIZE, digest_of, seal_of
from memhub.audit.line import MAX_LINE, MAX_VALUES, parse_object, show_value
from memhub.audit.reading.damage import Fault
from memhub.audit.reading.segments import number_of
from memhub.audit.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from memhub.audit.reading.damage import Damage

#: How the first record of a file that goes on with a log may be called.
_HEADERS: Final = ("log.open", "log.segment")

#: A line of which more than a line may have was read; it need not be known where it ends.
ENDLESS: Final = Fault("json", f"at most {MAX_LINE} bytes", "more", "a line has no end", "altered")


def parse_line(line: bytes) -> tuple[dict[str, Any] | None, Fault | None]:
    """A line as an object, or why it is none."""
    if len(line) >= MAX_LINE:
        return None, ENDLESS

    try:
        return parse_object(line), None
    except ValueError as error:
        found = f"{len(line)} bytes" if len(line) > MAX_VALUES else repr(line[:40])

        return None, Fault("json", "a JSON object", found, str(error), "altered")


def find_header_fault(
    line: bytes, record: dict[str, Any], *, first: bool, whole: bool
) -> Fault | None:
    """What is wrong with the first record of a file as such.

    Args:
        line: its bytes.
        record: what they hold.
        first: whether the pass begins with this file.
        whole: whether the log itself has to begin there.
    """
    event = record.get("event")
    if event == "log.open" or (event == "log.segment" and not (first and whole)):
        return None

    damage: Damage = "missing" if _is_intact(line) else "altered"
    due, what = ("log.open", "log's") if first else ("log.segment", "segment's")

    return Fault("header", due, show_value(event), f"the {what} beginning is missing", damage)


def find_name_fault(path: str, record: dict[str, Any]) -> Fault | None:
    """What is wrong with the name of a segment's file.

    Args:
        path: the file.
        record: its first record.
    """
    due, found = number_of(path), record.get("segment", 1)
    if due is None or is_integer(found, due):
        return None

    why = "the file of the segment was renamed"

    return Fault("header", f"segment {due}", f"segment {show_value(found)}", why, "reordered")


def find_torn_fault(rest: bytes, why: str) -> Fault:
    """The fault of a last line that has no newline; a newline may have become another byte."""
    damage: Damage = "altered" if _is_intact(rest[:-1]) else "torn"

    return Fault("torn", "a newline", f"{len(rest)} bytes", why, damage)


def find_fault(line: bytes, record: dict[str, Any], seq: int, head: str) -> Fault | None:
    """What is wrong with a record at its place.

    Args:
        line: its bytes.
        record: what they hold.
        seq: the number of the record before.
        head: that record's hash.
    """
    if not is_integer(record.get("v"), SCHEMA_VERSION):
        found, why = show_value(record.get("v")), "another schema version"
        damage: Damage = "foreign" if _is_intact(line) else "altered"
        return Fault("schema", f"v {SCHEMA_VERSION}", found, why, damage)

    if not _is_intact(line):
        expected, found = digest_of(line), show_value(record.get("hash"))
        return Fault("hash", expected, found, "the record's bytes were altered", "altered")

    if not is_integer(record.get("seq"), seq + 1):
        return _find_sequence_fault(record.get("seq"), seq + 1)

    if record.get("prev") != head:
        found, why = show_value(record.get("prev")), "not the successor of the record before"
        return Fault("prev", head, found, why, "rewritten")

    if not isinstance(record.get("event"), str):
        found = show_value(record.get("event"))
        return Fault("schema", "an event", found, "no event name", "foreign")

    if record["event"] in _HEADERS and record.get("hash_algorithm") != HASH_ALGORITHM:
        named, why = show_value(record.get("hash_algorithm")), "the header names another chain"
        return Fault("header", HASH_ALGORITHM, named, why, "foreign")

    return None


def _find_sequence_fault(seq: object, due: int) -> Fault:
    if is_integer(seq) and seq > due:
        reason = f"records {due} to {seq - 1} are missing or moved"
        return Fault("seq", str(due), show_value(seq), reason, "missing")

    return Fault("seq", str(due), show_value(seq), "a record is repeated or moved", "doubled")


def _is_intact(line: bytes) -> bool:
    return line[-SEAL_SIZE:] == seal_of(digest_of(line))


def is_integer(value: object, due: int | None = None) -> TypeGuard[int]:
    """Whether a value is an integer, and the one that is due; true and 1.0 are equal to 1."""
    return type(value) is int and (due is None or value == due)
