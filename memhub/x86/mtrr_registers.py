"""The registers of one CPU among several: what it stores, what it has after power-on, whether it
is in step with another.

Sources: FreeBSD `sys/x86/x86/x86_mem.c` (x86_mrstoreone); Intel SDM vol. 3A section 12.11.5 (MTRR
initialization); Linux `arch/x86/kernel/cpu/mtrr/generic.c` (set_mtrr_state, mtrr_state_warn: the
three kinds of "inconsistent settings").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.abi import U64_MAX
from memhub.x86.mtrr_codec import MtrrCodec, not_busy
from memhub.x86.registers import (
    DEF_TYPE_ENABLE,
    FIXED_MSRS,
    MASK_VALID,
    MAX_VARIABLE,
    MSR_MTRR_DEF_TYPE,
    MSR_MTRR_VARIABLE_BASE,
    MSR_MTRRCAP,
    MSR_PAT,
    VARIABLE_MSRS,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from memhub.core.drivers.driver import RangeState

#: IA32_PAT after power-on (SDM vol. 3A table 12-12).
PAT_POWER_ON: Final = 0x0007040600070406

_VARIABLE: Final = range(MSR_MTRR_VARIABLE_BASE, MSR_MTRR_VARIABLE_BASE + 2 * MAX_VARIABLE)
_FIXED: Final = frozenset(FIXED_MSRS)


def store_one(codec: MtrrCodec, state: RangeState, fixed: int) -> dict[int, int]:
    """The registers that become different where a CPU stores the whole table.

    Args:
        codec: writes descriptors into registers.
        state: the table, and the registers of the CPU.
        fixed: how many slots are fixed ranges.
    """
    msrs = codec.store([not_busy(row) for row in state.slots], fixed, state.msrs)
    default = state.msrs.get(MSR_MTRR_DEF_TYPE, 0)
    if state.slots and not default & DEF_TYPE_ENABLE:
        msrs[MSR_MTRR_DEF_TYPE] = default | DEF_TYPE_ENABLE

    return msrs


def power_on(attached: Mapping[int, int]) -> dict[int, int]:
    """The registers after power-on: MTRRcap cannot be written, PAT has its own value."""
    found = {MSR_MTRRCAP: attached[MSR_MTRRCAP]} if MSR_MTRRCAP in attached else {}

    return {**found, MSR_PAT: PAT_POWER_ON} if MSR_PAT in attached else found


def registers_of_slot(slot: int, fixed: int) -> Iterable[tuple[int, int]]:
    """The registers that hold a slot, each with its bits.

    Args:
        slot: the slot.
        fixed: how many slots are fixed ranges.
    """
    if slot < fixed:
        return ((FIXED_MSRS[slot >> 3], 0xFF << 8 * (slot & 7)),)

    base = VARIABLE_MSRS[slot - fixed]

    return ((base, U64_MAX), (base + 1, U64_MAX))


def compare_registers(mine: Mapping[int, int], other: Mapping[int, int]) -> dict[int, str]:
    """The registers in which two CPUs differ so that it matters, each with its kind.

    Args:
        mine: the registers of one.
        other: those of the other.
    """
    found: dict[int, str] = {}
    for number in sorted({**mine, **other}):
        if mine.get(number, 0) == other.get(number, 0):
            continue

        if number in _VARIABLE:
            mask = number | 1
            if (mine.get(mask, 0) | other.get(mask, 0)) & MASK_VALID:
                found[number] = "variable MTRR"
        elif number in _FIXED:
            found[number] = "fixed MTRR"
        else:
            found[number] = "MTRRdefType" if number == MSR_MTRR_DEF_TYPE else "register"

    return found
