"""Converters from TOML values to checked values; a ValueError says which rule is broken."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final, TypeVar

from memhub.abi import PAGE_SIZE, U64_MAX
from memhub.x86.registers import UC, WB, WC, WP, WT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Converter = Callable[[object], "T"]

T = TypeVar("T")

_NUMBER: Final = re.compile(
    r"(0x[0-9a-f_]+|0o[0-7_]+|0b[01_]+|[0-9][0-9_]*)\s*([kmgt]?)(i?b)?", re.I
)
#: Most characters of a number that is read: as many as a binary number of 64 bits with separators.
_LONGEST: Final = 200
_SHIFTS: Final[Mapping[str, int]] = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}

#: The names of memory types: memcontrol(8)'s, Linux's, and the short names of the manuals.
TYPE_WORDS: Final[Mapping[str, int]] = {
    "uncacheable": UC,
    "uncachable": UC,
    "uc": UC,
    "write-combine": WC,
    "write-combining": WC,
    "wc": WC,
    "write-through": WT,
    "wt": WT,
    "write-protect": WP,
    "write-protected": WP,
    "wp": WP,
    "write-back": WB,
    "wb": WB,
}


def type_name(value: object) -> str:
    """TOML's name for the type of `value`."""
    names = {bool: "a boolean", int: "an integer", float: "a float", str: "a string"}
    names |= {list: "an array", dict: "a table"}

    return names.get(type(value), f"a {type(value).__name__}")


def suggest(word: str, known: Iterable[str]) -> str:
    """`; did you mean …?` where a known word is near, else an empty string."""
    near = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)

    return f"; did you mean {near[0]!r}?" if near else ""


def parse_integer(value: object) -> int:
    """A TOML integer, or a string such as `0xfeb00000`, `4K` or `1GiB` (powers of 1024)."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value

    if not isinstance(value, str):
        raise ValueError(f"is {type_name(value)}, not an integer or a string that holds one")

    match = _NUMBER.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"{value!r} is not a number (such as 4096, '0x1000', '4K' or '1GiB')")

    digits, unit, _ = match.groups()
    if len(digits) > _LONGEST:
        raise ValueError(f"{digits[:_LONGEST]!r}… is a number of {len(digits)} digits")

    try:
        return int(digits, 0) << _SHIFTS[unit.lower()]
    except ValueError:
        raise ValueError(f"{value!r} is not a number: octal is written 0o17") from None


def integer(least: int, most: int, *, shown: Callable[[int], str] = hex) -> Converter[int]:
    """An integer in `[least, most]`; `shown` renders it in messages."""

    def convert(value: object) -> int:
        number = parse_integer(value)
        if not least <= number <= most:
            raise ValueError(f"{shown(number)} is not between {shown(least)} and {shown(most)}")

        return number

    return convert


def count(least: int, most: int) -> Converter[int]:
    """A small integer in `[least, most]`, shown in decimal."""
    return integer(least, most, shown=str)


u64: Final = integer(0, U64_MAX)


def pages(value: object) -> int:
    """A length above zero, in bytes, of whole 4096-byte pages."""
    length = length_above_zero(value)
    if length % PAGE_SIZE:
        raise ValueError(f"{length:#x} is not a multiple of 4096")

    return length


def page_address(value: object) -> int:
    """An address that is a multiple of 4096."""
    address = u64(value)
    if address % PAGE_SIZE:
        raise ValueError(f"{address:#x} is not a multiple of 4096")

    return address


def length_above_zero(value: object) -> int:
    """A length in bytes, at least 1."""
    length = u64(value)
    if not length:
        raise ValueError("is zero; a range has at least one byte")

    return length


def text(value: object) -> str:
    """A string that is not empty."""
    if not isinstance(value, str):
        raise ValueError(f"is {type_name(value)}, not a string")

    if not value:
        raise ValueError("is an empty string")

    return value


def boolean(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError(f"is {type_name(value)}, not true or false")

    return value


def seconds(value: object) -> float:
    """A finite time in seconds, zero or more."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"is {type_name(value)}, not a number of seconds")

    if not 0 <= value < float("inf"):
        raise ValueError(f"{value} is not a number of seconds from 0 on")

    return float(value)


def hex_bytes(value: object) -> bytes:
    """Bytes as hexadecimal digits; white space between bytes is allowed."""
    try:
        return bytes.fromhex(text(value))
    except ValueError as error:
        raise ValueError(f"is not hexadecimal digits in pairs ({error})") from None


def choice(known: Mapping[str, T], what: str) -> Converter[T]:
    """One of the words of `known`, in any case; `what` names the kind of word."""

    def convert(value: object) -> T:
        word = text(value)
        if word.lower() not in known:
            words = ", ".join(known)
            raise ValueError(f"{word!r} is not {what} ({words}){suggest(word, known)}")

        return known[word.lower()]

    return convert


memory_type: Final = choice(TYPE_WORDS, "a memory type")
