"""What at most so many registers can give of a wanted map, with the fewest bytes uncached.

An address may get UC instead of what it wants, and nothing else may differ. The method is that of
`fewest`, with a table for each block: the fewest bytes lost inside it for each class on entry and
each number of registers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from memhub.arguments import take_integer
from memhub.planner.block_tree import BlockTree, Leaf
from memhub.planner.fewest import (
    NoPlan,
    Register,
    check_types,
    mixes_of,
    order_registers,
)
from memhub.planner.mixing import CLASSES, TYPES
from memhub.planner.wanted import accepts, effective_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from memhub.planner.fewest import Apart
    from memhub.planner.wanted import Stretch, WantedMap

    Table = npt.NDArray[np.int64]

#: More bytes than any space has; twice as many still fit 64 bits.
_ALL: int = 1 << 60


class LossyPlan(NamedTuple):
    """Registers that give a map but for some bytes.

    Attributes:
        lost: bytes that are UC and should not be.
        default: the default type.
        registers: the registers, in the order in which to program them.
    """

    lost: int
    default: str
    registers: tuple[Register, ...]


def plan_least_loss(
    wanted: WantedMap,
    slots: int,
    *,
    default: str | None = None,
    types: Iterable[str] = TYPES,
    apart: Apart = (),
) -> LossyPlan:
    """Find at most `slots` registers that leave the fewest bytes uncached.

    Args:
        wanted: the map.
        slots: how many registers there are.
        default: the default type; None chooses UC or WB, whichever loses less (UC if equal).
        types: the types that a register may have.
        apart: as of `plan_registers`.

    Raises:
        NoPlan: no registers of these types lose only what may be lost.
        ValueError: a type is unknown, or the number of slots is negative.
        TypeError: it is no integer.
    """
    slots = take_integer("slots", slots)
    if slots < 0:
        raise ValueError(f"{slots} slots: there are at least 0")

    allowed, tree = check_types(types), BlockTree(wanted)
    found = [
        plan
        for it in (("UC", "WB") if default is None else (default,))
        if (plan := _Tables(tree, it, allowed, slots, apart).plan()) is not None
    ]
    if not found:
        raise NoPlan(f"{slots} registers cannot even leave what does not fit uncached")

    return min(found, key=lambda it: it.lost)


class _Tables:
    """The tables of one tree; `least[node][class, registers]` are bytes lost."""

    def __init__(
        self,
        tree: BlockTree,
        default: str,
        allowed: Sequence[str],
        slots: int,
        apart: Apart,
    ) -> None:
        self._tree = tree
        self._default = default
        self._allowed = allowed
        self._slots = slots
        self._mixes = mixes_of(allowed, apart)
        self._bare: list[Table] = []
        self._least: list[Table] = []
        for node in tree.nodes:
            bare = (
                self._leaf_table(node)
                if isinstance(node, Leaf)
                else _add_tables(self._least[node.low], self._least[node.high])
            )
            self._bare.append(bare)
            self._least.append(self._with_register(bare))

    def _leaf_table(self, leaf: Leaf) -> Table:
        lost = [self._lost(leaf.stretch, it, 1 << leaf.bits) for it in CLASSES]

        return np.repeat(np.array(lost, dtype=np.int64)[:, None], self._slots + 1, axis=1)

    def _lost(self, stretch: Stretch, covered: str, size: int) -> int:
        if accepts(stretch, covered, self._default):
            return 0

        return size if effective_type(stretch, covered, self._default) == "UC" else _ALL

    def _with_register(self, bare: Table) -> Table:
        """The table of a block that may have a register of its own."""
        least = bare.copy()
        if self._slots and self._allowed:
            mixed = bare[np.array(self._mixes)].min(axis=1)
            np.minimum(least[:, 1:], mixed[:, :-1], out=least[:, 1:])

        return least

    def plan(self) -> LossyPlan | None:
        """The registers, or None if something else than UC would be wrong."""
        lost = int(self._least[-1][0, self._slots])
        if lost >= _ALL:
            return None

        return LossyPlan(lost, self._default, order_registers(self._place_registers()))

    def _place_registers(self) -> Iterable[Register]:
        left = [(len(self._tree.nodes) - 1, 0, 0, self._slots)]
        while left:
            number, base, entry, most = left.pop()
            node, lost = self._tree.nodes[number], self._least[number][entry, most]
            bare, inside = self._bare[number], entry
            if bare[entry, most] != lost:
                most -= 1
                mixed = self._mixes[entry]
                inside = next(it for it in mixed if bare[it, most] == lost)
                yield Register(base, 1 << node.bits, self._allowed[mixed.index(inside)])

            if not isinstance(node, Leaf):
                low, high = self._least[node.low][inside], self._least[node.high][inside]
                part = next(it for it in range(most + 1) if low[it] + high[most - it] == lost)
                left.append((node.low, base, inside, part))
                left.append((node.high, base + (1 << (node.bits - 1)), inside, most - part))


def _add_tables(low: Table, high: Table) -> Table:
    """The table of two halves: for each number of registers, the best way to share them."""
    count = low.shape[1]
    both = low[:, :1] + high
    for part in range(1, count):
        shared = low[:, part : part + 1] + high[:, : count - part]
        np.minimum(both[:, part:], shared, out=both[:, part:])

    np.minimum(both, _ALL, out=both)

    return both
