"""The page attribute table: palettes, IA32_PAT, and PAT types over MTRR types.

Sources: Intel SDM vol. 3A section 12.12 (PAT) and table 11-7 (effective page-level memory
types); FreeBSD `sys/amd64/amd64/pmap.c` pmap_init_pat and Linux `pat_init` for the palettes.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from memhub.core.effective.directmap import DirectTypeMap
from memhub.core.effective.layers import flatten, product
from memhub.core.effective.typemap import CODE_OF_TYPE, MARK, TYPE_OF_CODE, TypeMap

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from memhub.core.effective.typemap import Codes

ENTRIES: Final = 8

#: PAT entry byte to name; 2, 3 and everything above 7 are reserved.
PAT_NAMES: Final[Mapping[int, str]] = {0: "UC", 1: "WC", 4: "WT", 5: "WP", 6: "WB", 7: "UC-"}
#: The same, name to byte.
PAT_BYTES: Final[Mapping[str, int]] = {name: byte for byte, name in PAT_NAMES.items()}

#: The columns of `_TABLE`.
_COLUMNS: Final = ("UC", "WC", "WT", "WP", "WB")

#: SDM table 11-7: a row for each PAT type, a column for each MTRR type; `*` marks the cells that
#: the manual leaves to the implementation.
_TABLE: Final[Mapping[str, tuple[str, ...]]] = {
    "UC": ("UC", "UC", "UC", "UC", "UC"),
    "UC-": ("UC", "WC", "UC", "WC*", "UC"),
    "WC": ("WC", "WC", "WC", "WC", "WC"),
    "WT": ("UC", "UC*", "WT", "WT*", "WT"),
    "WP": ("UC", "UC*", "WP*", "WP", "WP"),
    "WB": ("UC", "WC", "WT", "WP", "WB"),
}


def combine(pat: str, mtrr: str) -> tuple[str, bool]:
    """The effective type of a page of PAT type `pat` over memory of MTRR type `mtrr`.

    Args:
        pat: `UC`, `WC`, `WT`, `WP`, `WB` or `UC-`.
        mtrr: one of `TYPE_OF_CODE`. PAT UC and WC hold over anything; under every other PAT
            type `reserved` and `undefined` stay what they are.

    Returns:
        the type, and whether the manual leaves it to the implementation.

    Raises:
        KeyError: `pat` is not a PAT type.
        ValueError: `mtrr` is not a type.
    """
    row = _TABLE[pat]
    if mtrr in _COLUMNS:
        cell = row[_COLUMNS.index(mtrr)]

        return cell.rstrip("*"), cell.endswith("*")

    if mtrr not in CODE_OF_TYPE:
        raise ValueError(f"MTRR type {mtrr!r} is not one of {', '.join(TYPE_OF_CODE)}")

    return (pat if pat in ("UC", "WC") else mtrr), False


def _type_code(pat: str, mtrr: str) -> int:
    name, marked = combine(pat, mtrr)

    return CODE_OF_TYPE[name] | (MARK if marked else 0)


#: PAT byte to the codes (with marks) over each code of the MTRRs.
_CODES: Final[Mapping[int, bytes]] = {
    byte: bytes(_type_code(name, mtrr) for mtrr in TYPE_OF_CODE) for byte, name in PAT_NAMES.items()
}


@dataclass(frozen=True, slots=True)
class Palette:
    """The eight entries PA0 to PA7.

    Attributes:
        entries: eight PAT bytes.

    Raises:
        ValueError: not eight entries, or a reserved one.
    """

    entries: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.entries) != ENTRIES:
            raise ValueError(f"a palette has {ENTRIES} entries, not {len(self.entries)}")

        for index, byte in enumerate(self.entries):
            if byte not in PAT_NAMES:
                raise ValueError(f"PA{index} holds the reserved type {byte:#x}")

    @classmethod
    def of(cls, names: Sequence[str]) -> Palette:
        """Make a palette of eight names.

        Raises:
            ValueError: not eight, or a name that is not a PAT type.
        """
        for index, name in enumerate(names):
            if name not in PAT_BYTES:
                raise ValueError(f"PA{index} is {name!r}, not one of {', '.join(PAT_BYTES)}")

        return cls(tuple(PAT_BYTES[name] for name in names))

    @classmethod
    def decode(cls, msr: int) -> Palette:
        """Read IA32_PAT (0x277), PA0 in the lowest byte.

        Raises:
            ValueError: an entry is reserved, or the value is wider than 64 bits.
        """
        if not 0 <= msr < 1 << 64:
            raise ValueError(f"IA32_PAT {msr:#x} does not fit 64 bits")

        return cls(tuple(msr.to_bytes(ENTRIES, "little")))

    def encode(self) -> int:
        """The value of IA32_PAT (0x277)."""
        return int.from_bytes(bytes(self.entries), "little")

    @property
    def names(self) -> tuple[str, ...]:
        """The entries by name, PA0 first."""
        return tuple(PAT_NAMES[byte] for byte in self.entries)

    def __contains__(self, name: str) -> bool:
        return PAT_BYTES.get(name) in self.entries


#: Palettes by name.
PALETTES: Final[Mapping[str, Palette]] = {
    "power-on": Palette.of(("WB", "WT", "UC-", "UC", "WB", "WT", "UC-", "UC")),
    "freebsd": Palette.of(("WB", "WT", "UC-", "UC", "WB", "WP", "WC", "UC")),
    "linux": Palette.of(("WB", "WC", "UC-", "UC", "WB", "WP", "UC-", "WT")),
}


def types_from_pat(
    under: TypeMap, default: str, ranges: Iterable[tuple[int, int, str, str]]
) -> TypeMap:
    """Lay page attributes over a map of MTRR types.

    Args:
        under: the types of the MTRRs alone.
        default: the PAT type of a page that no range covers (PA0).
        ranges: `(base, end, PAT type, label)`, the end exclusive; where ranges overlap the
            earlier wins. The label names the range in `why`, for example `slot 3`.

    Returns:
        the effective types, of the same address space as `under`.

    Raises:
        KeyError: a name that is not a PAT type.
    """
    rules = _PatRules(under, default, ranges)
    if isinstance(under, DirectTypeMap):
        return DirectTypeMap(rules, end=under.end)

    starts, codes = product(rules.layer, under.layer(), lambda row, code: row[0][code & ~MARK])

    return TypeMap(starts, codes, end=under.end, explain=rules.why)


class _PatRules:
    """PAT over MTRR, address by address; a `directmap.Source`."""

    def __init__(
        self, under: TypeMap, default: str, ranges: Iterable[tuple[int, int, str, str]]
    ) -> None:
        self._under = under
        rows = {name: _CODES[byte] for name, byte in PAT_BYTES.items()}
        self._starts, self._values = self.layer = flatten(
            [(base, end, (rows[pat], pat, label)) for base, end, pat, label in ranges],
            (rows[default], default, "PA0, no range matches"),
        )

    def _pat_value(self, address: int) -> tuple[bytes, str, str]:
        return self._values[bisect_right(self._starts, address) - 1]

    def code(self, address: int) -> int:
        return self._pat_value(address)[0][CODE_OF_TYPE[self._under.at(address)]]

    def codes(self, addresses: npt.NDArray[np.uint64]) -> Codes:
        import numpy as np

        table: Any = np.frombuffer(b"".join(row for row, _, _ in self._values), dtype=np.uint8)
        starts = np.array(self._starts, dtype=np.uint64)
        index = np.searchsorted(starts, addresses, side="right") - 1

        return table.reshape(len(starts), -1)[index, self._under.of(addresses)]  # type: ignore[no-any-return]

    def border(self, address: int) -> int:
        index = bisect_right(self._starts, address)
        inner = self._under.stretch(address)[1]

        return min(inner, self._starts[index]) if index < len(self._starts) else inner

    def why(self, address: int) -> str:
        _, pat, label = self._pat_value(address)
        mtrr = self._under.at(address)
        name, marked = combine(pat, mtrr)
        mark = ", implementation-defined" if marked else ""

        return (
            f"PAT {pat} ({label}) over MTRR {mtrr}: {name} (SDM table 11-7{mark}); "
            f"MTRR: {self._under.why(address)}"
        )

    def possible(self) -> frozenset[int]:
        present = [name for name in TYPE_OF_CODE if self._under.has(name)]

        return frozenset(row[CODE_OF_TYPE[name]] for row, _, _ in self._values for name in present)
