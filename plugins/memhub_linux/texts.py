"""What the kernel calls memory types, and what it prints in more than one place."""

from __future__ import annotations

from typing import Final

from memhub.plugin.x86 import LINE_TYPES

#: The names of types 0 to 6; 2 and 3 are reserved.
TYPE_NAMES: Final = LINE_TYPES
#: What is printed for the kernel's parameter `nopat`.
NO_PAT_LINE: Final = "PAT support disabled via boot option."


def type_name(type_: int) -> str:
    """The name of a type; `?` for what has none."""
    return TYPE_NAMES[type_] if type_ < len(TYPE_NAMES) else "?"


def in_units(amount_k: int) -> str:
    """KiB in the greatest unit that divides them, as the kernel prints them."""
    if amount_k & 0x3FF:
        return f"{amount_k}K"

    if amount_k & 0xFFFFF:
        return f"{amount_k >> 10}M"

    return f"{amount_k >> 20}G"
