"""What the kernel calls memory types."""

from __future__ import annotations

from typing import Final

#: The names of types 0 to 6; 2 and 3 are reserved.
TYPE_NAMES: Final = (
    "uncachable",
    "write-combining",
    "?",
    "?",
    "write-through",
    "write-protect",
    "write-back",
)


def type_name(type_: int) -> str:
    """The name of a type; `?` for what has none."""
    return TYPE_NAMES[type_] if type_ < len(TYPE_NAMES) else "?"
