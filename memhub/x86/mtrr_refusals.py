"""What the MTRR driver says when it refuses. Each function returns the error to raise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub import abi
from memhub.core.drivers.range_refusals import describe, obstacle, span, type_words
from memhub.errors import AccessDenied, InvalidRange, NotPermitted, RangeBusy

if TYPE_CHECKING:
    from memhub.abi import RangeDesc


def bad_length(desc: RangeDesc) -> InvalidRange:
    """EINVAL: no variable register holds this length."""
    return InvalidRange(
        f"length {desc.mr_len:#x} is not a power of two of at least {abi.PAGE_SIZE:#x}"
    )


def bad_base(desc: RangeDesc) -> InvalidRange:
    """EINVAL: the base is not aligned to the length."""
    return InvalidRange(f"base {desc.mr_base:#x} is not a multiple of the length {desc.mr_len:#x}")


def bad_type(attribute: int) -> InvalidRange:
    """EINVAL: the attributes are not exactly one type."""
    return InvalidRange(
        f"type {type_words(attribute)} ({attribute:#x}): give exactly one of "
        "uncacheable, write-combine, write-through, write-back and write-protect"
    )


def past_the_end(desc: RangeDesc) -> InvalidRange:
    """EINVAL: the end wraps to 0, which sends the request to the fixed slots."""
    return InvalidRange(
        f"the range {span(desc)} ends where 64-bit addresses do, and no fixed slot holds its base"
    )


def conflict(slot: int, row: RangeDesc, desc: RangeDesc) -> InvalidRange:
    """EINVAL: the slot overlaps the request and has a type that must not overlap it."""
    return InvalidRange(
        f"{span(desc)} as {type_words(desc.mr_flags)} overlaps {describe(slot, row)}: "
        "overlapping ranges must have the same type, or be write-back and uncacheable",
        obstacles=(obstacle("overlap", slot, row),),
    )


def unknown(slot: int, row: RangeDesc) -> AccessDenied:
    """EACCES: the slot's type has no name, and MDF_FORCE is not given."""
    return AccessDenied(
        f"{describe(slot, row)} has a type that mem(4) has no name for; give force "
        "(MDF_FORCE) to overwrite it",
        obstacles=(obstacle("unknown", slot, row),),
    )


def busy(slot: int, row: RangeDesc) -> RangeBusy:
    """EBUSY: the slot has MDF_BUSY."""
    return RangeBusy(
        f"{describe(slot, row)} is busy: another process holds it",
        obstacles=(obstacle("claim", slot, row),),
    )


def permanent(slot: int, row: RangeDesc) -> NotPermitted:
    """EPERM: REMOVE of a fixed slot."""
    return NotPermitted(
        f"{describe(slot, row)} is a fixed range, which cannot be removed; "
        "update it to another type instead",
        obstacles=(obstacle("fixed", slot, row),),
    )
