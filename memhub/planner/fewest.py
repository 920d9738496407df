"""The fewest variable MTRRs that give a wanted map.

A register covers one aligned block, a node of the tree of blocks. What it does to an address
inside depends only on the class of the registers around that block. So the fewest registers inside
a block are a function of the block and of the class on entry: those of its halves add up, after
at most one register for the block itself. This is exact for registers whose masks have no holes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from memhub.arguments import take_names
from memhub.planner.block_tree import BlockTree, Leaf
from memhub.planner.mixing import CLASSES, TYPES, mix_apart
from memhub.planner.wanted import accepts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from memhub.planner.wanted import StretchMap

    Apart = Collection[frozenset[str]]

#: More registers than any map needs.
NEVER: Final = 1 << 60


class NoPlan(Exception):
    """Raised when no registers give the map, however many there are."""


class Register(NamedTuple):
    """One variable MTRR.

    Attributes:
        base: first byte.
        size: bytes, a power of two.
        type: its type.
    """

    base: int
    size: int
    type: str


class Plan(NamedTuple):
    """Registers that give a map.

    Attributes:
        default: the default type.
        registers: the registers, in the order in which to program them: UC first, so that no
            address is cached in between that must not be, then by address.
    """

    default: str
    registers: tuple[Register, ...]


def plan_registers(
    wanted: StretchMap,
    *,
    default: str | None = None,
    types: Iterable[str] = TYPES,
    apart: Apart = (),
) -> Plan:
    """Find the fewest registers that give a map.

    Args:
        wanted: the map.
        default: the default type; None chooses UC or WB, whichever needs fewer (UC if equal).
        types: the types that a register may have.
        apart: pairs of types whose ranges may not overlap, as a driver refuses some.

    Raises:
        NoPlan: no registers of these types give the map.
        ValueError: a type is unknown.
    """
    allowed = check_types((*types, *([] if default is None else [default])))
    if default is not None:
        allowed = check_types(types)

    tree = BlockTree(wanted)
    found = [
        plan
        for it in (("UC", "WB") if default is None else (default,))
        if (plan := _plan_with(tree, it, allowed, mixes_of(allowed, apart))) is not None
    ]
    if not found:
        words = ", ".join(allowed)
        overlap = " that overlap as the driver allows" if apart else ""
        raise NoPlan(
            f"no registers of the types {words}{overlap} give this map, however many there are"
        )

    return min(found, key=lambda it: len(it.registers))


def check_types(types: Iterable[str]) -> tuple[str, ...]:
    """Types in their order, each once.

    Raises:
        ValueError: one is unknown.
        TypeError: they are not several texts.
    """
    given = take_names("types", types)
    if given - set(TYPES):
        raise ValueError(f"type {min(given - set(TYPES))!r} is not one of {', '.join(TYPES)}")

    return tuple(it for it in TYPES if it in given)


def mixes_of(allowed: Sequence[str], apart: Apart = ()) -> list[list[int]]:
    """For each class, the classes that one more register makes of it, by number."""
    return [[CLASSES.index(mix_apart(it, added, apart)) for added in allowed] for it in CLASSES]


def order_registers(registers: Iterable[Register]) -> tuple[Register, ...]:
    """Registers in the order in which to program them; see `Plan`."""
    return tuple(sorted(registers, key=lambda it: (TYPES.index(it.type), it.base, it.size)))


def _plan_with(
    tree: BlockTree, default: str, allowed: tuple[str, ...], mixes: list[list[int]]
) -> Plan | None:
    costs = _count_registers(tree, default, mixes)
    if costs[-1][0] >= NEVER:
        return None

    return Plan(default, order_registers(_place_registers(tree, costs, allowed, mixes)))


def _count_registers(tree: BlockTree, default: str, mixes: list[list[int]]) -> list[list[int]]:
    """For each node, the fewest registers inside it for each class on entry."""
    costs: list[list[int]] = []
    for node in tree.nodes:
        if isinstance(node, Leaf):
            bare = [0 if accepts(node.stretch, it, default) else NEVER for it in CLASSES]
        else:
            bare = [low + high for low, high in zip(costs[node.low], costs[node.high], strict=True)]

        costs.append(
            [
                min(cost, 1 + min([bare[it] for it in mixed], default=NEVER), NEVER)
                for cost, mixed in zip(bare, mixes, strict=True)
            ]
        )

    return costs


def _place_registers(
    tree: BlockTree, costs: list[list[int]], allowed: tuple[str, ...], mixes: list[list[int]]
) -> Iterable[Register]:
    """The registers of one least set."""
    left = [(len(tree.nodes) - 1, 0, 0)]
    while left:
        number, base, entry = left.pop()
        node, cost = tree.nodes[number], costs[number][entry]
        if not cost:
            continue

        inside = entry
        if isinstance(node, Leaf) or cost < costs[node.low][entry] + costs[node.high][entry]:
            inside = _choose_mix(tree, costs, number, mixes[entry], cost - 1)
            added = allowed[mixes[entry].index(inside)]
            yield Register(base, 1 << node.bits, added)

        if not isinstance(node, Leaf):
            left.append((node.low, base, inside))
            left.append((node.high, base + (1 << (node.bits - 1)), inside))


def _choose_mix(
    tree: BlockTree, costs: list[list[int]], number: int, mixed: list[int], cost: int
) -> int:
    """The class that a register for a whole node leads to."""
    node = tree.nodes[number]
    if isinstance(node, Leaf):
        # inside a leaf nothing follows, and a class that needs nothing more is one that fits
        return next(it for it in mixed if costs[number][it] == cost == 0)

    return next(it for it in mixed if costs[node.low][it] + costs[node.high][it] == cost)
