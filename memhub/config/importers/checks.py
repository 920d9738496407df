"""Checks of every import, whatever its format: RAM that is slow, processors that differ."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from memhub.x86.registers import UC, WB

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from memhub.core.spec import Region
    from memhub.x86.registers import MtrrRegisters, VariableMtrr

#: An address that is RAM on every PC, and that no fixed range decides.
_LOW_RAM: Final = 0x100000
_MIB: Final = 1 << 20

#: Linux's and Xen's messages (`mtrr_state_warn`).
_INCONSISTENT: Final = re.compile(
    r"your CPUs had inconsistent (fixed MTRR|variable MTRR|MTRRdefType) settings", re.I
)


def find_differences(lines: Iterable[str]) -> Iterator[str]:
    """A sentence for each difference between processors that a kernel reports."""
    seen: dict[str, None] = {}
    for line in lines:
        if match := _INCONSISTENT.search(line):
            seen[match[1]] = None

    for what in seen:
        yield f"the CPUs differ: the kernel found inconsistent {what} settings on them"


def find_slow_memory(
    memory: Sequence[Region], registers: MtrrRegisters, tom2: int
) -> Iterator[str]:
    """Say how much of the RAM is not write-back, if any is.

    Args:
        memory: the memory map; without one nothing is reported.
        registers: the registers.
        tom2: see `Cpu.tom2`.
    """
    from memhub.x86.mtrr_types import types_from_mtrrs

    types = types_from_mtrrs(registers.encode(), registers.phys_bits, tom2=tom2)
    slow, first = 0, 0
    kinds: dict[str, None] = {}
    for region in memory:
        if region.kind != "ram":
            continue

        for segment in types.segments(region.base, region.base + region.length):
            if segment.type != "WB":
                first = first if slow else segment.base
                slow += segment.end - segment.base
                kinds[segment.type] = None

    if slow:
        found = ", ".join(kinds)
        yield f"{_show_size(slow)} of RAM are not write-back ({found} from {first:#x} on)"


def settle_default(
    pairs: Iterable[VariableMtrr], phys_bits: int, oddities: list[str], beside: str = ""
) -> int:
    """The default type of registers whose text does not tell it.

    Where no range covers the RAM above 1 MiB, the default type covers it. That is write-back: such
    firmware only marks the exceptions.

    Args:
        pairs: the variable ranges.
        phys_bits: physical address width.
        oddities: receives what is assumed.
        beside: what else had to be assumed, to be named in the same sentence.

    Returns:
        the type byte.
    """
    covered = any(pair.matches(_LOW_RAM, phys_bits) for pair in pairs)
    word = "uncacheable" if covered else "write-back"
    why = "the text does not tell it" if covered else "no range covers the RAM from 1 MiB on"
    oddities.append(f"assumed: default type {word} ({why}){beside}")

    return UC if covered else WB


def _show_size(count: int) -> str:
    if count % _MIB and count < 10 * _MIB:
        return f"{count / _MIB:.2f} MiB"

    return f"{count // _MIB} MiB"
