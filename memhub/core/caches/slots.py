"""Which slot of a range table gives an address its type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.abi import FLAG_OF_TYPE
from memhub.core.ranges.slot_extents import is_in_use

if TYPE_CHECKING:
    from memhub.core.ranges.range_table import RangeTable


def slot_of(table: RangeTable | None, address: int) -> int | None:
    """The slot that gives an address its type.

    Args:
        table: the range table, or None.
        address: physical.

    Returns:
        of the slots in use that hold the address, the first that has the effective type, else
        the first; None where there is none.
    """
    if table is None:
        return None

    wanted = FLAG_OF_TYPE.get(table.types.at(address), 0)
    first: int | None = None
    for slot, row in enumerate(table.state.slots):
        inside = row.mr_base <= address < row.mr_base + row.mr_len
        if inside and is_in_use(table.driver, table.state, slot):
            if row.mr_flags & wanted:
                return slot

            if first is None:
                first = slot

    return first
