"""Lines that no writer wrote: each with what a reader must say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from memhub.audit.chain import digest_of, seal_of

if TYPE_CHECKING:
    from collections.abc import Callable


class Hostile(NamedTuple):
    """A line made of a sound one, and words of the rule that it breaks.

    `chain` is whether it breaks a rule of the chain too; a value of a wrong type does not.
    """

    name: str
    make: Callable[[bytes], bytes]
    rule: str
    chain: bool = True


def sealed(line: bytes, old: bytes, new: bytes) -> bytes:
    """A record with a part replaced, and a hash that fits, as a forger makes it."""
    assert old in line
    body = line.rstrip(b"\n").replace(old, new, 1)

    return body[:-75] + seal_of(digest_of(body)) + b"\n"


def _raw(line: bytes, times: int = 1) -> Callable[[bytes], bytes]:
    return lambda _: line * times + b"\n"


def _swap(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda line: sealed(line, old, new)


def _add(*parts: tuple[bytes, int] | bytes) -> Callable[[bytes], bytes]:
    """More members, in parts that may be repeated."""

    def make(line: bytes) -> bytes:
        more = b"".join(it if isinstance(it, bytes) else it[0] * it[1] for it in parts)

        return sealed(line, b'"mono_ns":', more + b',"mono_ns":')

    return make


MILLION = 1 << 20

HOSTILE = {
    case.name: case
    for case in (
        Hostile("binary", _raw(bytes(range(11, 256))), "not JSON"),
        Hostile("nul", _raw(b"\0", 5000), "not JSON"),
        Hostile("deep", _add(b'"owner":', (b"[", 5000), (b"]", 5000)), "not JSON"),
        Hostile("deep, 990", _add(b'"x":', (b"[", 990), (b"]", 990)), "nested too deeply"),
        Hostile(
            "long", _raw(b'{"v":1,"x":"' + b"x" * (16 << 20) + b'"}'), "at most 16777216 bytes"
        ),
        Hostile("many", _add(b'"x":[', (b"[],", MILLION), b"0]"), "at most 1048576 values"),
        Hostile("members", _add((b'"x":0,', MILLION), b'"y":0'), "at most 1048576 values"),
        Hostile("twice", _add(b'"owner":"a","owner":"b"'), "the member owner is there twice"),
        Hostile("twice, spaced", _add(b'"owner" : "a","owner" : "b"'), "owner is there twice"),
        Hostile("twice, escaped", _add(b'"owner":"a","\\u006fwner":"b"'), "owner is there twice"),
        Hostile("twice, inside", _add(b'"x":{"a":1,"a":2}'), "the member a is there twice"),
        Hostile("wide", _add(b'"length":18446744073709551616'), "does not fit 64 bits"),
        Hostile("wide, below", _add(b'"flags":-9223372036854775809'), "does not fit 64 bits"),
        Hostile("wide, unknown", _add(b'"x":[1,99999999999999999999999]'), "does not fit 64 bits"),
        Hostile("wide, very", _add(b'"x":', (b"9", 100_000)), "number is infinity"),
        Hostile("event", _swap(b'"request.get"', b'["log.close"]'), "event"),
        Hostile("version", _swap(b'"v":1', b'"v":[1]'), "version"),
        Hostile("owner", _add(b'"owner":["a"]'), "owner is a list, which is not str", False),
        Hostile("machine", _add(b'"machine":{"a":1}'), "machine is an object", False),
        Hostile("errno", _add(b'"errno":[]'), "errno is a list", False),
        Hostile("clock", _swap(b'"wall_ns":', b'"wall_ns":[],"x":'), "wall_ns is a list", False),
    )
}
