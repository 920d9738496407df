"""Which memory type the MTRRs alone give an address, and which register decided.

Source: Intel SDM vol. 3A sections 12.11.2 and 12.11.4.1 (MTRR precedences). The capability bit
for fixed ranges plays no part: with the FE bit set the fixed types count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.core.effective.directmap import DirectTypeMap
from memhub.core.effective.layers import blocks, matching, next_border
from memhub.core.effective.typemap import CODE_OF_TYPE, RESERVED, UNDEFINED, TypeMap
from memhub.x86.registers import (
    FIXED_COUNT,
    FIXED_END,
    FIXED_RANGES,
    TOM2_BASE,
    TYPE_NAMES,
    UC,
    WB,
    WT,
    MtrrRegisters,
    address_mask,
    fixed_index,
    tom2_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from memhub.core.effective.typemap import Codes

#: Blocks that the masks of one state may match, together, for its map to be flattened.
FLATTENED: Final = 1 << 10

#: Type byte to code.
_CODE_OF_BYTE: Final = bytes(
    CODE_OF_TYPE[TYPE_NAMES[byte]] if byte in TYPE_NAMES else RESERVED for byte in range(256)
)
_FIXED_STARTS: Final = tuple(base for base, _ in FIXED_RANGES)


def types_from_mtrrs(
    msrs: Mapping[int, int],
    phys_bits: int,
    *,
    first_variable_slot: int | None = None,
    in_slots: bool = True,
    tom2: int = 0,
) -> TypeMap:
    """Resolve a register state.

    MTRRs disabled: UC. Below 1 MiB with fixed ranges enabled: the fixed type. Else the valid
    variable pairs that match: none, the default type, or WB from 4 GiB to TOM2; all of one type,
    that; any UC, UC; WT and WB, WT; anything else undefined. A reserved type byte that decides
    gives `reserved`.

    Args:
        msrs: registers by number; one that is absent reads as zero.
        phys_bits: physical address width; the map ends there.
        first_variable_slot: the slot of the first variable pair, for the words of `why`; None
            numbers as FreeBSD does (88 with fixed ranges, else 0).
        in_slots: False where the registers are not slots of the architecture's table: `why`
            then names registers.
        tom2: AMD: end of the memory from 4 GiB on that is WB where no pair matches; 0 takes what
            the registers say, which is none where they are absent.

    Returns:
        the map; a DirectTypeMap if masks with holes match more than `FLATTENED` blocks.
    """
    rules = MtrrRules(
        MtrrRegisters.decode(msrs, phys_bits),
        first_variable_slot=first_variable_slot,
        in_slots=in_slots,
        tom2=tom2 or tom2_of(msrs),
    )

    return rules.flattened() or DirectTypeMap(
        rules, end=1 << phys_bits, explain_registers=rules.why_registers
    )


class MtrrRules:
    """The resolution rules over one register state; a `directmap.Source`."""

    def __init__(
        self,
        registers: MtrrRegisters,
        *,
        first_variable_slot: int | None,
        in_slots: bool,
        tom2: int = 0,
    ) -> None:
        self._registers = registers
        self._in_slots = in_slots
        self._first_slot = first_variable_slot
        bits = address_mask(registers.phys_bits)
        self._pairs = [
            (pair.base & pair.mask & bits, pair.mask & bits, index, pair.type)
            for index, pair in enumerate(registers.variable)
            if pair.valid
        ]
        self._memo: dict[int, int] = {}
        #: Where the default is WB; the bit after the pairs' stands for it among what matches.
        self._tom2 = tom2 if tom2 > TOM2_BASE else 0
        self._tom2_bit = 1 << len(self._pairs) if self._tom2 else 0

    def flattened(self) -> TypeMap | None:
        """The listed map, or None if there are too many stretches to list."""
        end = 1 << self._registers.phys_bits
        if not self._registers.enabled:
            return TypeMap([0], [CODE_OF_TYPE["UC"]], end=end, explain=self.why)

        toggles = self._find_toggles()
        if toggles is None:
            return None

        starts, codes = self._sweep_borders(toggles)

        return TypeMap(
            starts, codes, end=end, explain=self.why, explain_registers=self.why_registers
        )

    def code(self, address: int) -> int:
        """The code of one address."""
        registers = self._registers
        if not registers.enabled:
            return CODE_OF_TYPE["UC"]

        if address < FIXED_END and registers.fixed_enabled:
            return _CODE_OF_BYTE[registers.fixed_types[fixed_index(address)]]

        return self._overlap_code(self._active_pairs(address))

    def codes(self, addresses: npt.NDArray[np.uint64]) -> Codes:
        """The codes of many addresses."""
        import numpy as np

        registers = self._registers
        if not registers.enabled:
            return np.full(addresses.shape, CODE_OF_TYPE["UC"], dtype=np.uint8)

        active = np.zeros(addresses.shape, dtype=np.uint64)
        for bit, (value, mask, _, _) in enumerate(self._pairs):
            hit = (addresses & np.uint64(mask)) == np.uint64(value)
            active |= hit.astype(np.uint64) << np.uint64(bit)

        if self._tom2:
            high = (addresses >= np.uint64(TOM2_BASE)) & (addresses < np.uint64(self._tom2))
            active[high] |= np.uint64(self._tom2_bit)

        seen, index = np.unique(active, return_inverse=True)
        codes = np.array([self._overlap_code(int(each)) for each in seen], dtype=np.uint8)[index]
        if registers.fixed_enabled:
            low = addresses < np.uint64(FIXED_END)
            codes[low] = [self.code(int(address)) for address in addresses[low]]

        return codes.reshape(addresses.shape)

    def border(self, address: int) -> int:
        """A later address up to which the type at `address` holds."""
        registers = self._registers
        end = 1 << registers.phys_bits
        if not registers.enabled:
            return end

        if address < FIXED_END and registers.fixed_enabled:
            base, length = FIXED_RANGES[fixed_index(address)]

            return base + length

        edges = [edge for edge in (TOM2_BASE, self._tom2) if self._tom2 and edge > address]
        borders = (
            next_border(address, value, mask, registers.phys_bits)
            for value, mask, *_ in self._pairs
        )

        return min([*borders, *edges], default=end)

    def possible(self) -> frozenset[int]:
        """Codes that some address may have."""
        registers = self._registers
        if not registers.enabled:
            return frozenset({CODE_OF_TYPE["UC"]})

        own = [_CODE_OF_BYTE[kind] for *_, kind in self._pairs]
        fixed = registers.fixed_types if registers.fixed_enabled else b""
        undefined = [UNDEFINED] if len(set(own)) > 1 else []

        return frozenset(
            [
                _CODE_OF_BYTE[registers.default_type],
                *([CODE_OF_TYPE["WB"]] if self._tom2 else ()),
                *own,
                *undefined,
                *(_CODE_OF_BYTE[t] for t in fixed),
            ]
        )

    def why(self, address: int) -> str:
        """Which register decides `address`, as a slot where it is one."""
        return self._why(address, in_slots=self._in_slots)

    def why_registers(self, address: int) -> str:
        """Which register decides `address`."""
        return self._why(address, in_slots=False)

    def _why(self, address: int, *, in_slots: bool) -> str:
        registers = self._registers
        if not registers.enabled:
            return "MTRRs disabled: all memory is UC"

        if address < FIXED_END and registers.fixed_enabled:
            return self._why_fixed(fixed_index(address), in_slots=in_slots)

        active = self._active_pairs(address)
        matches = [pair for bit, pair in enumerate(self._pairs) if active >> bit & 1]
        if not matches and active:
            return f"no range matches: WB from 4 GiB to TOM2 ({self._tom2:#x})"

        if not matches:
            return f"no range matches: default type {_type_name(registers.default_type)}"

        first = self._first_variable_slot() if in_slots else 0
        noun = "slot" if in_slots else "MTRR"

        return _why_variable(noun, [(index + first, kind) for _, _, index, kind in matches])

    def _why_fixed(self, index: int, *, in_slots: bool) -> str:
        base, length = FIXED_RANGES[index]
        kind = self._registers.fixed_types[index]
        slot = f" (slot {index})" if in_slots and self._registers.fixed_active else ""
        reserved = (
            f": reserved type {kind:#x}" if kind not in TYPE_NAMES else f": {TYPE_NAMES[kind]}"
        )

        return f"fixed range {base:#x}-{base + length - 1:#x}{slot}{reserved}"

    def _first_variable_slot(self) -> int:
        if self._first_slot is not None:
            return self._first_slot

        return FIXED_COUNT if self._registers.fixed_active else 0

    def _active_pairs(self, address: int) -> int:
        """The matching pairs, as one bit each."""
        active = 0
        for bit, (value, mask, _, _) in enumerate(self._pairs):
            if address & mask == value:
                active |= 1 << bit

        return active | (self._tom2_bit if TOM2_BASE <= address < self._tom2 else 0)

    def _overlap_code(self, active: int) -> int:
        """The code where exactly these pairs match."""
        code = self._memo.get(active)
        if code is None:
            kinds = {pair[3] for bit, pair in enumerate(self._pairs) if active >> bit & 1}
            default = WB if active & self._tom2_bit else self._registers.default_type
            code = self._memo[active] = _resolve_types(kinds, default)

        return code

    def _find_toggles(self) -> dict[int, int] | None:
        """Border to the pairs that start or stop to match there, as one bit each."""
        bits = self._registers.phys_bits
        if sum(blocks(value, mask, bits)[0] for value, mask, *_ in self._pairs) > FLATTENED:
            return None

        toggles: dict[int, int] = {}
        for number, (value, mask, _, _) in enumerate(self._pairs):
            bit = 1 << number
            length = blocks(value, mask, bits)[1]
            for first in matching(value, mask, bits):
                toggles[first] = toggles.get(first, 0) ^ bit
                toggles[first + length] = toggles.get(first + length, 0) ^ bit

        if self._tom2:
            for edge in (TOM2_BASE, self._tom2):
                toggles[edge] = toggles.get(edge, 0) ^ self._tom2_bit

        return toggles

    def _sweep_borders(self, toggles: dict[int, int]) -> tuple[list[int], list[int]]:
        """Walk the borders in order, with the set of matching pairs in hand."""
        low = FIXED_END if self._registers.fixed_enabled else 0
        active = 0
        for border, change in toggles.items():
            if border <= low:
                active ^= change

        starts, codes = [low], [self._overlap_code(active)]
        for border in sorted(toggles):
            if border > low:
                active ^= toggles[border]
                starts.append(border)
                codes.append(self._overlap_code(active))

        if low:
            starts[:0] = _FIXED_STARTS
            codes[:0] = self._registers.fixed_types.translate(_CODE_OF_BYTE)

        return starts, codes


def _resolve_types(kinds: set[int], default: int) -> int:
    """The code that matching type bytes give together."""
    if not kinds:
        return _CODE_OF_BYTE[default]

    if len(kinds) == 1:
        return _CODE_OF_BYTE[min(kinds)]

    if UC in kinds:
        return CODE_OF_TYPE["UC"]

    return CODE_OF_TYPE["WT"] if kinds == {WT, WB} else UNDEFINED


def _why_variable(noun: str, matches: Sequence[tuple[int, int]]) -> str:
    """The numbers and types of the pairs that match, and which wins."""
    named = [f"{number} ({_type_name(kind)})" for number, kind in matches]
    if len(named) == 1:
        return f"variable {noun} {named[0]}"

    listed = f"variable {noun}s {', '.join(named[:-1])} and {named[-1]}"

    return f"{listed}: {_describe_verdict({kind for _, kind in matches})}"


def _describe_verdict(kinds: set[int]) -> str:
    if len(kinds) == 1:
        return "same type"

    if UC in kinds:
        return "UC wins"

    return "WT wins" if kinds == {WT, WB} else "the architecture leaves this overlap undefined"


def _type_name(kind: int) -> str:
    return TYPE_NAMES.get(kind, f"reserved type {kind:#x}")
