"""Which slots a MEMRANGE_SET of OpenBSD takes, and what it refuses.

Source: OpenBSD `sys/arch/amd64/amd64/amd64_mem.c` (amd64_mrsetlow, amd64_mrsetvariable,
amd64_mtrrconflict).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.plugin import RangeDesc, abi, errors, range_refusals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FIXED_COUNT: Final = 88
_COMPATIBLE: Final = frozenset({abi.MDF_WRITEBACK, abi.MDF_UNCACHEABLE})


def check_busy(slot: int, row: RangeDesc) -> None:
    """Refuse a slot that is another's; OpenBSD itself knows none.

    Raises:
        RangeBusy: EBUSY.
    """
    if row.mr_flags & abi.MDF_BUSY:
        raise errors.RangeBusy(
            f"{range_refusals.describe(slot, row)} is busy",
            obstacles=(range_refusals.obstacle("busy", slot, row),),
        )


def _unknown(slot: int, row: RangeDesc) -> errors.AccessDenied:
    return errors.AccessDenied(
        f"{range_refusals.describe(slot, row)} is of unknown type; give MDF_FORCE to replace it",
        obstacles=(range_refusals.obstacle("unknown", slot, row),),
    )


def retype_fixed(slots: Sequence[RangeDesc], desc: RangeDesc) -> dict[int, RangeDesc]:
    """Every fixed slot that the request touches, with its type and label."""
    touched = {
        slot: row
        for slot, row in enumerate(slots[:FIXED_COUNT])
        if row.mr_base < desc.mr_end and desc.mr_base < row.mr_end
    }
    if not touched:
        raise errors.InvalidRange(f"no fixed slot holds {range_refusals.span(desc)}")

    if not desc.mr_flags & abi.MDF_FORCE:
        for slot, row in touched.items():
            if row.mr_flags & abi.MDF_ATTRMASK == abi.MDF_UNKNOWN:
                raise _unknown(slot, row)

    gone = abi.MDF_ATTRMASK | abi.MDF_FIRMWARE | abi.MDF_BUSY
    attribute = desc.mr_flags & abi.MDF_ATTRMASK

    return {
        slot: RangeDesc(row.mr_base, row.mr_len, row.mr_flags & ~gone | attribute, desc.mr_owner)
        for slot, row in touched.items()
    }


def conflict_of_unknown(one: int, other: int) -> bool:
    """The same, where a range of unknown type conflicts with its like too."""
    return bool((one | other) & abi.MDF_UNKNOWN) or conflict(one, other)


def find_variable(
    slots: Sequence[RangeDesc],
    fixed: int,
    desc: RangeDesc,
    conflict: Callable[[int, int], bool],
) -> int:
    """The slot that takes the request: the one with the same range, or the first free one."""
    attribute = desc.mr_flags & abi.MDF_ATTRMASK
    end, free = desc.mr_base + desc.mr_len & abi.U64_MAX, -1
    for slot, row in enumerate(slots[fixed:], fixed):
        if not row.mr_flags & abi.MDF_ACTIVE:
            free = slot if free < 0 else free
        elif (row.mr_base, row.mr_len) == (desc.mr_base, desc.mr_len):
            check_busy(slot, row)
            if (
                row.mr_flags & abi.MDF_ATTRMASK == abi.MDF_UNKNOWN
                and not desc.mr_flags & abi.MDF_FORCE
            ):
                raise _unknown(slot, row)

            return slot
        elif _overlap(row, desc, end) and conflict(row.mr_flags & abi.MDF_ATTRMASK, attribute):
            raise errors.InvalidRange(
                f"{range_refusals.describe(slot, row)} overlaps and has a conflicting type",
                obstacles=(range_refusals.obstacle("overlap", slot, row),),
            )

    if free < 0:
        raise range_refusals.full(desc, enumerate(slots[fixed:], fixed))

    return free


def conflict(one: int, other: int) -> bool:
    """Whether two ranges of these attributes must not overlap."""
    return one != other and {one, other} != _COMPATIBLE


def _overlap(row: RangeDesc, desc: RangeDesc, end: int) -> bool:
    """Whether one holds the other's base; ends wrap at 64 bits, as the kernel's do."""
    row_end = row.mr_base + row.mr_len & abi.U64_MAX

    return desc.mr_base <= row.mr_base < end or row.mr_base <= desc.mr_base < row_end
