"""The registers that an ordinary PC's firmware leaves, where nobody says what a machine's did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.x86.registers import (
    FIXED_RANGES,
    UC,
    WB,
    WP,
    MtrrRegisters,
    VariableMtrr,
    variable_mtrr,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from memhub.core.drivers.driver import Cpu

#: Variable ranges of an ordinary CPU.
SLOTS: Final = 8

#: Ranges that stay free for operating systems, as Intel asks of firmware.
_LEFT_FREE: Final = 2

#: Smaller pieces are left uncacheable rather than take a range each.
_SMALLEST: Final = 1 << 20

#: Below 1 MiB: RAM, then the window of the graphics card, then ROM.
_FIXED_TYPES: Final = bytes(
    WB if base < 0xA0000 else UC if base < 0xC0000 else WP for base, _ in FIXED_RANGES
)


def ordinary_registers(cpu: Cpu, ram: Iterable[tuple[int, int]]) -> Mapping[int, int]:
    """MTRRs as an ordinary firmware sets them: uncacheable by default, RAM write-back.

    Args:
        cpu: the processor.
        ram: first byte and end of each stretch of RAM.

    Returns:
        registers by number; none where the CPU has no MTRRs. RAM for which the ranges do not
        suffice stays uncacheable, as it does on real machines.
    """
    if not cpu.mtrr:
        return {}

    blocks = [it for span in ram for it in _cut_blocks(*span)]
    pairs = [variable_mtrr(*it, WB, cpu.phys_bits) for it in blocks[: SLOTS - _LEFT_FREE]]
    free = [VariableMtrr()] * (SLOTS - len(pairs))

    return MtrrRegisters(
        phys_bits=cpu.phys_bits, fixed_types=_FIXED_TYPES, variable=(*pairs, *free)
    ).encode()


def _cut_blocks(base: int, end: int) -> Iterator[tuple[int, int]]:
    """The largest aligned powers of two that cover a stretch; from 0 on where it is of 1 MiB."""
    base = 0 if base <= 0x100000 < end else base
    while end - base >= _SMALLEST:
        length = 1 << ((end - base).bit_length() - 1)
        if base:
            length = min(length, base & -base)

        if length >= _SMALLEST:
            yield base, length

        base += length
