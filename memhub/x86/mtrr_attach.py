"""The table that firmware's registers make, as the driver attaches.

Source: FreeBSD `sys/x86/x86/x86_mem.c` (x86_mrinit).
"""

from __future__ import annotations

from functools import lru_cache

from memhub import abi
from memhub.abi import RangeDesc
from memhub.x86.mtrr_codec import FIXED_FLAGS, MtrrCodec
from memhub.x86.registers import FIXED_COUNT, FIXED_RANGES, MtrrRegisters, address_mask


# A rig makes the same machine for each of its tests, and this takes half of making it.
@lru_cache(maxsize=64)
def read_firmware(
    phys_bits: int, values: frozenset[tuple[int, int]]
) -> tuple[tuple[RangeDesc, ...], bool]:
    """The slots of the registers' values, and whether storing them would change nothing."""
    msrs, codec = dict(values), MtrrCodec(address_mask(phys_bits))
    registers = MtrrRegisters.decode(msrs, phys_bits)
    if not registers.enabled:
        return (), False

    fixed = [RangeDesc(*span, FIXED_FLAGS) for span in FIXED_RANGES]
    blank = [RangeDesc(0, 0)] * registers.variable_count
    blank = [*fixed, *blank] if registers.fixed_active else blank
    count = FIXED_COUNT if registers.fixed_active else 0
    slots = tuple([_by_firmware(row) for row in codec.fetch(blank, count, msrs)])

    return slots, not codec.store(slots, count, msrs)


def _by_firmware(desc: RangeDesc) -> RangeDesc:
    if not desc.mr_flags & abi.MDF_ACTIVE:
        return desc

    return RangeDesc(desc.mr_base, desc.mr_len, desc.mr_flags | abi.MDF_FIRMWARE, desc.mr_owner)
