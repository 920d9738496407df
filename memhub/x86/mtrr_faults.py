"""Why a CPU faults (#GP) where a register that decides memory types is written.

Sources: Intel SDM vol. 3A sections 12.11.2 (reserved bits and types of the MTRRs) and 12.12.2
(IA32_PAT); Linux `arch/x86/kernel/cpu/mtrr/generic.c` takes the same bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.abi import U64_MAX
from memhub.x86.pat import PAT_NAMES
from memhub.x86.registers import (
    DEF_TYPE_ENABLE,
    DEF_TYPE_FIXED_ENABLE,
    FIXED_MSRS,
    MASK_VALID,
    MSR_MTRR_DEF_TYPE,
    MSR_MTRR_VARIABLE_BASE,
    MSR_MTRRCAP,
    MSR_PAT,
    MSR_SYSCFG,
    MSR_TOP_MEM2,
    MTRRCAP_COUNT,
    MTRRCAP_FIXED,
    TYPE_NAMES,
    address_mask,
)

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from memhub.core.drivers.driver import Cpu

_TYPE_BITS: Final = 0xFF


def why_fault(number: int, value: int, msrs: Mapping[int, int], cpu: Cpu) -> str:
    """Why a CPU does not take a value of a register.

    Args:
        number: the register.
        value: what is written.
        msrs: the registers that the machine has, of which MTRRcap tells how many ranges.
        cpu: the processor.

    Returns:
        the rule, with the register; empty where it takes the value.
    """
    first, ends = MSR_MTRR_VARIABLE_BASE, msrs.get(MSR_MTRRCAP, 0)
    pair = first <= number < first + 2 * (ends & MTRRCAP_COUNT) and number != MSR_PAT
    fixed = number in FIXED_MSRS
    if pair:
        own = MASK_VALID if number & 1 else _TYPE_BITS
        bits, types = address_mask(cpu.phys_bits) | own, not number & 1
    elif number == MSR_MTRR_DEF_TYPE:
        bits, types = _TYPE_BITS | DEF_TYPE_ENABLE | DEF_TYPE_FIXED_ENABLE, True
    elif fixed or number == MSR_PAT:
        bits, types = U64_MAX, False
    else:
        amd = cpu.vendor in ("AMD", "Hygon") and number in (MSR_SYSCFG, MSR_TOP_MEM2)
        return "" if amd or number in msrs else _unknown(number)

    if fixed and not ends & MTRRCAP_FIXED and number not in msrs:
        return _unknown(number)

    if wrong := value & ~bits:
        return f"register {number:#x}: bits {wrong:#x} of {value:#x} are reserved"

    whole: Container[int] = PAT_NAMES if number == MSR_PAT else TYPE_NAMES
    held = value.to_bytes(8, "little") if bits == U64_MAX else bytes([value & _TYPE_BITS] * types)
    reserved = [byte for byte in held if byte not in whole]

    return f"register {number:#x}: type {reserved[0]:#x} is reserved" if reserved else ""


def _unknown(number: int) -> str:
    return f"there is no register {number:#x} that decides memory types"
