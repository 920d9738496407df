"""A record as one readable line: what `memhub audit show` prints, and the text of what is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: How a piece of the line is to be shown.
Style = Literal["", "bold", "red"]

#: The answers of a call that say nothing.
_NONE: Final = (None, "null")
#: Characters of a call's arguments, and of its answer.
_TEXT_MAX: Final = 100
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


def _shorten(text: str) -> str:
    return text if len(text) <= _TEXT_MAX else f"{text[: _TEXT_MAX - 1]}…"


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

    if record["event"] == "kernel.call":
        where += [_shorten(record["args"])] if record["args"] not in (None, "{}") else []
        where += [f"-> {_shorten(record['answer'])}"] if record["answer"] not in _NONE else []

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
