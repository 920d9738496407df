"""Effective memory types: which type an address has, and why.

A TypeMap is the flattened form of some registers or tables: borders and one code per stretch.
Where a register state has too many stretches to list (masks with holes), `directmap` has
the same face and evaluates the registers instead.

The codes are the MTRR type bytes; the two values that are reserved there (2, 3) say `reserved`
(a reserved encoding decides) and `undefined` (the architecture leaves the overlap undefined).
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from memhub.core.effective.layers import flatten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import numpy as np
    import numpy.typing as npt

    from memhub.core.effective.lookup import Lookup

    Codes = npt.NDArray[np.uint8]

#: Code to name, by index.
TYPE_OF_CODE: Final = ("UC", "WC", "reserved", "undefined", "WT", "WP", "WB")
CODE_OF_TYPE: Final[Mapping[str, int]] = {name: code for code, name in enumerate(TYPE_OF_CODE)}
RESERVED: Final = CODE_OF_TYPE["reserved"]
UNDEFINED: Final = CODE_OF_TYPE["undefined"]

#: Added to a code where the value is one that the manual leaves to the implementation.
MARK: Final = 0x80
_NAMES: Final = {mark | code: name for mark in (0, MARK) for code, name in enumerate(TYPE_OF_CODE)}

_SPACE_END: Final = 1 << 64


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch of one type.

    Attributes:
        base: first byte.
        end: one past the last byte.
        type: `UC`, `WC`, `WT`, `WP`, `WB`, `undefined` or `reserved`.
        implementation_defined: whether the manual leaves this value to the implementation.
    """

    base: int
    end: int
    type: str
    implementation_defined: bool = False


@dataclass(frozen=True, slots=True)
class TypeAnswer:
    """The type of one address, with its reason; fields as in `Segment` and `TypeMap.why`."""

    type: str
    why: str
    implementation_defined: bool = False


class TypeMap:
    """The effective type of every address of a space.

    Addresses at or past `end` (bits that the CPU has not) are `undefined`. A map never changes.

    Args:
        starts: first address of each stretch, ascending from 0.
        codes: the code of each stretch, with `MARK` where it is implementation-defined.
        end: one past the last address of the space.
        explain: gives the reason for one address below `end`; called on demand.
        explain_registers: as `explain`, but numbers the processor's registers in place of slots;
            None where `explain` names no slots that are registers.

    Raises:
        ValueError: the starts do not ascend from 0.
        KeyError: a code that is none.
    """

    #: Stretches that `first_difference` compares at most; here, all of them.
    _compared = 1 << 62

    def __init__(
        self,
        starts: Iterable[int],
        codes: Iterable[int],
        *,
        end: int = _SPACE_END,
        explain: Callable[[int], str],
        explain_registers: Callable[[int], str] | None = None,
    ) -> None:
        self.end = end
        self._explain = explain
        self._explain_registers = explain_registers or explain
        self._bounds, self._codes = _merge_equal(starts, codes, end)
        self._names = [_NAMES[code] for code in self._codes]
        self._lookup: Lookup | None = None

    @classmethod
    def from_ranges(
        cls, default: str, rows: Iterable[tuple[int, int, str, str]], *, end: int = _SPACE_END
    ) -> TypeMap:
        """Make the map of an architecture whose ranges simply hold.

        Args:
            default: the type where no row holds.
            rows: `(base, end, type, why)`, the end exclusive; where rows overlap the earlier
                wins. What lies at or past `end` is cut off.
            end: one past the last address of the space.

        Returns:
            the map; `why` answers the deciding row's words.

        Raises:
            ValueError: a type that is none of `TYPE_OF_CODE`, or a row below address 0.
        """
        kept = list(rows)
        for base, _, name, _ in kept:
            if base < 0 or name not in CODE_OF_TYPE:
                raise ValueError(f"range at {base:#x} of type {name!r} has no place in a type map")

        if default not in CODE_OF_TYPE:
            raise ValueError(f"default type {default!r} is not one of {', '.join(TYPE_OF_CODE)}")

        last = (default, f"no range matches: default type {default}")
        pieces = [(base, stop, (name, why)) for base, stop, name, why in kept]
        starts, values = flatten(pieces, last)

        return cls(
            starts,
            [CODE_OF_TYPE[name] for name, _ in values],
            end=end,
            explain=lambda address: values[bisect_right(starts, address) - 1][1],
        )

    def at(self, address: int) -> str:
        """The type of one address."""
        return self._names[bisect_right(self._bounds, address)]

    def implementation_defined(self, address: int) -> bool:
        """Whether the manual leaves the type of `address` to the implementation."""
        return bool(self._codes[bisect_right(self._bounds, address)] & MARK)

    def why(self, address: int, *, registers: bool = False) -> str:
        """What decided the type of `address`, in words a person can act on.

        Args:
            address: physical.
            registers: whether to number registers in place of slots.
        """
        if address >= self.end:
            return f"{address:#x} is past the end of the address space ({self.end:#x})"

        return (self._explain_registers if registers else self._explain)(address)

    def lookup(self, address: int, *, registers: bool = False) -> TypeAnswer:
        """The type of `address`, its reason, which is as of `why`, and its mark."""
        why = self.why(address, registers=registers)

        return TypeAnswer(self.at(address), why, self.implementation_defined(address))

    def of(self, addresses: npt.ArrayLike) -> Codes:
        """The types of many addresses.

        Args:
            addresses: unsigned 64-bit addresses, of any shape.

        Returns:
            codes (indexes into `TYPE_OF_CODE`), of the same shape.
        """
        from memhub.core.effective.lookup import resolve_chunks

        return resolve_chunks(addresses, self._make_resolver)

    def segments(self, lo: int = 0, hi: int | None = None) -> Iterator[Segment]:
        """The stretches of `[lo, hi)` in order, neighbours of one type merged.

        Args:
            lo: first byte.
            hi: one past the last byte; the end of the address space if None or past it.
        """
        stop = self.end if hi is None else min(hi, self.end)
        while lo < stop:
            code, border = self.stretch(lo)
            end = min(border, stop)

            yield Segment(lo, end, _NAMES[code], bool(code & MARK))

            lo = end

    def first_difference(self, other: TypeMap, lo: int = 0, hi: int = _SPACE_END) -> int | None:
        """The first address of `[lo, hi)` whose type differs in `other`; None if none does.

        Implementation-defined marks do not count as a difference.
        """
        if self is other or (self._same_lists(other) and other._same_lists(self)):
            return None

        for _ in range(min(self._compared, other._compared)):
            if lo >= hi:
                return None

            code, end = self.stretch(lo)
            other_code, other_end = other.stretch(lo)
            if (code ^ other_code) & ~MARK:
                return lo

            lo = end if end < other_end else other_end

        return lo

    def has(self, type_name: str) -> bool:
        """Whether any address of the space has this type."""
        return type_name in self._names[: bisect_right(self._bounds, self.end - 1) + 1]

    def layer(self) -> tuple[list[int], list[int]]:
        """Starts and codes (with `MARK`) of the stretches, for `layers.product`."""
        return [0, *self._bounds], self._codes

    def _same_lists(self, other: TypeMap) -> bool:
        return self._bounds == other._bounds and self._names == other._names

    def stretch(self, address: int) -> tuple[int, int]:
        """The code at `address` (with `MARK`), and a later address up to which it holds."""
        index = bisect_right(self._bounds, address)
        end = self._bounds[index] if index < len(self._bounds) else _SPACE_END

        return self._codes[index], end

    def _make_resolver(self, count: int) -> Callable[[npt.NDArray[np.uint64], Codes], Any]:
        from memhub.core.effective.lookup import Lookup

        if self._lookup is None:
            plain = [code & ~MARK for code in self._codes]
            self._lookup = Lookup(self._bounds, plain, self.end)

        return self._lookup.make_resolver(count)


def _merge_equal(
    starts: Iterable[int], codes: Iterable[int], end: int
) -> tuple[list[int], list[int]]:
    """Inner borders and codes, without borders between equals; past `end` is undefined."""
    bounds: list[int] = []
    kept: list[int] = []
    last = before = -1
    for start, code in zip(starts, codes, strict=True):
        if start <= before or (start and before < 0):
            raise ValueError(f"a stretch starts at {start:#x}: stretches ascend from 0")

        before = start
        if code != last and start < end:
            bounds.append(start)
            kept.append(code)
            last = code

    if end < _SPACE_END and last != UNDEFINED:
        bounds.append(end)
        kept.append(UNDEFINED)

    return bounds[1:], kept
