"""The requests that a call to another kernel makes, of its record in an audit log.

A call that cannot be said as requests for ranges is left out, with the reason.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

import orjson

from memhub.abi import (
    LP64,
    MDF_UNCACHEABLE,
    MDF_WRITEBACK,
    MDF_WRITECOMBINE,
    MDF_WRITEPROTECT,
    MDF_WRITETHROUGH,
    U64_MAX,
)
from memhub.arches import load_arches
from memhub.compare.script import Request, clear_text, set_text
from memhub.x86.mtrr_line import LINE_MAX, BadLine, DisableLine, read_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Row = Mapping[str, Any]
    LineOf = Callable[[bytes], bytes]

#: The attributes of the types that registers hold, which Linux and NetBSD call by these numbers.
_TYPES: Final[Mapping[int, int]] = {
    0: MDF_UNCACHEABLE,
    1: MDF_WRITECOMBINE,
    4: MDF_WRITETHROUGH,
    5: MDF_WRITEPROTECT,
    6: MDF_WRITEBACK,
}
_PAGE_BITS: Final = 12
#: Bits of a range of NetBSD's.
_PRIVATE, _FIXED, _VALID = 1, 2, 4
_LOOKS: Final = "a call that only looks"
#: Calls that follow from what else is recorded.
_SILENT: Final = frozenset({"boot", "open", "suspend", "resume", "reinit", "firmware"})
#: Calls that are told only where they have changed ranges or counts.
_ENDS: Final = frozenset({"close", "exit"})


class LeftOut(Exception):
    """Raised for a call that is no request for a range; its text is the reason."""


def plain_line(data: bytes) -> bytes:
    """What a kernel reads of a write to `/proc/mtrr`, where its own rule is not known."""
    return data[:LINE_MAX].partition(b"\0")[0].removesuffix(b"\n")


def requests_of_call(row: Row, line_of: LineOf = plain_line) -> tuple[Request | LeftOut, ...]:
    """The requests of a record `kernel.call`, and which of its ranges are none.

    Args:
        row: the record.
        line_of: what the kernel reads of a write to `/proc/mtrr`.

    Raises:
        LeftOut: it makes none.
    """
    op, altered = row["op"], _alters(row)
    if op in _SILENT or (op in _ENDS and not altered):
        return ()

    read = partial(_read_write, line_of) if op == "write" else _CALLS.get(op)
    if read is None:
        raise LeftOut(_CHANGES.get(op, f"a call of {op}") if altered else _LOOKS)

    try:
        return tuple(read(row, orjson.loads(row["args"])))
    except (KeyError, TypeError, ValueError):
        raise LeftOut(f"a call of {op} without the arguments of one") from None


def _alters(row: Row) -> bool:
    """Whether a call has changed more than what the kernel keeps of its open files."""
    change = orjson.loads(row["changed"]) if row.get("changed") else {}

    return bool(change.get("cpus") or change.get("own") or change.get("gone"))


#: What is left out of calls that change something, by the call.
_CHANGES: Final[Mapping[str, str]] = {
    "close": "a close that gave ranges back",
    "exit": "the end of a process, with its private ranges",
    "read": "a read that only resets use counts",
    "seek": "a read that only resets use counts",
    "table": _LOOKS,
    "save_fixed": "fixed ranges that were saved",
}


def _read_write(line_of: LineOf, row: Row, args: Row) -> Iterator[Request]:
    """A line as the kernel has read it; what it did not understand, as others would."""
    if "offset" in args:
        raise LeftOut("a pwrite, which the file does not have")

    data = str.encode(args["data"], "latin-1")
    for line in (line_of(data), plain_line(data)):
        with suppress(BadLine):
            said, text = read_line(line), line.decode("latin-1")
            break
    else:
        raise LeftOut("a write that is no line for /proc/mtrr")

    if isinstance(said, DisableLine):
        yield _disable(row, said.register, text)
    else:
        yield replace(_set(row, (said.base, said.size), said.type), line=text)


def _read_ioctl(row: Row, args: Row) -> Iterator[Request | LeftOut]:
    command = args["cmd"]
    if not isinstance(command, str) or args.get("bad_pointer"):
        raise LeftOut("an ioctl that is none")

    shift = _PAGE_BITS if command.endswith("_PAGE") else 0
    word = command.removesuffix("_PAGE")
    if word == "GET":
        raise LeftOut(_LOOKS)

    span = args["base"] << shift, args["size"] << shift
    if word in ("ADD", "SET"):
        yield _set(row, span, args["type"])
        if word == "SET":
            yield LeftOut("that a SET, unlike the line asked, counts no use")
    else:
        yield _clear(row, span)


def _read_add(row: Row, args: Row) -> Iterator[Request]:
    shift = _PAGE_BITS if row["op"].endswith("_page") else 0
    yield _set(row, (args["base"] << shift, args["size"] << shift), args["type"])


def _read_delete(row: Row, args: Row) -> Iterator[Request]:
    shift = _PAGE_BITS if row["op"].endswith("_page") else 0
    register = args.get("reg", -1)
    if register >= 0:
        yield _disable(row, register, f"disable={register}")
    else:
        yield _clear(row, (args["base"] << shift, args["size"] << shift))


def _read_entries(row: Row, args: Row) -> Iterator[Request | LeftOut]:
    if args.get("abi", 64) == 32 and row["arch"] in _long_arches():
        raise LeftOut("a 32-bit set, which changes NetBSD's table and no register")

    entries = args["entries"]
    entries = entries[: max(0, args.get("n", len(entries)))]
    for entry in entries:
        try:
            yield _read_entry(row, entry)
        except LeftOut as left:
            yield left

    if row.get("errno") is not None and len(entries) > 1:
        yield LeftOut("that a refused set ends at the range refused")


@lru_cache(maxsize=1)  # each 32-bit set of a log asks
def _long_arches() -> frozenset[str]:
    """The installed architectures with a 64-bit kernel, which alone tells 32-bit calls apart."""
    return frozenset(name for name, it in load_arches().items() if it.model is LP64)


def _read_entry(row: Row, entry: Sequence[int]) -> Request:
    base, length, type_, flags, *_ = entry
    if flags & _PRIVATE:
        what = f"{base:#x}/{length:#x} of process {row['process_id']}"
        raise LeftOut(f"the private range {what}, which no other kernel has")

    if flags & _VALID:
        return _set(row, (base, length), type_)

    if type_ and row.get("errno") is not None:
        raise LeftOut("a refused removal with a type")

    return _clear(row, (base, length))


def _disable(row: Row, register: int, line: str) -> Request:
    if register < 0:
        raise LeftOut("a register of no number that is to go")

    return Request(f"disable={register}", True, register=register, line=line, source=row["seq"])


def _set(row: Row, span: tuple[int, int], type_: int) -> Request:
    if type_ not in _TYPES:
        raise LeftOut("a type that is none of a range")

    base, length = _check(span)
    flags = _TYPES[type_]

    return Request(set_text(base, length, flags), False, base, length, flags, source=row["seq"])


def _clear(row: Row, span: tuple[int, int]) -> Request:
    base, length = _check(span)
    if not length:
        raise LeftOut("a range of no length that is to go")

    return Request(clear_text(base, length), True, base, length, source=row["seq"])


def _check(span: tuple[int, int]) -> tuple[int, int]:
    if max(span) > U64_MAX:
        raise LeftOut("a range of pages with an address of more than 64 bits")

    return span


_CALLS: Final[Mapping[str, Callable[[Row, Row], Iterator[Request | LeftOut]]]] = {
    "ioctl": _read_ioctl,
    "add": _read_add,
    "add_page": _read_add,
    "del": _read_delete,
    "del_page": _read_delete,
    "set": _read_entries,
    "kernel_set": _read_entries,
}
