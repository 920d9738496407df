"""Which slot of a range table gives an address its type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.abi import (
    MDF_ACTIVE,
    MDF_UNCACHEABLE,
    MDF_WRITEBACK,
    MDF_WRITECOMBINE,
    MDF_WRITEPROTECT,
    MDF_WRITETHROUGH,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.core.range_table import RangeTable

_ATTRIBUTES: Final[Mapping[str, int]] = {
    "UC": MDF_UNCACHEABLE,
    "WC": MDF_WRITECOMBINE,
    "WT": MDF_WRITETHROUGH,
    "WP": MDF_WRITEPROTECT,
    "WB": MDF_WRITEBACK,
}


def slot_of(table: RangeTable | None, address: int) -> int | None:
    """The slot that gives an address its type.

    Args:
        table: the range table, or None.
        address: physical.

    Returns:
        of the active slots that hold the address, the first that has the effective type, else
        the first; None where there is none.
    """
    if table is None:
        return None

    wanted = _ATTRIBUTES.get(table.types.at(address), 0)
    first: int | None = None
    for slot, row in enumerate(table.state.slots):
        if row.mr_flags & MDF_ACTIVE and row.mr_base <= address < row.mr_base + row.mr_len:
            if row.mr_flags & wanted:
                return slot

            if first is None:
                first = slot

    return first
