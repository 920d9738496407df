"""Which waits a fact may let go on.

A claim, and a wait for a free range, depend on the claims and commits on their bytes. A
MEMRANGE_SET depends on the slots there too, and on which slots are free; so it is tried again when
one of these changes. What is refused for something beside its bytes, such as a commit that takes
the slot it would have taken, is tried again at every change (`WaitQueue.touch_wide`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.abi import MDF_ACTIVE
from memhub.core import events
from memhub.core.claims import ClaimChange
from memhub.core.health.hardware_events import HardwareChanged

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memhub.abi import RangeDesc
    from memhub.core.events import Event
    from memhub.core.holding.waits import WaitQueue
    from memhub.core.ranges.range_table import RangeTable


def touch_waits(waits: WaitQueue, table: RangeTable | None, event: Event) -> None:
    """Let the waits be tried again that a fact may let go on.

    Args:
        waits: those of the machine to which the fact has been applied.
        table: its ranges, or None.
        event: the fact.
    """
    if isinstance(event, (events.RangesSet, events.SlotUndone)):
        _touch_table(waits, event)
        _touch_claims(waits, table, event.claims)
        if isinstance(event, events.RangesSet) and event.commit is not None:
            waits.touch(*event.commit.bounds)
    elif isinstance(event, (events.ClaimsReleased, events.ClaimRenewed)):
        _touch_claims(waits, table, event.claims)
    elif isinstance(event, events.ClaimTaken):
        _touch_claims(waits, table, (event.change,))
    elif isinstance(event, events.ClaimEnded):
        _touch_claims(waits, table, (ClaimChange(event.claim, None),))
    elif isinstance(event, (events.SetRefused, events.CommitBegun)) and event.commit is not None:
        waits.touch(*event.commit.bounds)
    elif isinstance(event, HardwareChanged):  # a resume, or registers that others decide by
        waits.touch(0, 1 << 65)
    else:
        return

    waits.touch_wide()


def _touch_table(waits: WaitQueue, event: events.RangesSet | events.SlotUndone) -> None:
    before, after = event.states
    for slot in event.outcome.slots:
        old, new = before.slots[slot], after.slots[slot]
        waits.touch_sets(old.mr_base, old.mr_end)
        waits.touch_sets(new.mr_base, new.mr_end)
        if _use_of(old) != _use_of(new):
            waits.touch_sets()


def _use_of(row: RangeDesc) -> tuple[bool, int]:
    """What makes a slot free or not: drivers go by its length, or by MDF_ACTIVE."""
    return bool(row.mr_len), row.mr_flags & MDF_ACTIVE


def _touch_claims(
    waits: WaitQueue, table: RangeTable | None, changes: Iterable[ClaimChange]
) -> None:
    for before, after in changes:
        claim = before or after
        assert claim is not None
        waits.touch(claim.base, claim.end)
        for slot, (base, end) in claim.slots.items():
            waits.touch(base, end)
            if table is not None:  # its holder may have moved the slot
                row = table.state.slots[slot]
                waits.touch(row.mr_base, row.mr_end)

        if after is None:
            waits.touch_process(claim.process.id)
