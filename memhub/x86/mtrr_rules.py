"""What an MTRR slot table accepts: the checks of UPDATE and REMOVE, in the kernel's order.

Source: FreeBSD `sys/x86/x86/x86_mem.c` (mrvalid, x86_mrsetlow, x86_mrsetvariable, x86_mrset).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub import abi
from memhub.abi import RangeDesc
from memhub.core import range_refusals as refusals
from memhub.errors import AccessDenied, InvalidRange, NotPermitted, RangeBusy
from memhub.x86 import registers
from memhub.x86.mtrr_codec import TYPE_OF

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The one pair of types that may overlap.
_COMPATIBLE: Final = abi.MDF_WRITEBACK | abi.MDF_UNCACHEABLE


def check(desc: RangeDesc) -> int:
    """Whether any MTRR could hold the request.

    Returns:
        its attribute, exactly one.

    Raises:
        InvalidRange: it is no aligned power of two of at least 4 KiB, or has no one known type.
    """
    base, length = desc.mr_base, desc.mr_len
    if length < abi.PAGE_SIZE or length & (length - 1):
        raise InvalidRange(
            f"length {length:#x} is not a power of two of at least {abi.PAGE_SIZE:#x}"
        )

    if base & (length - 1):
        raise InvalidRange(f"base {base:#x} is not a multiple of the length {length:#x}")

    attribute = desc.mr_flags & abi.MDF_ATTRMASK
    if attribute not in TYPE_OF:
        raise InvalidRange(
            f"type {refusals.type_words(attribute)} ({attribute:#x}): give exactly one of "
            "uncacheable, write-combine, write-through, write-back and write-protect"
        )

    return attribute


def fixed_update(slots: Sequence[RangeDesc], desc: RangeDesc) -> dict[int, RangeDesc]:
    """Every fixed slot that the request touches, with its type and label.

    Busy slots are not looked at, as the kernel does not; the machine refuses to write them.

    Raises:
        InvalidRange: the range ends at the end of the 64-bit space.
        AccessDenied: a touched slot is of unknown type, and MDF_FORCE is not given.
    """
    if desc.mr_base >= registers.FIXED_END:
        raise InvalidRange(
            f"the range {refusals.span(desc)} ends where 64-bit addresses do, and no fixed slot "
            "holds its base"
        )

    first = registers.fixed_index(desc.mr_base)
    last = registers.fixed_index(desc.mr_end - 1)
    touched = range(first, last + 1)
    if not desc.mr_flags & abi.MDF_FORCE:
        for slot in touched:
            _refuse_unknown(slot, slots[slot])

    gone = abi.MDF_ATTRMASK | abi.MDF_FIRMWARE | abi.MDF_BUSY
    attribute, owner = desc.mr_flags & abi.MDF_ATTRMASK, desc.mr_owner

    return {
        slot: RangeDesc(row.mr_base, row.mr_len, row.mr_flags & ~gone | attribute, owner)
        for slot, row in zip(touched, slots[first : last + 1], strict=True)
    }


def variable_slot(slots: Sequence[RangeDesc], fixed: int, desc: RangeDesc) -> int:
    """The slot that takes the request: the one with the same range, or the first free one.

    The walk stops at an exact match, so conflicts behind it are not seen; slot order matters.

    Raises:
        InvalidRange: a range of conflicting type overlaps, in a slot before the exact match.
        RangeBusy: the exact match is busy.
        AccessDenied: the exact match is of unknown type, and MDF_FORCE is not given.
        NoSpace: no slot is free.
    """
    base, length = desc.mr_base, desc.mr_len
    attribute = desc.mr_flags & abi.MDF_ATTRMASK
    end = base + length & abi.U64_MAX
    free = -1
    for slot, row in enumerate(slots[fixed:], fixed):
        flags, row_base = row.mr_flags, row.mr_base
        if not flags & abi.MDF_ACTIVE:
            if free < 0:
                free = slot
        elif row_base == base and row.mr_len == length:
            return _takeover(slot, row, desc)
        # One holds the other's base; the ends wrap at 64 bits, as the kernel's do.
        elif base <= row_base < end or row_base <= base < (row_base + row.mr_len & abi.U64_MAX):
            other = flags & abi.MDF_ATTRMASK
            if other != attribute and other | attribute != _COMPATIBLE:
                raise _conflict(slot, row, desc)

    if free < 0:
        raise refusals.full(desc, enumerate(slots[fixed:], fixed))

    return free


def _takeover(slot: int, row: RangeDesc, desc: RangeDesc) -> int:
    if row.mr_flags & abi.MDF_BUSY:
        raise busy(slot, row)

    if not desc.mr_flags & abi.MDF_FORCE:
        _refuse_unknown(slot, row)

    return slot


def _refuse_unknown(slot: int, row: RangeDesc) -> None:
    if row.mr_flags & abi.MDF_ATTRMASK == abi.MDF_UNKNOWN:
        raise AccessDenied(
            f"{refusals.describe(slot, row)} has a type that mem(4) has no name for; give force "
            "(MDF_FORCE) to overwrite it",
            obstacles=(refusals.obstacle("unknown", slot, row),),
        )


def _conflict(slot: int, row: RangeDesc, desc: RangeDesc) -> InvalidRange:
    return InvalidRange(
        f"{refusals.span(desc)} as {refusals.type_words(desc.mr_flags)} overlaps "
        f"{refusals.describe(slot, row)}: overlapping ranges must have the same type, or be "
        "write-back and uncacheable",
        obstacles=(refusals.obstacle("overlap", slot, row),),
    )


def busy(slot: int, row: RangeDesc) -> RangeBusy:
    """EBUSY: the slot has MDF_BUSY."""
    return RangeBusy(
        f"{refusals.describe(slot, row)} is busy: another process holds it",
        obstacles=(refusals.obstacle("claim", slot, row),),
    )


def permanent(slot: int, slots: Sequence[RangeDesc]) -> NotPermitted:
    """EPERM: REMOVE of a fixed slot."""
    return NotPermitted(
        f"{refusals.describe(slot, slots[slot])} is a fixed range, which cannot be removed; "
        "update it to another type instead",
        obstacles=(refusals.obstacle("fixed", slot, slots[slot]),),
    )
