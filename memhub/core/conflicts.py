"""What keeps a MEMRANGE_SET from happening: the claims of others, and commits in flight.

The rules are in `ownership.py`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from memhub.abi import Errno
from memhub.core.claims import busy_error
from memhub.core.ownership import check_types
from memhub.core.range_table import changed_bounds, with_busy, without_busy
from memhub.errors import DeviceError, RangeBusy

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


def ask_driver_busy(
    machine: Machine, state: RangeState, request: SetRange, busy: list[int]
) -> Change:
    """What the driver says of a MEMRANGE_SET when it is shown the slots of others as BUSY.

    Args:
        machine: the machine.
        state: the present state.
        request: what is asked.
        busy: the slots that are BUSY to the caller.

    Raises:
        DeviceError: the driver refuses; an EBUSY of its own names the owners.
    """
    driver = machine.require_table().driver
    operation = driver.remove if request.arg else driver.update
    try:
        change = operation(with_busy(state, busy), request.desc)
    except RangeBusy as refusal:
        _name_owners(machine, refusal)
        raise

    return without_busy(change, state, busy)


def driver_failure(machine: Machine, method: str, error: Exception) -> DeviceError:
    """The EIO of a request whose driver raised what is not an answer; nothing was changed.

    Args:
        machine: the machine.
        method: the driver's method.
        error: what it raised.
    """
    driver = type(machine.require_table().driver)

    return DeviceError(
        f"{driver.__module__}.{driver.__qualname__}.{method}, the driver of {machine.arch.name} on "
        f"{machine.name}, failed with {type(error).__name__}: {error}",
        code=Errno.EIO,
    )


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


def check_order(
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
