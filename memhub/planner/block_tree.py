"""A map as a tree of aligned blocks; blocks of equal content are one node."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from memhub.planner.wanted import Stretch, StretchMap


class Leaf(NamedTuple):
    """A block in which every address wants the same.

    Attributes:
        bits: the block has 2**bits bytes.
        stretch: what it wants; its end is 0, so that equal blocks are equal.
    """

    bits: int
    stretch: Stretch


class Fork(NamedTuple):
    """A block of two halves.

    Attributes:
        bits: the block has 2**bits bytes.
        low: the number of the node of its lower half.
        high: that of its upper half.
    """

    bits: int
    low: int
    high: int


class BlockTree:
    """The nodes of a map; a node comes after those of its halves.

    Args:
        wanted: the map.

    Attributes:
        nodes: the nodes; the last is the whole space.
    """

    def __init__(self, wanted: StretchMap) -> None:
        self.nodes: list[Leaf | Fork] = []
        self._numbers: dict[Leaf | Fork, int] = {}
        self._stretches = wanted.stretches()
        self._at = 0
        self._add_block(0, wanted.width)

    def _add_block(self, base: int, bits: int) -> int:
        """Add a block at the stretch where the walk stands; the number of its node."""
        stretches, end = self._stretches, base + (1 << bits)
        stretch = stretches[self._at]
        if stretch.end >= end:
            if stretch.end == end:
                self._at += 1

            return self._add_node(Leaf(bits, stretch._replace(end=0)))

        half = 1 << (bits - 1)
        low = self._add_block(base, bits - 1)
        high = self._add_block(base + half, bits - 1)

        return self._add_node(Fork(bits, low, high))

    def _add_node(self, node: Leaf | Fork) -> int:
        number = self._numbers.get(node)
        if number is None:
            number = self._numbers[node] = len(self.nodes)
            self.nodes.append(node)

        return number
