"""The stretches of addresses that a record asks for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeGuard

import orjson

from memhub.x86.mtrr_line import BadLine, read_span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Args = Mapping[str, Any]

_PAGE_BITS: Final = 12
_SPACED: Final = re.compile(rb"=\s+")


def asked_spans(record: Mapping[str, Any]) -> list[tuple[int, int]]:
    """The first byte and the length of each stretch that a record asks for.

    Args:
        record: of any event. Of a call to another kernel than FreeBSD they are those that its
            arguments name, or else the range of the register that it names.
    """
    base = record.get("base")
    if base is not None:
        return [(base, record.get("length") or 0)]

    if record["event"] != "kernel.call":
        return []

    try:
        args = orjson.loads(record.get("args", "{}"))
    except orjson.JSONDecodeError:
        return []  # a foreign log may have any text there

    pairs = _spans_in(record.get("op"), args) if isinstance(args, dict) else ()

    return [(base, length) for base, length in pairs if _is_number(base) and _is_number(length)]


def _spans_in(op: object, args: Args) -> Iterator[tuple[Any, Any]]:
    """What the arguments of a call name; a refused one may have values of any kind."""
    data, entries, command = args.get("data"), args.get("entries"), args.get("cmd", op)
    if isinstance(data, str):
        yield from _spans_of_line(data)

    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, list) and len(entry) > 1:
            yield entry[0], entry[1]

    first, size = args.get("base", args.get("start")), args.get("size")
    if "pfn" in args and _is_number(args["pfn"]):
        first = args["pfn"] << _PAGE_BITS

    if _is_number(first) and _is_number(args.get("end")):
        size = args["end"] - first

    if isinstance(command, str) and command.lower().endswith("_page"):
        first, size = (it << _PAGE_BITS if _is_number(it) else it for it in (first, size))

    yield first, size


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and value >= 0


def _spans_of_line(data: str) -> Iterator[tuple[int, int]]:
    """What a line for `/proc/mtrr` says of a range, as the kernel reads it.

    A space before a number, which the kernel refuses, hides no address.
    """
    try:
        line = data.encode("latin-1").partition(b"\0")[0]
        base, size, _ = read_span(_SPACED.sub(b"=", line))
    except (BadLine, UnicodeEncodeError):
        return

    yield base, size
