"""Which addresses a slot of a range table decides about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.core.asked_driver import Plan
from memhub.core.driver import Change

if TYPE_CHECKING:
    from memhub.core.range_table import RangeTable


def extent_of(table: RangeTable, slot: int) -> range:
    """The addresses of a slot that decides a type; none of one that does not."""
    desc, state = table.state.slots[slot], table.state
    lo, hi = table.driver.bounds(Plan(Change(()), state, state), (slot,))

    return range(max(lo, desc.mr_base), min(hi, desc.mr_end))
