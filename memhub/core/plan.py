"""What a MEMRANGE_SET would change, or why it may not.

The order of the answers: EOPNOTSUPP and ENXIO for what is not there, the driver's own checks, a
stale fencing number, a claim lost (rule 7 of `ownership.py`), slots and bytes of others
(rule 4), commits in flight (rule 8).

Source: FreeBSD `sys/dev/mem/memutil.c` (mem_range_attr_set), `sys/x86/x86/x86_mem.c` (x86_mrset).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from memhub.abi import MEMRANGE_SET_REMOVE, MEMRANGE_SET_UPDATE
from memhub.core.claims import busy_error
from memhub.core.ownership import check_slots, check_types, check_untold_losses, require_claim
from memhub.core.range_table import changed_bounds, with_busy, without_busy
from memhub.errors import DeviceError, NotSupported, RangeBusy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from memhub.abi import RangeDesc
    from memhub.core.commits import Commit
    from memhub.core.driver import Change, RangeDriver, RangeState
    from memhub.core.files import Principal
    from memhub.core.machine import Machine
    from memhub.core.requests import SetRange


class Plan(NamedTuple):
    """What a change would make of a table.

    Attributes:
        change: what the driver would change.
        before: the state before.
        after: the state after.
    """

    change: Change
    before: RangeState
    after: RangeState

    def bounds(self, driver: RangeDriver) -> tuple[int, int]:
        """Bounds outside which no byte's type changes."""
        return changed_bounds(driver, self.before, self.after, self.change.slots)

    def reach(self, driver: RangeDriver) -> tuple[int, int]:
        """Bounds of all that it writes, altered or not."""
        slots = {**dict.fromkeys(self.change.wrote), **self.change.slots}

        return changed_bounds(driver, self.before, self.after, slots)


def plan_set(
    machine: Machine, process: Principal, request: SetRange, but: Commit | None = None
) -> Plan:
    """Work out what a MEMRANGE_SET would change; nothing is changed.

    Args:
        machine: the machine.
        process: who asks.
        request: what is asked.
        but: the commit in flight that is this request itself.

    Raises:
        DeviceError: the request is refused, by the driver or by an owner.
    """
    table, claims = machine.require_table(), machine.claims
    desc, state = request.desc, table.state
    alone = not machine.commits and claims.only_holder(process)
    slots = [] if alone else machine.busy_slots(process, but)
    change = _ask_driver(machine, state, request, slots)
    if request.fence is not None:
        require_claim(claims, process, request.fence)

    if claims.lost:
        check_untold_losses(claims, process, desc.mr_base, desc.mr_end)

    plan = Plan(change, state, state.apply(change))
    if not alone:
        check_slots(claims, process, change.wrote, state.slots)
        if machine.commits:
            check_commit_slots(machine.commits.others(but), change.wrote)

        check_plan_types(machine, process, plan)
        if machine.commits:
            others = machine.commits.others(but)
            check_commits(table.driver, process, plan, others, moving=but is None)
            if but is None:
                _check_order(table.driver, state, request, others)

    return plan


def _ask_driver(machine: Machine, state: RangeState, request: SetRange, busy: list[int]) -> Change:
    table = machine.require_table()
    if request.arg not in (MEMRANGE_SET_UPDATE, MEMRANGE_SET_REMOVE):
        raise NotSupported(
            f"mo_arg[0] is {request.arg}; MEMRANGE_SET knows UPDATE (0) and REMOVE (1)"
        )

    driver = table.driver
    operation = driver.remove if request.arg else driver.update
    if not busy:
        return operation(state, request.desc)

    try:
        change = operation(with_busy(state, busy), request.desc)
    except RangeBusy as refusal:
        _name_owners(machine, refusal)
        raise

    return without_busy(change, state, busy)


def _name_owners(machine: Machine, refusal: RangeBusy) -> None:
    """Tell whose slot it is that a driver found busy; the driver cannot know."""
    named = []
    for found in refusal.obstacles:
        claim = machine.claims.holder(found.slot) if found.slot is not None else None
        if claim is not None:
            named.append(
                replace(claim.obstacle(slot=found.slot), type=found.type, owner=found.owner)
            )

        named += [c.obstacle(found.slot) for c in machine.commits if found.slot in c.wrote]

    if named:
        raise busy_error(named) from refusal


def check_commit_slots(commits: Iterable[Commit], wrote: tuple[int, ...]) -> None:
    """Refuse to write a slot that a commit in flight is to write (rule 8).

    Raises:
        RangeBusy: EBUSY; the obstacles are the commits.
    """
    blocked = [it.obstacle(slot) for it in commits for slot in wrote if slot in it.wrote]
    if blocked:
        raise busy_error(blocked)


def check_plan_types(machine: Machine, process: Principal, plan: Plan) -> None:
    """Refuse to change the type of a byte that another's claim protects (rule 4).

    Raises:
        RangeBusy: EBUSY; the obstacles are the claims.
    """
    if machine.claims.only_holder(process):
        return

    table = machine.require_table()
    driver = table.driver
    check_types(
        machine.claims,
        process,
        plan.bounds(driver),
        lambda: table.types if plan.before is table.state else driver.types(plan.before),
        lambda: driver.types(plan.after),
    )


def check_commits(
    driver: RangeDriver,
    process: Principal,
    plan: Plan,
    commits: Iterable[Commit],
    *,
    moving: bool = True,
) -> None:
    """Refuse what would alter a commit in flight, or change bytes that it may change (rule 8).

    Args:
        driver: the architecture's driver.
        process: who asks.
        plan: what is to change.
        commits: the commits that it has to respect.
        moving: the change is new; False for a commit that takes effect, whose bytes were
            checked when it began.

    Raises:
        RangeBusy: EBUSY; the obstacle is the commit.
    """
    lo, hi = plan.reach(driver) if moving and commits else (0, 0)
    for commit in commits:
        near = commit.bounds[0] < hi and lo < commit.bounds[1]
        foreign = commit.caller.process.id != process.id
        if (near and foreign) or commit.after != _written(driver, plan.after, commit.request):
            raise busy_error([commit.obstacle()])


def _check_order(
    driver: RangeDriver, state: RangeState, request: SetRange, commits: Iterable[Commit]
) -> None:
    """Refuse what would come out otherwise once a commit in flight has its effect (rule 8)."""
    for commit in commits:
        after = state.apply(_operation(driver, commit.request)(state))
        if _written(driver, after, request) != _written(driver, state, request):
            raise busy_error([commit.obstacle()])


def _operation(driver: RangeDriver, request: SetRange) -> Callable[[RangeState], Change]:
    operation = driver.remove if request.arg else driver.update

    return lambda state: operation(state, request.desc)


def _written(
    driver: RangeDriver, state: RangeState, request: SetRange
) -> dict[int, RangeDesc] | None:
    """The slots that a request would write into a state, or None if it would be refused."""
    try:
        change = _operation(driver, request)(state)
    except DeviceError:
        return None

    slots = state.apply(change).slots

    return {slot: slots[slot] for slot in change.wrote}
