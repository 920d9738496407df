"""A record as one readable line: what `memhub audit show` prints, and the text of what is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from memhub.core.drivers.served_kernel import KernelRange

#: How a piece of the line is to be shown.
Style = Literal["", "bold", "red"]

#: From here on a number is shown in hexadecimal.
_LARGE: Final = 0x1000
#: Characters of one value of a kernel's call.
_TEXT_MAX: Final = 80

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


def register_text(it: KernelRange) -> str:
    """A range of another kernel than FreeBSD, as `0xd0000000+16M WC, count 1`."""
    uses = "" if it.uses is None else f", count {it.uses}"
    owner = f" of {it.owner}" if it.owner else ""

    return f"{extent(it.base, it.length)} {it.type}{uses}{owner}"


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

    if record["event"] == "kernel.call":
        where += _call_words(record)

    yield " ".join((f"{what:<6}", *where, *record.get("attributes", ()))), ""

    if record.get("errno") is not None:
        yield f"  {record['errno']}: {record.get('reason') or ''}", "red"


def _call_words(record: Mapping[str, Any]) -> Iterator[str]:
    """What another kernel than FreeBSD was asked and has answered, as far as a line has room."""
    import orjson  # commands that show nothing of a log load this module too

    for name, value in orjson.loads(record["args"] or "{}").items():
        yield f"{name}={_value_text(value)}"

    answer = orjson.loads(record["answer"] or "null")
    if answer is not None:
        yield f"-> {_value_text(answer)}"


def _value_text(value: object) -> str:
    import orjson

    large = isinstance(value, int) and value >= _LARGE
    text = f"{value:#x}" if large else orjson.dumps(value).decode()

    return text if len(text) <= _TEXT_MAX else f"{text[:_TEXT_MAX]}…"


def record_sentence(record: Mapping[str, Any]) -> str:
    """A record as one line without padding; the text in it is as foreign as the record.

    Args:
        record: as for `record_words`.
    """
    return " ".join(" ".join(text for text, _ in record_words(record)).split())
