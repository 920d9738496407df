"""Converters from TOML values to checked values; a ValueError says which rule is broken."""

from __future__ import annotations

import re
from string import hexdigits
from typing import TYPE_CHECKING, Final, TypeVar

from memhub.abi import PAGE_SIZE, U64_MAX
from memhub.core.spec_rules import boolean as boolean
from memhub.core.spec_rules import check_between
from memhub.core.spec_rules import choice as choice
from memhub.core.spec_rules import seconds as seconds
from memhub.core.spec_rules import suggest as suggest
from memhub.core.spec_rules import text as text
from memhub.core.spec_rules import type_name as type_name
from memhub.x86.registers import UC, WB, WC, WP, WT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
        return check_between(parse_integer(value), least, most, shown)

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


def hex_bytes(value: object) -> bytes:
    """Bytes as hexadecimal digits; white space between bytes is allowed."""
    digits = text(value)
    try:
        return bytes.fromhex(digits)
    except ValueError:
        for place, char in enumerate(digits):
            if char not in hexdigits and not char.isspace():
                raise ValueError(f"{char!r} at place {place} is no hexadecimal digit") from None

        raise ValueError("has a hexadecimal digit alone; two make a byte") from None


memory_type: Final = choice(TYPE_WORDS, "a memory type")
