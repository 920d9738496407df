"""The stretches of addresses that a record asks for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeGuard

import orjson

from memhub.abi import U64_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Args = Mapping[str, Any]

_PAGE_BITS: Final = 12
_NUMBER: Final = r"\s*(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)\s*"
#: What a line for `/proc/mtrr` says of a range, as the kernel reads it.
_LINE: Final = re.compile(rf"base={_NUMBER}size={_NUMBER}", re.ASCII)


def asked_spans(record: Mapping[str, Any]) -> list[tuple[int, int]]:
    """The first byte and the length of each stretch that a record asks for.

    Args:
        record: of any event. Of a call to another kernel than FreeBSD they are those that its
            arguments name; `disable=N` of `/proc/mtrr` names none.
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
    if isinstance(data, str) and (found := _LINE.match(data)) is not None:
        yield _read_number(found[1]), _read_number(found[2])

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


def _read_number(text: str) -> int:
    is_octal = text[0] == "0" and text[1:2] not in ("x", "X")

    return int(text, 8 if is_octal else 0) & U64_MAX
