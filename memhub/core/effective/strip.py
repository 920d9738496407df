"""A map of effective types as a strip of letters, which every picture in text is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from memhub.core.effective.typemap import TypeMap

#: The letter of each type.
LETTERS: Final[Mapping[str, str]] = {
    "WB": "B",
    "WT": "T",
    "WP": "P",
    "WC": "C",
    "UC": "U",
    "undefined": "?",
    "reserved": "!",
}


def strip_cells(types: TypeMap, end: int, cells: int) -> Iterator[tuple[str, str]]:
    """The cells of a strip over the addresses from 0 on.

    Args:
        types: the types.
        end: the address at which the strip ends, a multiple of `cells`.
        cells: how many cells there are.

    Yields:
        a letter and the type that it stands for. A cell of several types has the second most
        common, in lower case, so that a small range is seen.
    """
    step = end // cells
    for cell in range(cells):
        shares: dict[str, int] = {}
        for segment in types.segments(cell * step, (cell + 1) * step):
            shares[segment.type] = shares.get(segment.type, 0) + segment.end - segment.base

        ranked = sorted(shares, key=lambda name: -shares[name])
        kind = ranked[min(1, len(ranked) - 1)]
        yield (LETTERS[kind] if len(ranked) == 1 else LETTERS[kind].lower()), kind
