"""Types and attributes as short text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.abi import MDF_ATTRMASK, flag_words
from memhub.core.effective.strip import LETTERS

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Type to its letter on the map, its style there, and its meaning.
TYPES: Final[Mapping[str, tuple[str, str, str]]] = {
    "WB": (LETTERS["WB"], "black on green", "write-back"),
    "WT": (LETTERS["WT"], "black on cyan", "write-through"),
    "WP": (LETTERS["WP"], "white on blue", "write-protect"),
    "WC": (LETTERS["WC"], "black on yellow", "write-combine"),
    "UC": (LETTERS["UC"], "white on red", "uncacheable"),
    "undefined": (LETTERS["undefined"], "white on magenta", "undefined"),
    "reserved": (LETTERS["reserved"], "white on magenta", "reserved"),
}


def attribute(flags: int) -> str:
    """The attribute of a descriptor, in memcontrol(8)'s words."""
    return " ".join(flag_words(flags & MDF_ATTRMASK)) or "none"
