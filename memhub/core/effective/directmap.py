"""A type map that evaluates its source at every question, for states too large to flatten.

One mask with many holes matches up to a hundred million separate blocks. Nothing is listed
here: a look-up asks the source, and stretches are found one after the other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from memhub.core.effective.typemap import (
    CODE_OF_TYPE,
    MARK,
    TYPE_OF_CODE,
    UNDEFINED,
    Segment,
    TypeMap,
)
from memhub.core.neighbours import join_neighbours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    import numpy.typing as npt

    from memhub.core.effective.typemap import Codes

#: Stretches that `first_difference` compares before it gives up and assumes a difference.
COMPARED: Final = 1 << 14
_SPACE_END: Final = 1 << 64


class Source(Protocol):
    """What a direct map evaluates; all addresses lie below its space's end."""

    def code(self, address: int) -> int:
        """The code of one address, with `MARK` where it is implementation-defined."""

    def codes(self, addresses: npt.NDArray[np.uint64]) -> Codes:
        """The codes of many addresses, with marks."""

    def border(self, address: int) -> int:
        """A later address up to which the code at `address` holds."""

    def why(self, address: int) -> str:
        """The reason, in words."""

    def possible(self) -> frozenset[int]:
        """Codes (with marks) that some address may have; more than there are is allowed."""


class DirectTypeMap(TypeMap):
    """A TypeMap of a Source.

    Differences to a flattened map: `has` may answer True for a type that only overlaps hide,
    and `first_difference` compares `COMPARED` stretches at most, then answers the address that
    it reached as if it differed. Both err on the side that refuses.
    """

    _compared = COMPARED

    def __init__(
        self,
        source: Source,
        *,
        end: int,
        explain_registers: Callable[[int], str] | None = None,
    ) -> None:
        super().__init__(
            [0], [UNDEFINED], end=end, explain=source.why, explain_registers=explain_registers
        )
        self.source = source

    def at(self, address: int) -> str:
        """The type of one address."""
        return TYPE_OF_CODE[self._stretch_code(address) & ~MARK]

    def implementation_defined(self, address: int) -> bool:
        """Whether the manual leaves the type of `address` to the implementation."""
        return bool(self._stretch_code(address) & MARK)

    def has(self, type_name: str) -> bool:
        """Whether an address may have this type."""
        code = CODE_OF_TYPE.get(type_name, -1)

        return any(possible & ~MARK == code for possible in self.source.possible())

    def segments(self, lo: int = 0, hi: int | None = None) -> Iterator[Segment]:
        """The stretches of `[lo, hi)` in order, found one after the other."""
        return join_neighbours(super().segments(lo, hi), _join_segments)

    def _same_lists(self, other: TypeMap) -> bool:
        return False

    def _stretch_code(self, address: int) -> int:
        return self.source.code(address) if address < self.end else UNDEFINED

    def layer(self) -> tuple[list[int], list[int]]:
        """Raise TypeError: a direct map lists nothing."""
        raise TypeError("a direct map has no list of its stretches")

    def stretch(self, address: int) -> tuple[int, int]:
        """The code at `address` (with `MARK`), and a later address up to which it holds."""
        if address >= self.end:
            return UNDEFINED, _SPACE_END

        return self.source.code(address), min(self.source.border(address), self.end)

    def _make_resolver(self, count: int) -> Callable[[npt.NDArray[np.uint64], Codes], None]:
        import numpy as np

        def resolve(addresses: npt.NDArray[np.uint64], out: Codes) -> None:
            last = np.uint64(min(self.end, _SPACE_END) - 1)
            np.bitwise_and(self.source.codes(addresses), np.uint8(MARK - 1), out=out)
            out[addresses > last] = UNDEFINED

        return resolve


def _join_segments(last: Segment, it: Segment) -> Segment | None:
    is_alike = (last.type, last.implementation_defined) == (it.type, it.implementation_defined)

    return replace(last, end=it.end) if is_alike else None
