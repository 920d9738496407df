"""A record as one readable line: what `memhub audit show` prints, and the text of what is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: How a piece of the line is to be shown.
Style = Literal["", "bold", "red"]

_UNITS: Final = (("T", 40), ("G", 30), ("M", 20), ("K", 10))


def size(count: int) -> str:
    """A number of bytes, as `256M`."""
    for letter, shift in _UNITS:
        if count and not count % (1 << shift):
            return f"{count >> shift}{letter}"

    return str(count)


def extent(base: int, length: int) -> str:
    """A range, as `0xe0000000+256M`."""
    return f"{base:#x}+{size(length)}"


def record_words(record: Mapping[str, Any]) -> Iterator[tuple[str, Style]]:
    """The pieces of a record's line, each with its style.

    Args:
        record: as `read_records` gives it, with the members of their types.
    """
    what = record.get("op") or record.get("cause") or ""
    yield f"{record['event']:<13} ", "bold"

    where = [record[key] for key in ("machine", "process") if record.get(key)]
    if record.get("base") is not None and record.get("length") is not None:
        where.append(extent(record["base"], record["length"]))

    if record.get("rule") is not None:
        where.append(f"{record.get('action')} by rule {record['rule']}")

    yield " ".join((f"{what:<6}", *where, *record.get("attributes", ()))), ""

    if record.get("errno") is not None:
        yield f"  {record['errno']}: {record.get('reason') or ''}", "red"


def record_sentence(record: Mapping[str, Any]) -> str:
    """A record as one line without padding; the text in it is as foreign as the record.

    Args:
        record: as for `record_words`.
    """
    return " ".join(" ".join(text for text, _ in record_words(record)).split())
