"""What the types of overlapping MTRRs come to (Intel SDM volume 3, 12.11.4.1).

An address sees only the set of types of the registers that cover it, and the sets fall into seven
classes: none, each of the five types, and a mix that the architecture leaves undefined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

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


def mix_apart(covered: str, added: str, apart: Collection[frozenset[str]]) -> str:
    """The same where some types may not overlap: CLASH for what a driver would refuse.

    Args:
        covered: the class of an address before.
        added: the type of one more register.
        apart: pairs of types whose ranges may not overlap.
    """
    if covered == NONE:
        return added

    if covered == CLASH and apart:  # perhaps of what is refused, which one more does not mend
        return CLASH

    others = {"UC": TYPES, "WT": ("WT", "WB")}.get(covered, (covered,))
    present = [it for it in others if it == covered or frozenset((it, covered)) not in apart]

    refused = any(frozenset((it, added)) in apart for it in present)

    return CLASH if refused else mix_types(covered, added)


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
