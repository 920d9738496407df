"""How types and kinds are told: by a letter, a colour and a pattern, so that no colour matters.

The colours are those of Okabe and Ito, which people who confuse red and green can tell apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from memhub.abi_layout import (
    TYPE_OF_FLAG,
)
from memhub.core.effective.strip import LETTERS

if TYPE_CHECKING:
    from collections.abc import Mapping


class Sign(NamedTuple):
    """How one type is told.

    Attributes:
        letter: in text.
        word: memcontrol(8)'s.
        colour: of its area.
        pattern: the lines over its area: the path of one tile of 8 by 8; empty for none.
    """

    letter: str
    word: str
    colour: str
    pattern: str


#: Types in the order of legends.
SIGNS: Final[Mapping[str, Sign]] = {
    "WB": Sign(LETTERS["WB"], "write-back", "#009E73", ""),
    "UC": Sign(LETTERS["UC"], "uncacheable", "#D55E00", "M0 8L8 0M-2 2L2 -2M6 10L10 6"),
    "WC": Sign(LETTERS["WC"], "write-combine", "#56B4E9", "M0 4H8"),
    "WT": Sign(LETTERS["WT"], "write-through", "#F0E442", "M4 0V8"),
    "WP": Sign(LETTERS["WP"], "write-protect", "#CC79A7", "M4 0V8M0 4H8"),
    "undefined": Sign(LETTERS["undefined"], "undefined", "#BBBBBB", "M4 3V5M3 4H5"),
    "reserved": Sign(LETTERS["reserved"], "reserved", "#BBBBBB", "M0 0L8 8M0 8L8 0"),
}

#: What is drawn where a machine has no types.
NO_TYPE: Final = Sign("-", "no types", "#FFFFFF", "")

#: The words for what lies behind addresses.
KIND_WORDS: Final[Mapping[str, str]] = {
    "ram": "RAM",
    "rom": "ROM",
    "reserved": "reserved",
    "acpi": "ACPI",
    "nvs": "NVS",
    "unusable": "unusable",
    "device": "device",
    "hole": "hole",
    "untold": "",
}


def type_of_flags(flags: int) -> str:
    """The type that some `mr_flags` ask for, shortened; `other` where they name none."""
    return next((name for flag, name in TYPE_OF_FLAG.items() if flags & flag), "other")
