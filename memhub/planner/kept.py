"""A map to keep: what some registers give, while others stay as they are."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from memhub.planner.mixing import NONE, TYPES, mix_types
from memhub.planner.wanted import FIXED, Stretch, accepts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from memhub.planner.fewest import Register

    #: First byte and type of each stretch of a space, from address 0.
    Types = Sequence[tuple[int, str]]


@dataclass(frozen=True, slots=True)
class KeptMap:
    """What each address of a space has, and would have without any register.

    Attributes:
        width: physical address bits.
        have: the types that addresses have.
        bare: the types that they would have without any variable register.
        fixed_end: below it, fixed ranges decide.
    """

    width: int
    have: Types
    bare: Types
    fixed_end: int

    def with_held(self, registers: Iterable[Register]) -> HeldMap:
        """The map to be given by other registers than these, which stay as they are."""
        held = list(registers)
        edges = {0, 1 << self.width, self.fixed_end}
        edges |= {at for at, _ in (*self.have, *self.bare)}
        edges |= {at for it in held for at in (it.base, it.base + it.size)}
        found = []
        for start, end in pairwise(sorted(edges)):
            want = FIXED if start < self.fixed_end else _type_at(self.have, start)
            covered = NONE
            for it in held:
                if it.base <= start < it.base + it.size:
                    covered = mix_types(covered, it.type)

            found.append(Stretch(end, want, _type_at(self.bare, start), covered))

        return HeldMap(self.width, tuple(found))

    @property
    def plain(self) -> bool:
        """Whether every type outside fixed ranges is one that registers can have."""
        ends = [at for at, _ in self.have[1:]] + [1 << self.width]

        return all(
            type_ in TYPES
            for (_, type_), end in zip(self.have, ends, strict=True)
            if end > self.fixed_end
        )

    def explained_by(self, registers: Iterable[Register]) -> bool:
        """Whether these registers give the map, by the rules of MTRRs."""
        stretches = self.with_held(registers).stretches()

        return all(accepts(it, NONE, "UC") for it in stretches)


@dataclass(frozen=True, slots=True)
class HeldMap:
    """A map over registers that stay; see `StretchMap`."""

    width: int
    parts: tuple[Stretch, ...]

    def stretches(self) -> list[Stretch]:
        """The map from address 0 to the end of the space."""
        return list(self.parts)


def _type_at(types: Types, address: int) -> str:
    return types[bisect_right(types, address, key=lambda it: it[0]) - 1][1]
