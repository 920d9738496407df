"""An address map in one line, whose scale is the same for every machine.

Three zones have as many cells as they need to be read: the first MiB, the rest of the first 4 GiB,
and all above, in which each cell is larger than the one before by the same factor. So 1 MiB and
1 TiB are in one line, and the lines of several machines can be compared.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from memhub.maps.signs import NO_TYPE, SIGNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from memhub.maps.address_map import AddressMap, Piece

MIB: Final = 1 << 20
GIB: Final = 1 << 30

#: Cells of the zones: below 1 MiB, below 4 GiB, above.
ZONES: Final = (16, 32, 16)


class Cell(NamedTuple):
    """One cell of a strip.

    Attributes:
        base: first byte.
        end: one past the last byte.
        letter: of the type; in lower case for a smaller part of the cell.
        type: the type; None where there is none.
        busy: whether somebody holds a part of it.
    """

    base: int
    end: int
    letter: str
    type: str | None
    busy: bool


def strip_of(it: AddressMap) -> list[list[Cell]]:
    """The cells of a map, zone by zone; a zone past the end of the address space is left out.

    A cell of several types has the second most common, in lower case, so that a small range is
    seen.
    """
    starts = [piece.base for piece in it.pieces]

    return [
        [_cell(it.pieces, starts, base, end) for base, end in edges] for edges in _zones(it.end)
    ]


def zone_ends(end: int) -> list[int]:
    """Where the zones of an address space end."""
    return [limit for limit in (MIB, 4 * GIB) if limit < end] + [end]


def _zones(end: int) -> Iterable[list[tuple[int, int]]]:
    low = 0
    for high, cells in zip(zone_ends(end), ZONES, strict=False):
        edges = [_edge(low, high, place, cells) for place in range(cells + 1)]
        yield [(a, b) for a, b in pairwise(edges) if a < b]
        low = high


def _edge(low: int, high: int, place: int, cells: int) -> int:
    if place == cells:
        return high

    if low < 4 * GIB:
        return low + (high - low) * place // cells

    return int(low * (high / low) ** (place / cells)) >> 12 << 12


def _cell(pieces: Sequence[Piece], starts: list[int], base: int, end: int) -> Cell:
    shares: dict[str | None, int] = {}
    busy = False
    for piece in pieces[bisect_right(starts, base) - 1 : bisect_right(starts, end - 1)]:
        part = min(piece.end, end) - max(piece.base, base)
        busy |= bool(piece.busy)
        for name in piece.types or (None,):
            shares[name] = shares.get(name, 0) + part // (len(piece.types) or 1)

    ranked = sorted(shares, key=lambda name: -shares[name])
    kind = ranked[min(1, len(ranked) - 1)]
    letter = NO_TYPE.letter if kind is None else SIGNS[kind].letter

    return Cell(base, end, letter if len(ranked) == 1 else letter.lower(), kind, busy)
