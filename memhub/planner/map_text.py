"""Wanted maps as people write them, a stretch on a line."""

from __future__ import annotations

import re
from typing import Final

from memhub.planner.wanted import ANY

_UNITS: Final = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_NUMBER: Final = r"(0x[0-9a-f]++|[0-9]++)([KMGT]?)"
_LINE: Final = re.compile(
    rf"\A{_NUMBER}\s*+([+-])\s*+{_NUMBER}(?:\s*+=\s*+|\s++)(\S++)", re.IGNORECASE
)
_LONGEST: Final = 200

#: What a line may call a type: its two letters, or memcontrol(8)'s word.
TYPE_WORDS: Final = {
    "uncacheable": "UC",
    "write-combine": "WC",
    "write-through": "WT",
    "write-protect": "WP",
    "write-back": "WB",
    "any": ANY,
}


class MapError(ValueError):
    """Raised for a line that is not a stretch; says which and why."""


def parse_type(word: str) -> str:
    """Read a type: `WB`, `write-back`, or `any`.

    Raises:
        MapError: it is none of these.
    """
    found = TYPE_WORDS.get(word.lower(), word.upper())
    if found not in TYPE_WORDS.values():
        words = ", ".join(f"{it} ({short})" for it, short in TYPE_WORDS.items())
        raise MapError(f"{word[:_LONGEST]!r} is not a memory type: {words}")

    return found


def parse_types(words: str) -> list[str]:
    """Read the types that a register may have: `UC,write-back`.

    Raises:
        MapError: one is not a type, or is `any`, which a register cannot have.
    """
    found = [parse_type(it) for it in words.split(",")]
    if ANY in found:
        raise MapError("a register has a type, and 'any' is not one: name those that it may have")

    return found


def parse_stretch(line: str) -> tuple[int, int, str]:
    """Read one stretch: `0-2G WB`, `0xe0000000+256M=write-combine`.

    Returns:
        first byte, one past the last byte, and the type that is wanted.

    Raises:
        MapError: the line is none.
    """
    found = _LINE.fullmatch(line.strip()[: _LONGEST + 1])
    if found is None:
        raise MapError(
            f"{line.strip()[:_LONGEST]!r} is not a stretch: give START-END or BASE+LENGTH and a "
            "type, as 0xe0000000+256M WC; an end is the first byte behind it"
        )

    number, unit, sign, other, other_unit, word = found.groups()
    start = int(number, 0) << _UNITS[unit.upper()]
    more = int(other, 0) << _UNITS[other_unit.upper()]
    end = start + more if sign == "+" else more
    if end <= start:
        raise MapError(f"{line.strip()!r} has no bytes: its end {end:#x} is not behind its start")

    return start, end, parse_type(word)


def parse_map(text: str) -> list[tuple[int, int, str]]:
    """Read a map: a stretch on each line; `#` begins a comment; later lines replace earlier ones.

    Raises:
        MapError: a line is not a stretch; its number is named.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        said = line.partition("#")[0]
        if said.strip():
            try:
                found.append(parse_stretch(said))
            except MapError as error:
                raise MapError(f"line {number}: {error}") from None

    return found
