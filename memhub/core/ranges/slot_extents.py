"""Which addresses a slot of a range table decides about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.abi import MDF_ACTIVE
from memhub.core.asking.asked_driver import Plan
from memhub.core.drivers.driver import Change
from memhub.errors import DriverFailed

if TYPE_CHECKING:
    from memhub.core.asking.asked_driver import AskedDriver
    from memhub.core.drivers.driver import RangeState
    from memhub.core.ranges.range_table import RangeTable


def extent_of(table: RangeTable, slot: int) -> range:
    """The addresses of a slot that decides a type; none of one that does not."""
    return _extent_in(table.driver, table.state, slot)


def is_in_use(driver: AskedDriver, state: RangeState, slot: int) -> bool:
    """Whether a slot holds a range: it is active, or decides types without being marked so.

    K6 has no mark: its slots keep the flags of their caller (FreeBSD `k6_mrset`).
    """
    desc = state.slots[slot]
    if desc.mr_flags & MDF_ACTIVE or not desc.mr_len:
        return bool(desc.mr_flags & MDF_ACTIVE)

    try:
        return bool(_extent_in(driver, state, slot))
    except DriverFailed:
        return False  # told where types are asked for


def used_slots(table: RangeTable) -> list[int]:
    """The slots of a table that hold a range."""
    state = table.state

    return [it for it in range(len(state.slots)) if is_in_use(table.driver, state, it)]


def _extent_in(driver: AskedDriver, state: RangeState, slot: int) -> range:
    desc = state.slots[slot]
    lo, hi = driver.bounds(Plan(Change(()), state, state), (slot,))

    return range(max(lo, desc.mr_base), min(hi, desc.mr_end))
