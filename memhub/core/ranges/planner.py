"""What a MEMRANGE_SET would change, or why it may not: asks, changes nothing.

The order of the answers: EOPNOTSUPP and ENXIO for what is not there, the driver's own checks, a
stale fencing number, a claim lost (rule 7 of `ownership.py`), slots and bytes of others
(rule 4), commits in flight (rule 8).

Source: FreeBSD `sys/dev/mem/memutil.c` (mem_range_attr_set), `sys/x86/x86/x86_mem.c` (x86_mrset).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memhub.abi import MDF_BUSY, MEMRANGE_SET_REMOVE, MEMRANGE_SET_UPDATE, Errno
from memhub.core.claims.claim import busy
from memhub.core.claims.ownership import Ownership
from memhub.errors import DeviceError, NoRanges, NotSupported, RangeBusy

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.abi import RangeDesc
    from memhub.core.driver import Change, RangeState
    from memhub.core.ranges.commits import Commit, SetRequest
    from memhub.core.ranges.table import RangeTable
    from memhub.core.requests import Principal


class Planner:
    """The questions that one machine's range operations ask before they happen.

    Args:
        table: the slots; None where the architecture has no range operations.
        no_ranges: what range operations answer without a table.

    Attributes:
        ownership: the claims.
        commits: the commits in flight.
    """

    def __init__(self, table: RangeTable | None, no_ranges: Errno) -> None:
        self.table = table
        self.ownership = Ownership()
        self.commits: list[Commit] = []
        self._no_ranges = no_ranges

    def require(self) -> RangeTable:
        """The table.

        Raises:
            NotSupported: EOPNOTSUPP (or what the architecture answers): no range operations.
            NoRanges: ENXIO: the driver found no descriptors.
        """
        table = self.table
        if table is None:
            raise NotSupported("this architecture has no range operations", code=self._no_ranges)

        if not table.state.slots:
            raise NoRanges(
                "the range driver attached but found no descriptors: the MTRRs are off (bit 11 of "
                "register 0x2ff is clear), or there are none"
            )

        return table

    def busy_slots(self, process: Principal, but: Commit | None = None) -> list[int]:
        """Slots that are BUSY to `process`: claimed by others, or in a commit other than `but`."""
        slots = self.ownership.busy_slots(process)
        for commit in self.commits:
            if commit is not but:
                slots.extend(commit.wrote)

        return slots

    def plan(self, request: SetRequest, but: Commit | None = None) -> Change:
        """What a MEMRANGE_SET would change; changes nothing itself.

        Args:
            request: the request.
            but: the commit in flight that is this request itself.

        Raises:
            DeviceError: the request is refused, by the driver or by an owner.
        """
        table = self.require()
        process, desc = request.process, request.desc
        alone = not self.commits and self.ownership.only_holder(process)
        slots = [] if alone else self.busy_slots(process, but)
        change = self._ask_driver(table, request, slots)
        if request.fence is not None:
            self.ownership.check_fence(process, request.fence)

        self.ownership.tell_loss(process, desc.mr_base, desc.mr_end)
        if not alone:
            self.ownership.check_slots(process, change.wrote, table.state.slots)
            if self.commits:
                self._check_commit_slots(change.wrote, but)

            self._check_types(table, process, change)
            if self.commits:
                self._check_commits(table, process, change, but)
                if but is None:
                    self._check_order(table, request)

        return change

    def _ask_driver(self, table: RangeTable, request: SetRequest, slots: list[int]) -> Change:
        driver = table.driver
        if request.arg == MEMRANGE_SET_UPDATE:
            operation = driver.update
        elif request.arg == MEMRANGE_SET_REMOVE:
            operation = driver.remove
        else:
            raise NotSupported(
                f"mo_arg[0] is {request.arg}; MEMRANGE_SET knows UPDATE (0) and REMOVE (1)"
            )

        if not slots:
            return operation(table.state, request.desc)

        try:
            change = operation(table.busy_view(slots), request.desc)
        except RangeBusy as refusal:
            self._name_owners(refusal)
            raise

        return _without_busy(change, table.state, slots)

    def _name_owners(self, refusal: RangeBusy) -> None:
        """Tell whose slot it is that a driver found busy; the driver cannot know."""
        named = []
        for found in refusal.obstacles:
            claim = self.ownership.holder(found.slot) if found.slot is not None else None
            if claim is not None:
                named.append(
                    replace(claim.obstacle(slot=found.slot), type=found.type, owner=found.owner)
                )

            named += [c.obstacle(found.slot) for c in self.commits if found.slot in c.wrote]

        if named:
            raise busy(named) from refusal

    def _check_commit_slots(self, wrote: tuple[int, ...], but: Commit | None) -> None:
        blocked = [
            commit.obstacle(slot)
            for commit in self._others(but)
            for slot in wrote
            if slot in commit.wrote
        ]
        if blocked:
            raise busy(blocked)

    def _check_types(self, table: RangeTable, process: Principal, change: Change) -> None:
        if self.ownership.only_holder(process):
            return

        self.ownership.check_types(
            process,
            table.hull(change),
            lambda: table.types,
            lambda: table.driver.types(table.after(change)),
        )

    def _others(self, but: Commit | None) -> list[Commit]:
        # A commit whose file is closed will not take effect.
        return [c for c in self.commits if c is not but and not c.request.file.closed]

    def _check_commits(
        self, table: RangeTable, process: Principal, change: Change, but: Commit | None
    ) -> None:
        """Refuse what would alter a commit in flight, or claim what it is to change (rule 8)."""
        others = self._others(but)
        if not others:
            return

        lo, hi = table.reach(change) if but is None else (0, 0)
        for commit in others:
            near = commit.bounds[0] < hi and lo < commit.bounds[1]
            foreign = commit.request.process.id != process.id
            after = table.state.apply(change)
            if (near and foreign) or commit.after != _written(table, after, commit.request):
                raise busy([commit.obstacle()])

    def _check_order(self, table: RangeTable, request: SetRequest) -> None:
        """Refuse what would come out otherwise once a commit in flight has its effect (rule 8)."""
        for commit in self._others(None):
            after = table.state.apply(_operation(table, commit.request)(table.state))
            if _written(table, after, request) != _written(table, table.state, request):
                raise busy([commit.obstacle()])


def _operation(table: RangeTable, request: SetRequest) -> Callable[[RangeState], Change]:
    driver = table.driver
    operation = driver.update if request.arg == MEMRANGE_SET_UPDATE else driver.remove

    return lambda state: operation(state, request.desc)


def _written(
    table: RangeTable, state: RangeState, request: SetRequest
) -> dict[int, RangeDesc] | None:
    """The slots that a request would write into a state, or None if it would be refused."""
    try:
        change = _operation(table, request)(state)
    except DeviceError:
        return None

    slots = state.apply(change).slots

    return {slot: slots[slot] for slot in change.wrote}


def _without_busy(change: Change, state: RangeState, slots: list[int]) -> Change:
    """Take out of a change the BUSY marks that the driver was shown."""
    shown = {slot for slot in slots if slot in change.slots}
    if not shown:
        return change

    clean = {
        slot: replace(
            desc, mr_flags=desc.mr_flags & ~MDF_BUSY | state.slots[slot].mr_flags & MDF_BUSY
        )
        if slot in shown
        else desc
        for slot, desc in change.slots.items()
    }

    return replace(change, slots=clean)
