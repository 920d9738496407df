"""Which slot of a range table, or register of another kernel, gives an address its type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.abi import FLAG_OF_TYPE
from memhub.core.ranges.slot_extents import is_in_use

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.core.ranges.range_table import RangeTable
    from memhub.core.served import Served


def slot_of(table: RangeTable | None, served: Served | None, address: int) -> int | None:
    """The slot that gives an address its type, as the machine's kernel counts.

    Args:
        table: the range table, or None.
        served: the machine's kernel, where that is another than FreeBSD.
        address: physical.

    Returns:
        of the slots in use that hold the address, the first that has the effective type, else
        the first; None where there is none.
    """
    if table is None:
        return None

    wanted = table.types.at(address)
    ranges = None if served is None else served.ranges_at(address)
    if ranges is None:
        holding = list(_slots_at(table, address, FLAG_OF_TYPE.get(wanted, 0)))
    else:
        holding = [(it.register, it.type == wanted) for it in ranges]

    first = holding[0][0] if holding else None

    return next((slot for slot, is_wanted in holding if is_wanted), first)


def _slots_at(table: RangeTable, address: int, wanted: int) -> Iterator[tuple[int, bool]]:
    """The slots in use that hold an address, and whether they have a flag."""
    for slot, row in enumerate(table.state.slots):
        inside = row.mr_base <= address < row.mr_base + row.mr_len
        if inside and is_in_use(table.driver, table.state, slot):
            yield slot, bool(row.mr_flags & wanted)
