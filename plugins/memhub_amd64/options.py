"""The options of an amd64 machine, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from memhub.plugin import OptionError, RangeDesc, abi
from memhub.plugin.x86 import PALETTES, Palette

DEFAULT_SLOTS: Final = 64
MAX_SLOTS: Final = 65536
_RANGE_KEYS: Final = frozenset({"base", "length", "type", "attribute", "owner", "fixed"})

#: PAT types of each attribute, the preferred one first.
PAT_OF_ATTRIBUTE: Final[Mapping[int, tuple[str, ...]]] = {
    abi.MDF_UNCACHEABLE: ("UC", "UC-"),
    abi.MDF_WRITECOMBINE: ("WC",),
    abi.MDF_WRITETHROUGH: ("WT",),
    abi.MDF_WRITEBACK: ("WB",),
    abi.MDF_WRITEPROTECT: ("WP",),
}

#: What a range's `type` or `attribute` may say: memcontrol(8)'s word, or the PAT type.
_ATTRIBUTE_OF_WORD: Final[Mapping[str, int]] = {
    **{word: bit for bit, word in abi.FLAG_WORDS if bit in PAT_OF_ATTRIBUTE},
    **{names[0]: bit for bit, names in PAT_OF_ATTRIBUTE.items()},
}


@dataclass(frozen=True, slots=True)
class Options:
    """What configuration said.

    Attributes:
        slots: number of range descriptors.
        palette: the page attribute table; None takes it from register 0x277, or FreeBSD's.
        ranges: descriptors present at start, with their final flags.
    """

    slots: int = DEFAULT_SLOTS
    palette: Palette | None = None
    ranges: tuple[RangeDesc, ...] = ()


def parse_options(options: Mapping[str, Any], known: frozenset[str]) -> Options:
    """Check `[machine.options]`.

    Args:
        options: as configured.
        known: the options that amd64 has.

    Raises:
        OptionError: a key that amd64 does not have, or a value that breaks its rule.
    """
    for key in options:
        if key not in known:
            raise OptionError(key, f"amd64 has the options {', '.join(sorted(known))}")

    slots = _take_integer("slots", options.get("slots", DEFAULT_SLOTS), 1, MAX_SLOTS)
    rows = options.get("ranges", ())
    if not isinstance(rows, Sequence) or isinstance(rows, str | bytes):
        raise OptionError("ranges", f"{rows!r} is not a list of tables")

    if len(rows) > slots:
        raise OptionError("ranges", f"{len(rows)} ranges do not fit {slots} slots")

    return Options(
        slots=slots,
        palette=_take_palette(options["palette"]) if "palette" in options else None,
        ranges=tuple(_take_range(f"ranges[{index}]", row) for index, row in enumerate(rows)),
    )


def _take_integer(key: str, value: object, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise OptionError(key, f"{value!r} is not an integer")

    if not least <= value <= most:
        raise OptionError(key, f"{value:#x} is not between {least:#x} and {most:#x}")

    return value


def _take_palette(value: object) -> Palette:
    if isinstance(value, str):
        if value not in PALETTES:
            known = ", ".join(PALETTES)
            raise OptionError("palette", f"{value!r} is none of {known}, nor a list of eight types")

        return PALETTES[value]

    if not isinstance(value, Sequence) or not all(isinstance(name, str) for name in value):
        raise OptionError("palette", f"{value!r} is neither a name nor a list of eight types")

    try:
        return Palette.of(value)
    except ValueError as error:
        raise OptionError("palette", str(error)) from error


def _take_range(key: str, row: object) -> RangeDesc:
    if not isinstance(row, Mapping):
        raise OptionError(key, f"{row!r} is not a table")

    for name in row:
        if name not in _RANGE_KEYS:
            raise OptionError(f"{key}.{name}", f"a range has {', '.join(sorted(_RANGE_KEYS))}")

    for name in ("base", "length"):
        if name not in row:
            raise OptionError(f"{key}.{name}", "is missing")

    fixed = row.get("fixed", False)
    if not isinstance(fixed, bool):
        raise OptionError(f"{key}.fixed", f"{fixed!r} is not true or false")

    flags = abi.MDF_ACTIVE | abi.MDF_FIRMWARE | (abi.MDF_FIXACTIVE if fixed else 0)

    return RangeDesc(
        _take_integer(f"{key}.base", row["base"], 0, abi.U64_MAX),
        _take_integer(f"{key}.length", row["length"], 1, abi.U64_MAX),
        flags | _take_attribute(key, row),
        _take_owner(f"{key}.owner", row.get("owner", "BIOS")),
    )


def _take_attribute(key: str, row: Mapping[str, Any]) -> int:
    given = [name for name in ("type", "attribute") if name in row]
    if len(given) != 1:
        raise OptionError(f"{key}.type", "a range has either a type or an attribute")

    word = row[given[0]]
    if not isinstance(word, str) or word not in _ATTRIBUTE_OF_WORD:
        known = ", ".join(_ATTRIBUTE_OF_WORD)
        raise OptionError(f"{key}.{given[0]}", f"{word!r} is not one of {known}")

    return _ATTRIBUTE_OF_WORD[word]


def _take_owner(key: str, value: object) -> bytes:
    if not isinstance(value, str):
        raise OptionError(key, f"{value!r} is not text")

    if len(value) >= abi.OWNER_SIZE:
        raise OptionError(key, f"{value!r} is longer than {abi.OWNER_SIZE - 1} characters")

    try:
        return abi.owner_bytes(value)
    except ValueError as error:
        raise OptionError(key, str(error)) from error


def attributes_of(palette: Palette) -> dict[int, str]:
    """The attributes that a palette can give, each with the PAT type it becomes."""
    return {
        bit: next(name for name in names if name in palette)
        for bit, names in PAT_OF_ATTRIBUTE.items()
        if any(name in palette for name in names)
    }
