"""The map that registers give, computed without the planner."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from memhub.planner.mixing import NONE, mix_types
from memhub.planner.wanted import ANY, FIXED, effective_type

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memhub.planner.fewest import Register
    from memhub.planner.wanted import WantedMap


def find_difference(wanted: WantedMap, default: str, registers: Iterable[Register]) -> str | None:
    """The first stretch that does not have the wanted type, in words; None if all have.

    Args:
        wanted: the map.
        default: the default type.
        registers: the registers, in any order.
    """
    for start, end, want, got in effective_stretches(wanted, default, registers):
        if want != FIXED and (got == "clash" or want not in (ANY, got)):
            return f"{start:#x}-{end:#x} is {got} where {want} is wanted"

    return None


def effective_stretches(
    wanted: WantedMap, default: str, registers: Iterable[Register]
) -> list[tuple[int, int, str, str]]:
    """Start, end, what is wanted and what is had, of each stretch in which both are the same."""
    held = sorted(registers)
    for base, size, _ in held:
        if size < 4096 or size & (size - 1) or base % size or base + size > 1 << wanted.width:
            raise ValueError(f"no register covers {base:#x}/{size:#x}")

    stretches = wanted.stretches()
    edges = {0, *(it.end for it in stretches)}
    edges |= {it.base for it in held} | {it.base + it.size for it in held}
    points = sorted(edges)
    found, at, first = [], 0, 0
    active: list[tuple[int, str]] = []
    for start, end in pairwise(points):
        while stretches[at].end <= start:
            at += 1

        while first < len(held) and held[first].base <= start:
            active.append((held[first].base + held[first].size, held[first].type))
            first += 1

        active = [it for it in active if it[0] > start]
        covered = NONE
        for type_ in {it[1] for it in active}:
            covered = mix_types(covered, type_)

        found.append(
            (start, end, stretches[at].want, effective_type(stretches[at], covered, default))
        )

    return found
