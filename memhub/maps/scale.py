"""Addresses on a line: every piece is high enough for its label, and larger ones are higher.

The height of a piece grows with the logarithm of its size, so that 1 MiB and 1 TiB can both be
read; within a piece the scale is linear.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memhub.maps.address_map import Piece

#: Pixels of a page or less, which a label fits; and more for each time a piece is twice as large.
LEAST: Final = 24.0
_MORE: Final = 0.7

_PAGE_BITS: Final = 12


class PieceScale:
    """Where addresses are on a line from 0 at the lowest.

    Args:
        pieces: in order, without gaps, at least one.

    Attributes:
        height: pixels of the whole.
    """

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._bases = [it.base for it in pieces]
        self._end = pieces[-1].end
        self._places = [0.0]
        for it in pieces:
            bits = max(0, it.length.bit_length() - _PAGE_BITS)
            self._places.append(self._places[-1] + round(LEAST + _MORE * bits))

        self.height = self._places[-1]

    def place(self, address: int) -> float:
        """Where an address is, in pixels; the ends of the line for those beyond it."""
        if address <= self._bases[0]:
            return 0.0

        if address >= self._end:
            return self.height

        at = bisect_right(self._bases, address) - 1
        edges = [*self._bases[at : at + 2], self._end]
        base, end = edges[0], edges[1]
        low, high = self._places[at : at + 2]

        return low + (high - low) * (address - base) / (end - base)
