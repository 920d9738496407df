"""Types and attributes as short text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.abi import MDF_ATTRMASK, flag_words

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Type to its letter on the map, its style there, and its meaning.
TYPES: Final[Mapping[str, tuple[str, str, str]]] = {
    "WB": ("B", "black on green", "write-back"),
    "WT": ("T", "black on cyan", "write-through"),
    "WP": ("P", "white on blue", "write-protect"),
    "WC": ("C", "black on yellow", "write-combine"),
    "UC": ("U", "white on red", "uncacheable"),
    "undefined": ("?", "white on magenta", "undefined"),
    "reserved": ("!", "white on magenta", "reserved"),
}


def attribute(flags: int) -> str:
    """The attribute of a descriptor, in memcontrol(8)'s words."""
    return " ".join(flag_words(flags & MDF_ATTRMASK)) or "none"
