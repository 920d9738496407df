"""What keeps a MEMRANGE_SET from happening: the claims of others, and commits in flight.

The rules are in `ownership.py`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memhub.core.asking.asked_driver import Plan
from memhub.core.claims import busy_error
from memhub.core.deciding.ownership import check_held, check_types
from memhub.core.ranges.range_table import with_busy, without_busy
from memhub.errors import DeviceError, DriverFailed, RangeBusy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memhub.abi import RangeDesc
    from memhub.core.asking.asked_driver import AskedDriver
    from memhub.core.drivers.driver import RangeState
    from memhub.core.files import Principal
    from memhub.core.holding.commits import Commit
    from memhub.core.machine import Machine
    from memhub.core.requests import SetRange


def ask_driver_busy(
    machine: Machine, process: Principal, state: RangeState, request: SetRange, busy: list[int]
) -> Plan:
    """What the driver says of a MEMRANGE_SET when it is shown the slots of others as BUSY.

    Args:
        machine: the machine.
        process: who asks.
        state: the present state.
        request: what is asked.
        busy: the slots that are BUSY to the caller.

    Raises:
        StaleClaim: EBUSY; a slot is BUSY, and waiting for it cannot help (rule 7).
        DeviceError: the driver refuses; an EBUSY of its own names the owners.
    """
    try:
        plan = machine.require_table().driver.plan_set(with_busy(state, busy), request)
    except RangeBusy as refusal:
        check_held(machine.claims, process, request)
        _name_owners(machine, process, refusal)
        raise

    change = without_busy(plan.change, state, busy)

    return Plan(change, state, state.apply(change))


def _name_owners(machine: Machine, process: Principal, refusal: RangeBusy) -> None:
    """Tell whose slot it is that a driver found busy; the driver cannot know.

    A slot of the process's own claim is BUSY to it only for a commit.
    """
    named = []
    for found in refusal.obstacles:
        claim = machine.claims.holder(found.slot) if found.slot is not None else None
        if claim is not None and claim.process.id != process.id:
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
    driver: AskedDriver,
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
        if (near and foreign) or commit.after != _slots_written(driver, plan.after, commit.request):
            raise busy_error([commit.obstacle()])


def check_order(
    driver: AskedDriver, state: RangeState, request: SetRange, commits: Iterable[Commit]
) -> None:
    """Refuse what would come out otherwise once a commit in flight has its effect (rule 8)."""
    for commit in commits:
        after = driver.plan_set(state, commit.request).after
        if _slots_written(driver, after, request) != _slots_written(driver, state, request):
            raise busy_error([commit.obstacle()])


def _slots_written(
    driver: AskedDriver, state: RangeState, request: SetRange
) -> dict[int, RangeDesc] | None:
    """The slots that a request would write into a state, or None if it would be refused.

    Raises:
        DriverFailed: EIO; the driver failed.
    """
    try:
        change, _, after = driver.plan_set(state, request)
    except DriverFailed:
        raise
    except DeviceError:
        return None

    return {slot: after.slots[slot] for slot in change.wrote}
