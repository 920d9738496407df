"""What the types of overlapping MTRRs come to (Intel SDM volume 3, 12.11.4.1).

An address sees only the set of types of the registers that cover it, and the sets fall into seven
classes: none, each of the five types, and a mix that the architecture leaves undefined.
"""

from __future__ import annotations

from typing import Final

#: The types of a register.
TYPES: Final = ("UC", "WC", "WT", "WP", "WB")
NONE: Final = "none"
CLASH: Final = "clash"
#: The classes, in the order in which costs are listed.
CLASSES: Final = (NONE, *TYPES, CLASH)


def mix_types(covered: str, added: str) -> str:
    """The class of an address once one more register covers it.

    Args:
        covered: its class before.
        added: the register's type.
    """
    if covered in (NONE, added) or added == "UC":
        return added

    if covered == "UC":
        return covered

    return "WT" if {covered, added} == {"WT", "WB"} else CLASH


def mix_classes(one: str, other: str) -> str:
    """The class of an address that the registers of two classes cover.

    Args:
        one: a class.
        other: another.
    """
    if NONE in (one, other):
        return other if one == NONE else one

    if "UC" in (one, other):
        return "UC"

    return CLASH if CLASH in (one, other) else mix_types(one, other)
