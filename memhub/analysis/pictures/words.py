"""How pictures say things: ranges, times, names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.analysis.pictures.palette import kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.analysis.pictures.figure import Key

_UNITS = (("T", 40), ("G", 30), ("M", 20), ("K", 10))


def range_text(base: int | None, length: int | None) -> str:
    """A range, as `0xe0000000+256M`."""
    if base is None or length is None:
        return "no range"

    for letter, shift in _UNITS:
        if length and not length % (1 << shift):
            return f"{base:#x}+{length >> shift}{letter}"

    return f"{base:#x}+{length}"


def length_text(ns: float | None) -> str:
    """A length of time in a unit that fits."""
    if ns is None:
        return "an unknown time"

    for unit, size in (
        ("d", 86400),
        ("h", 3600),
        ("min", 60),
        ("s", 1),
        ("ms", 1e-3),
        ("us", 1e-6),
    ):
        if ns >= size * 1e9:
            return f"{ns / (size * 1e9):.3g} {unit}"

    return f"{ns:.0f} ns"


def type_text(flags: int) -> str:
    """The memory type of a range, in memcontrol(8)'s word."""
    return kind_of(flags).meaning


def name_text(name: str | None) -> str:
    """A name, or what is said where there is none."""
    return name or "nobody"


def keys_of(row: Mapping[str, Any], *names: str) -> list[Key | None]:
    """The records whose places a row holds in some columns."""
    return [None if row.get(name) is None else (row["log"], row[name]) for name in names]
