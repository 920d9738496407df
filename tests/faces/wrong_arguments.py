"""Calls with wrong and with unusual arguments, as a table: each method, each kind of value."""

from __future__ import annotations

import array
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from memhub.abi import (
    FLAG_WORDS,
    LP64,
    MDF_FORCE,
    MDF_SETTABLE,
    MDF_UNCACHEABLE,
    RangeDesc,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

BASE, LENGTH, FREE = 0x200000, 0x1000, 0x300000
U64 = 1 << 64
HUGE = 10**5000  # more digits than Python turns into text
OP = LP64.op.pack(1, 0, 0)
DESC = LP64.pack(RangeDesc(BASE, LENGTH, MDF_UNCACHEABLE))
GET, SET = LP64.get, LP64.set[0]
NO_RANGE = "is not a range of 64-bit addresses"
NO_FENCE = "is not a fencing number, which is 1 to 0xffffffffffffffff"
NO_TIME = "seconds is not a time to come"
TOO_LONG = "seconds is longer than 4294967.295 seconds (49 days)"


class Call(NamedTuple):
    """One call.

    Attributes:
        method: of the handle; `open` is of the hub or the client.
        given: its arguments.
        named: its keyword arguments.
        error: the class that it raises.
        words: what its message ends with, after the name of the errno.
    """

    method: str
    given: tuple[Any, ...]
    named: dict[str, Any]
    error: str
    words: str


def wrong_calls() -> Iterator[Call]:
    """Every call that is refused."""
    value: Any
    for value in (1.5, "1", None, b"1", [1], math.nan, 1j):
        yield from _not_integers(value)

    for value in ("1", b"1", [1], 1j, object):
        yield from _not_seconds(value)

    for value in (5, True, [1, 2], "x", None, 1.5):
        yield from _not_bytes(value)

    for value in (-1, U64, -HUGE, HUGE):
        yield from _outside(value)

    yield from _times()
    yield from _openings()
    yield from _others()


def _refusal(method: str, *given: Any, error: str, words: str, **named: Any) -> Call:
    return Call(method, given, named, error, words)


def _type(words: str, method: str, *given: Any, **named: Any) -> Call:
    return Call(method, given, named, "TypeError", words)


def _value(words: str, method: str, *given: Any, **named: Any) -> Call:
    return Call(method, given, named, "InvalidArgument", words)


def _not_integers(value: Any) -> Iterator[Call]:
    def words(name: str) -> str:
        return f"{name} {value!r} is not an integer"

    for length in (1, 0):
        yield _type(words("offset"), "pread", length, value)

    yield _type(words("length"), "read", value)
    yield _type(words("length"), "pread", value, 0)
    yield _type(words("offset"), "pwrite", b"x", value)
    yield _type(words("offset"), "pwrite", b"", value)
    yield _type(words("offset"), "seek", value)
    yield _type(words("whence"), "seek", 16, value)
    yield _type(words("address"), "explain", value)
    yield _type(words("request"), "ioctl", value, OP, DESC)
    for method, more in (("claim", ()), ("release", ()), ("wait_free", (1.0,))):
        yield _type(words("base"), method, value, LENGTH, *more)
        yield _type(words("length"), method, BASE, value, *more)

    for method, more in (("set_range", (MDF_UNCACHEABLE,)), ("remove_range", ())):
        yield _type(words("mr_base"), method, value, LENGTH, *more)
        yield _type(words("mr_len"), method, BASE, value, *more)

    for force in (False, True):
        yield _type(words("mr_flags"), "set_range", BASE, LENGTH, value, force=force)

    yield _type(words("fence"), "renew", value, 1.0)
    if not isinstance(value, list):
        yield _value(words("address"), "explain_array", [value])

    if value is not None:
        yield _type(words("fence"), "set_range", BASE, LENGTH, MDF_UNCACHEABLE, fence=value)
        yield _type(words("fence"), "remove_range", BASE, LENGTH, fence=value)
        yield _type(words("fence"), "release", BASE, LENGTH, fence=value)
        yield _type(words("fence"), "ioctl", SET, OP, DESC, fence=value)
        yield _type(words("fence"), "ioctl", GET, OP, fence=value)


def _not_seconds(value: Any) -> Iterator[Call]:
    def words(name: str) -> str:
        return f"{name} {value!r} is not a number of seconds"

    for name in ("wait", "lease"):
        yield _type(words(name), "claim", FREE, LENGTH, **{name: value})
        yield _type(words(name), "set_range", BASE, LENGTH, MDF_UNCACHEABLE, **{name: value})

    yield _type(words("wait"), "remove_range", BASE, LENGTH, wait=value)
    yield _type(words("wait"), "ioctl", SET, OP, DESC, wait=value)
    yield _type(words("wait"), "ioctl", GET, OP, wait=value)
    yield _type(words("wait"), "wait_free", FREE, LENGTH, value)
    yield _type("wait None is not a number of seconds", "wait_free", FREE, LENGTH, None)
    yield _type(words("lease"), "renew", 1, value)


def _not_bytes(value: Any) -> Iterator[Call]:
    def words(name: str) -> str:
        kind = type(value).__name__
        return f"{name} {value!r} is not a buffer of bytes: it is of type {kind}"

    yield _type(words("data"), "write", value)
    yield _type(words("data"), "pwrite", value, 0)
    yield _type(words("op"), "ioctl", GET, value)
    yield _type(words("op"), "ioctl", SET, value, DESC)
    if value is not None:
        yield _type(words("descs"), "ioctl", SET, OP, value)
        yield _type(words("descs"), "ioctl", GET, OP, value)

    if not isinstance(value, str):
        refused = f"owner {value!r} is not text or bytes"
        yield _type(refused, "set_range", BASE, LENGTH, MDF_UNCACHEABLE, owner=value)


def _outside(value: int) -> Iterator[Call]:
    shown = hex(value)
    decimal = shown if abs(value) > U64 - 1 else str(value)
    no_length = f"length {shown} is not between 0 and 0x7fffffff"
    no_offset = f"offset {shown} is not an unsigned 64-bit number"
    no_address = f"address {shown} is not an unsigned 64-bit number"
    yield _value(no_length, "read", value)
    yield _value(no_length, "pread", value, 0)
    for length in (1, 0):
        yield _value(no_offset, "pread", length, value)
        yield _value(no_offset, "pwrite", bytes(length), value)

    yield _value(f"whence {decimal} is not between 0 and 4", "seek", 0, value)
    for whence in (0, 1, 2, 3) if value != -1 else ():
        yield _value(f"offset {shown} does not fit 64 bits", "seek", value, whence)

    yield _value(no_address, "explain", value)
    yield _value(no_address, "explain_array", [[0, value]])
    for method, more in (("claim", ()), ("release", ()), ("wait_free", (1.0,))):
        yield _value(f"{shown}/0x1000 {NO_RANGE}", method, value, LENGTH, *more)
        yield _value(f"0x200000/{shown} {NO_RANGE}", method, BASE, value, *more)

    for method, more in (("set_range", (MDF_UNCACHEABLE,)), ("remove_range", ())):
        misfit = f"{shown} does not fit an unsigned 64-bit field"
        yield _value(f"mr_base {misfit}", method, value, LENGTH, *more)
        yield _value(f"mr_len {misfit}", method, BASE, value, *more)

    yield _value(f"mr_flags {shown} does not fit 32 bits", "set_range", BASE, LENGTH, value)
    no_fence = f"fence {decimal} {NO_FENCE}"
    yield _value(no_fence, "set_range", BASE, LENGTH, MDF_UNCACHEABLE, fence=value)
    yield _value(no_fence, "release", BASE, LENGTH, fence=value)
    yield _value(no_fence, "ioctl", SET, OP, DESC, fence=value)
    yield _value(no_fence, "renew", value, 1.0)


def _times() -> Iterator[Call]:
    for value, shown in ((-1, "-1"), (-0.5, "-0.5"), (math.nan, "nan"), (-HUGE, "-inf")):
        for name in ("wait", "lease"):
            words = f"a {name} of {shown} {NO_TIME}"
            yield _value(words, "claim", FREE, LENGTH, **{name: value})
            yield _value(words, "set_range", BASE, LENGTH, MDF_UNCACHEABLE, **{name: value})

        words = f"a wait of {shown} {NO_TIME}"
        yield _value(words, "wait_free", FREE, LENGTH, value)
        yield _value(words, "ioctl", SET, OP, DESC, wait=value)
        yield _value(f"a lease of {shown} {NO_TIME}", "renew", 1, value)

    for value, words in (
        (0, f"a lease of 0 {NO_TIME}"),
        (math.inf, f"a lease of inf {NO_TIME}"),
        (HUGE, f"a lease of inf {NO_TIME}"),
        (1e300, f"a lease of 1e+300 {TOO_LONG}"),
        (4294968, f"a lease of 4294968 {TOO_LONG}"),
    ):
        yield _value(words, "claim", FREE, LENGTH, lease=value)
        yield _value(words, "set_range", BASE, LENGTH, MDF_UNCACHEABLE, lease=value)
        yield _value(words, "renew", 1, value)


def _openings() -> Iterator[Call]:
    value: Any
    for value in (5, None, b"/dev/mem", ["/dev/mem"]):
        yield _type(f"path {value!r} is not text", "open", value)
        yield _type(f"mode {value!r} is not text", "open", "/dev/mem", value)

    for value in (5, "LP64", LP64.layout.op):
        words = f"model {value!r:.80} is not a data model: abi.LP64 or abi.ILP32"
        yield _type(words, "open", "/dev/mem", model=value)

    half = "'\\ud800:/dev/mem' holds half of a surrogate pair"
    yield _refusal("open", "\ud800:/dev/mem", error="ValueError", words=f"path {half}")
    yield _value("mode 'a' is not r, w or r+", "open", "/dev/mem", "a")


def _others() -> Iterator[Call]:
    label = "owner '\u20ac' has a character that one byte cannot hold"
    yield _value(label, "set_range", BASE, LENGTH, MDF_UNCACHEABLE, owner="\u20ac")
    cut = "has 8 characters; a descriptor holds 7 (bytes are cut, as mem(4) cuts them)"
    yield _value(f"owner 'XFree86X' {cut}", "set_range", BASE, LENGTH, 1, owner="XFree86X")
    hint = "; did you mean 'write-back'?"
    known = ", ".join(word for bit, word in FLAG_WORDS if bit & (MDF_SETTABLE | MDF_FORCE))
    for words, wrong, near in (("writeback", "writeback", hint), ("write-back fast", "fast", "")):
        refused = f"attribute {wrong!r} is none of {known}{near}"
        yield _value(refused, "set_range", BASE, LENGTH, words)

    yield _value("address 0.5 is not an integer", "explain_array", np.array([0.5]))
    yield _value(f"fence 0 {NO_FENCE}", "release", BASE, LENGTH, fence=0)


#: Calls whose arguments look unusual and are right, each with what it answers everywhere.
RIGHT: tuple[tuple[str, tuple[Any, ...], dict[str, Any], Any], ...] = (
    ("pwrite", (b"abcdef", False), {}, 6),
    ("pread", (True, True), {}, b"b"),
    ("pread", (np.uint8(2), np.uint64(1)), {}, b"bc"),
    ("seek", (True,), {}, 1),
    ("read", (True,), {}, b"b"),
    ("seek", (np.int64(-1), np.int8(1)), {}, 1),
    ("write", (bytearray(b"XY"),), {}, 2),
    ("pwrite", (memoryview(b"p.q.r.")[::2], 0), {}, 3),
    ("pread", (4, 0), {}, b"pqrd"),
    ("pwrite", (np.array([0x64636261], dtype="<u4"), 0), {}, 4),
    ("pread", (4, 0), {}, b"abcd"),
    ("pwrite", (np.array([0x64636261], dtype=">u4"), np.int32(0)), {}, 4),
    ("pread", (4, 0), {}, b"dcba"),
    ("pwrite", (np.zeros((2, 2), dtype="u1")[:, 0], 0), {}, 2),
    ("pwrite", (np.zeros((0, 3)), 0), {}, 0),
    ("pwrite", (array.array("H", [1, 2]), 0), {}, 4),
    ("explain_array", ([True, np.uint64(2)],), {}, [6, 6]),
    ("claim", (np.uint64(FREE), np.int32(LENGTH)), {"lease": True}, (FREE, FREE + LENGTH)),
    ("release", (FREE, LENGTH), {}, None),
    ("claim", (FREE, LENGTH), {"wait": 1e300, "lease": np.float32(5)}, (FREE, FREE + LENGTH)),
    ("claim", (FREE, 1), {"wait": HUGE}, (FREE, FREE + 1)),
    ("release", (FREE, LENGTH), {}, None),
    ("wait_free", (FREE, LENGTH, math.inf), {}, None),
    ("wait_free", (FREE, True, True), {}, None),
    ("ioctl", (GET, np.frombuffer(OP, dtype="u1")), {"fence": True}, None),
    ("ioctl", (np.uint64(SET), memoryview(OP), bytearray(DESC)), {"wait": True}, None),
    ("set_range", (BASE, LENGTH, np.int32(1)), {"force": True, "wait": 1e300}, None),
    ("set_range", (np.uint64(BASE), LENGTH, True), {"owner": bytearray(b"me")}, None),
    ("remove_range", (np.uint64(BASE), np.uint16(LENGTH)), {"wait": math.inf}, None),
    ("set_range", (BASE, LENGTH, "write-combine"), {"owner": "XFree86"}, None),
    ("set_range", (BASE, LENGTH, "write-back force"), {"owner": b"bytes are cut"}, None),
    ("remove_range", (BASE, LENGTH), {}, None),
)
