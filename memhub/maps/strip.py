"""An address map in one line, on a scale that is the same for every machine.

It has three zones: the first MiB in cells of 64 KiB, the rest of the first 4 GiB in equal cells,
and all above in cells of which each is as large as all that is below it. So 1 MiB and 1 TiB are in
one line, and the lines of several machines can be compared.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from memhub.maps.signs import NO_TYPE, SIGNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from memhub.maps.address_map import AddressMap, Piece

MIB: Final = 1 << 20
GIB: Final = 1 << 30

#: Cells of the first zone, and the most of the last, one for each address bit above 32.
LOW_CELLS: Final = 16
HIGH_CELLS: Final = 20


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


def strip_of(it: AddressMap, cells: int) -> list[list[Cell]]:
    """The cells of a map, zone by zone; what lies past the end of the address space is left out.

    A cell of several types has the second most common, in lower case, so that a small range is
    seen.

    Args:
        it: the map.
        cells: how many the second zone has.
    """
    starts = [piece.base for piece in it.pieces]

    return [
        [_cell(it.pieces, starts, base, min(end, it.end)) for base, end in pairwise(edges)]
        for edges in (_below(it.end, edges) for edges in _zone_edges(cells))
        if len(edges) > 1
    ]


def _zone_edges(cells: int) -> Iterator[list[int]]:
    yield [MIB * place // LOW_CELLS for place in range(LOW_CELLS + 1)]
    middle = [4 * GIB * place // cells for place in range(1, cells + 1)]
    yield [MIB, *middle]
    yield [4 * GIB << place for place in range(HIGH_CELLS + 1)]


def _below(end: int, edges: list[int]) -> list[int]:
    """The edges up to the end of a space, and the one that ends its last cell."""
    inside = [edge for edge in edges if edge < end]

    return [*inside, *edges[len(inside) : len(inside) + 1]] if inside else []


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
