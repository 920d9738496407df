"""Faults of firmware in the range registers. They are reported and not corrected.

Source: Intel SDM vol. 3A section 12.11.4.1 (precedence of overlapping ranges).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Final, NamedTuple

from memhub.x86.registers import FIXED_END, TYPE_NAMES, UC, WB, WT, address_mask

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from memhub.x86.registers import MtrrRegisters

#: Address patterns: `(value, mask)` stands for every address with `address & mask == value`.
Pattern = tuple[int, int]

_DEFINED: Final = frozenset({WT, WB})


class Fault(NamedTuple):
    """One fault of firmware.

    Attributes:
        kind: a word to look for: `holes`, `zero-mask`, `misaligned`, `reserved-type`,
            `duplicate`, `overlap` or `disabled`.
        text: a sentence, with slot and values.
    """

    kind: str
    text: str


def find_faults(registers: MtrrRegisters) -> Iterator[str]:
    """The sentences of `name_faults`."""
    return (fault.text for fault in name_faults(registers))


def name_faults(registers: MtrrRegisters) -> Iterator[Fault]:
    """Name the faults of a register state.

    Args:
        registers: the decoded registers.

    Yields:
        masks with holes or of zero, bases that their mask does not cover, reserved types, equal
        slots, overlaps without a defined type.
    """
    if not registers.enabled:
        yield Fault(
            "disabled", "the ranges are disabled: all memory is uncacheable, and there are no slots"
        )

    if registers.default_type not in TYPE_NAMES:
        yield Fault(
            "reserved-type", f"default type {registers.default_type:#x} is a reserved encoding"
        )

    if registers.fixed_active:
        for byte in sorted({*registers.fixed_types} - {*TYPE_NAMES}):
            yield Fault("reserved-type", f"a fixed range has type {byte:#x}, a reserved encoding")

    for slot, pair in enumerate(registers.variable):
        if pair.valid:
            yield from _slot_faults(registers, slot)

    yield from _overlap_faults(registers)


def _slot_faults(registers: MtrrRegisters, slot: int) -> Iterator[Fault]:
    pair, bits = registers.variable[slot], address_mask(registers.phys_bits)
    base, mask = pair.base & ~0xFFF, pair.mask & ~0xFFF
    what = f"slot {slot} (base {base:#x}, mask {mask:#x})"
    if not mask:
        yield Fault("zero-mask", f"{what}: the mask is zero, so it matches every address")

    if holes := pair.holes(registers.phys_bits):
        why = f"bits {holes:#x} are ignored though lower ones count"
        yield Fault("holes", f"{what}: the mask has holes: {why}")

    if stray := base & ~mask & bits:
        why = f"its bits {stray:#x} are not in the mask"
        yield Fault("misaligned", f"{what}: the base is misaligned: {why}")

    if pair.type not in TYPE_NAMES:
        yield Fault("reserved-type", f"{what}: type {pair.type:#x} is a reserved encoding")


def _overlap_faults(registers: MtrrRegisters) -> Iterator[Fault]:
    pairs = registers.variable
    patterns = [_slot_pattern(registers, slot) for slot in range(len(pairs))]
    valid = [slot for slot, pair in enumerate(pairs) if pair.valid]
    defined = [patterns[slot] for slot in valid if pairs[slot].type == UC]
    if registers.fixed_active:
        defined.append((0, -FIXED_END & address_mask(registers.phys_bits)))

    search = _Search()
    for one, other in combinations(valid, 2):
        kinds = {pairs[one].type, pairs[other].type}
        if patterns[one] == patterns[other]:
            same = f"slots {one} and {other} are the same range {_show_slot(registers, one)}"
            yield Fault("duplicate", same)

        both = _meet_patterns(patterns[one], patterns[other])
        if both is None or len(kinds) == 1 or UC in kinds or kinds == _DEFINED:
            continue

        where = search.outside(both, defined)
        if where is not None:
            doubt = "no type" if search.left >= 0 else "perhaps no type (too many ranges to tell)"
            first, second = _show_slot(registers, one), _show_slot(registers, other)
            yield Fault(
                "overlap",
                f"slots {one} {first} and {other} {second} "
                f"overlap at {where:#x}: {doubt} is defined there",
            )


def _slot_pattern(registers: MtrrRegisters, slot: int) -> Pattern:
    pair = registers.variable[slot]
    mask = pair.mask & address_mask(registers.phys_bits)

    return (pair.base & mask, mask)


def _show_slot(registers: MtrrRegisters, slot: int) -> str:
    pair = registers.variable[slot]
    kind = TYPE_NAMES.get(pair.type, f"type {pair.type:#x}")

    return f"(base {pair.base & ~0xFFF:#x}, mask {pair.mask & ~0xFFF:#x}, {kind})"


def _meet_patterns(one: Pattern, other: Pattern) -> Pattern | None:
    if (one[0] ^ other[0]) & one[1] & other[1]:
        return None

    return (one[0] | other[0], one[1] | other[1])


@dataclass(slots=True)
class _Search:
    """Looks for an address that no defined range has; gives up after a number of steps.

    Whether ranges with holes cover an area together is a satisfiability question, which a hostile
    text could make arbitrarily long. Contiguous masks take a few steps.
    """

    left: int = 20_000

    def outside(self, area: Pattern, others: Sequence[Pattern]) -> int | None:
        """An address of `area` that no other pattern has, or None."""
        self.left -= 1
        met = [other for other in others if _meet_patterns(area, other) is not None]
        if not met or self.left < 0:
            return area[0]

        # The pattern with the fewest free bits splits best.
        nearest = min(met, key=lambda other: (other[1] & ~area[1]).bit_count())
        free = nearest[1] & ~area[1]
        if not free:
            return None

        # Split where it ends: the half outside it, then the half that it may cover.
        bit = 1 << (free.bit_length() - 1)
        value, mask = area
        for side in (~nearest[0] & bit, nearest[0] & bit):
            where = self.outside((value | side, mask | bit), met)
            if where is not None:
                return where

        return None
