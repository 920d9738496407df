"""What UPDATE does to the fixed slots, which hold the ranges below 1 MiB.

Source: FreeBSD `sys/x86/x86/x86_mem.c` (x86_mrsetlow).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub import abi
from memhub.abi import RangeDesc
from memhub.x86 import mtrr_refusals as refusals
from memhub.x86.registers import FIXED_END, FIXED_RANGES, fixed_index

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: `(base, length)` to the slot that holds it.
FIXED_SLOTS: Final[Mapping[tuple[int, int], int]] = {
    span: slot for slot, span in enumerate(FIXED_RANGES)
}


def retype_fixed(slots: Sequence[RangeDesc], desc: RangeDesc) -> dict[int, RangeDesc]:
    """Every fixed slot that the request touches, with its type and label.

    Busy slots are not looked at, as the kernel does not; the machine refuses to write them.

    Raises:
        InvalidRange: the range ends at the end of the 64-bit space.
        AccessDenied: a touched slot is of unknown type, and MDF_FORCE is not given.
    """
    if desc.mr_base >= FIXED_END:
        raise refusals.past_the_end(desc)

    first, last = fixed_index(desc.mr_base), fixed_index(desc.mr_end - 1)
    touched = list(enumerate(slots[first : last + 1], first))
    if not desc.mr_flags & abi.MDF_FORCE:
        for slot, row in touched:
            if row.mr_flags & abi.MDF_ATTRMASK == abi.MDF_UNKNOWN:
                raise refusals.unknown(slot, row)

    gone = abi.MDF_ATTRMASK | abi.MDF_FIRMWARE | abi.MDF_BUSY
    attribute, owner = desc.mr_flags & abi.MDF_ATTRMASK, desc.mr_owner

    return {
        slot: RangeDesc(row.mr_base, row.mr_len, row.mr_flags & ~gone | attribute, owner)
        for slot, row in touched
    }
