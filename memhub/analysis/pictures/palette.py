"""Colours, dashes and shapes: each kind has two signs, so that no colour has to be told apart.

The colours are those of Okabe and Ito, which people who confuse red and green can tell apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from memhub.abi import (
    MDF_UNCACHEABLE,
    MDF_WRITEBACK,
    MDF_WRITECOMBINE,
    MDF_WRITEPROTECT,
    MDF_WRITETHROUGH,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

INK: Final = "#1a1a1a"
QUIET: Final = "#5f6368"
LINES: Final = "#d9dce0"
SUMMED: Final = "#c9ccd1"
BLUE: Final = "#0072B2"
VERMILION: Final = "#D55E00"


class Kind(NamedTuple):
    """How one memory type is drawn.

    Attributes:
        name: as processors' manuals shorten it.
        flag: its attribute in `mr_flags`.
        meaning: memcontrol(8)'s word.
        colour: of its area.
        dash: lengths of dashes and gaps of the line over its area; empty for no line.
    """

    name: str
    flag: int
    meaning: str
    colour: str
    dash: tuple[int, ...]


#: Types in the order of legends. A gap as long as the page means no line.
KINDS: Final = (
    Kind("UC", MDF_UNCACHEABLE, "uncacheable", "#D55E00", (1, 0)),
    Kind("WC", MDF_WRITECOMBINE, "write-combine", "#56B4E9", (9, 4)),
    Kind("WT", MDF_WRITETHROUGH, "write-through", "#F0E442", (2, 3)),
    Kind("WP", MDF_WRITEPROTECT, "write-protect", "#CC79A7", (9, 3, 2, 3)),
    Kind("WB", MDF_WRITEBACK, "write-back", "#009E73", (0, 9999)),
    Kind("other", 0, "another type", "#BBBBBB", (2, 9)),
)

#: How effective types are drawn that no range can ask for.
EFFECTIVE: Final = (
    Kind("undefined", 0, "undefined", "#BBBBBB", (2, 9)),
    Kind("reserved", 0, "reserved", "#BBBBBB", (6, 2, 1, 2)),
    Kind("several", 0, "several types", "#E3E5E8", (1, 4)),
)

#: How an error is drawn; the rest are drawn as OTHER_ERROR.
SHAPES: Final = {
    "EBUSY": "cross",
    "EINVAL": "triangle-up",
    "ENOSPC": "square",
    "EPERM": "diamond",
    "EDEADLK": "triangle-down",
    "ETIMEDOUT": "circle",
    "EEXIST": "triangle-left",
    "EOPNOTSUPP": "triangle-right",
}
OTHER_ERROR: Final = "other"
OTHER_SHAPE: Final = "M-0.8,-0.8L0.8,0.8M-0.8,0.8L0.8,-0.8"


def kind_of(flags: int) -> Kind:
    """How the memory type that some `mr_flags` name is drawn."""
    return next((it for it in KINDS if flags & it.flag), KINDS[-1])


def kind_of_types(types: Sequence[str]) -> Kind:
    """How effective types are drawn that some addresses have."""
    if len(types) != 1:
        return EFFECTIVE[-1]

    return next(it for it in (*KINDS, *EFFECTIVE) if it.name == types[0])


def legend_name(kind: Kind) -> str:
    """A type's name and word, for a legend."""
    if kind.name == "other":
        return kind.name

    return kind.meaning if kind in EFFECTIVE else f"{kind.name} {kind.meaning}"


def error_name(errno: str) -> str:
    """The error that a legend lists this one as."""
    return errno if errno in SHAPES else OTHER_ERROR
