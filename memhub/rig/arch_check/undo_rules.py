"""Undo: putting back what a request changed leaves what was there before."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from memhub.errors import DeviceError, DriverFailed
from memhub.rig.arch_check.asking import StoppedHere, ask_types, call_limit, time_call
from memhub.rig.arch_check.finding import Fault
from memhub.rig.arch_check.ground import fault_of
from memhub.rig.arch_check.step_rules import Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from memhub.core.asking.asked_driver import AskedDriver, Plan
    from memhub.core.drivers.driver import RangeState
    from memhub.core.effective.typemap import TypeMap
    from memhub.rig.arch_check.asking import Request
    from memhub.rig.arch_check.ground import Ground

#: Slots that are put back one at a time, as a hub does; more are put back at once.
_ONE_BY_ONE: Final = 4


def check_undo(step: Step, plan: Plan, types: TypeMap | None) -> Iterator[Fault]:
    """Put back what a request changed.

    Args:
        step: the request.
        plan: what it changed.
        types: the types before it; None if they are not known.
    """
    before, after = step.before, plan.after
    wrote = [it for it in plan.change.wrote if before.slots[it] != after.slots[it]]
    if not wrote:
        return

    groups = [[it] for it in wrote] if len(wrote) <= _ONE_BY_ONE else [wrote]
    state = after
    for group in groups:
        found = _put_back(step, state, before, group)
        if isinstance(found, Fault):
            yield found
            return

        state = found

    yield from _compare(step, state, types)


def check_return(
    ground: Ground, driver: AskedDriver, states: Sequence[RangeState], last: Request
) -> Iterator[Fault]:
    """Go back from the last state to earlier ones, slot by slot, whatever the slots hold now.

    Args:
        ground: the machine.
        driver: its driver.
        states: the states of a sequence.
        last: its last request.
    """
    end = states[-1]
    for number in sorted({1, len(states) // 2}):
        first = min(number, len(states) - 1)
        due = states[first]
        order = _latest_first(states[first:])
        apart = [[it] for it in order]
        back = apart[::-1]
        # one by one as a hub does, the other way round, and all at once as `store_on_cpu` does
        for groups in (apart, back, [order]) if len(order) > 1 else (apart,):
            step = Step(ground, driver, due, last)
            state = _put_groups_back(step, end, groups, wait=groups is apart)
            if isinstance(state, Fault):
                yield state
                return

            # in another order, what stood in the way meanwhile may have been left out
            if groups is not back and not ground.rereads:
                yield from _compare(step, state, None)


def _latest_first(states: Sequence[RangeState]) -> list[int]:
    """The slots that differ in the end, in the order in which a hub undoes their changes."""
    found: dict[int, None] = {}
    for before, after in pairwise(states):
        for slot, (old, new) in enumerate(zip(before.slots, after.slots, strict=True)):
            if old != new:
                found.setdefault(slot)

    start, end = states[0].slots, states[-1].slots

    return [it for it in reversed(found) if start[it] != end[it]]


def _put_groups_back(
    step: Step, state: RangeState, groups: Sequence[list[int]], *, wait: bool
) -> RangeState | Fault:
    """Put slots back in this order; with `wait`, one that is not whole yet comes after the others.

    Where all wait, the first makes way for the rest, as `undo_slots` has it.
    """
    due, left = step.before, list(groups)
    made_way: list[list[int]] = []
    while left:
        again = []
        for slots in left:
            found = _put_back(step, state, due, slots)
            if isinstance(found, Fault):
                return found

            if wait and any(
                due.slots[it].mr_len and found.slots[it] != due.slots[it] for it in slots
            ):
                again.append(slots)
            else:
                state = found

        if len(again) == len(left):
            way = next((it for it in again if it not in made_way), None)
            if way is None:
                return state

            made_way.append(way)
            found = _put_back(step, state, due, way)
            if isinstance(found, Fault):
                return found

            state = found

        left = again

    return state


def _put_back(
    step: Step, state: RangeState, before: RangeState, slots: list[int]
) -> RangeState | Fault:
    if "restore" in step.ground.hung:
        raise StoppedHere

    given, earlier = {slot: before.slots[slot] for slot in slots}, dict(before.msrs)
    kept = dict(given)
    try:
        plan, slow = time_call(
            call_limit(state), lambda: step.driver.restore(state, given, earlier)
        )
    except DriverFailed as error:
        fault = fault_of(error)
        if fault.rule == "hangs":
            step.ground.hung.add("restore")

        return fault
    except DeviceError as error:
        return step.say("undo-fails", f"cannot be undone: {error}", "restore")

    if given != kept or earlier != dict(before.msrs):
        return step.say("changes-its-input", "restore changed what it was given", "restore")

    if slow:
        step.ground.hurry()
        return step.say("slow", f"undo took {slow * 1000:.0f} ms, three times", "restore")

    return plan.after


def _compare(step: Step, state: RangeState, types: TypeMap | None) -> Iterator[Fault]:
    before = step.before
    if not step.unsettled:
        for slot, (was, now) in enumerate(zip(before.slots, state.slots, strict=True)):
            if was != now:
                yield step.say(
                    "undo-leaves",
                    f"after undo, slot {slot} holds {now}; before, it held {was}",
                    "restore",
                )
                return

        for number in sorted({*before.msrs, *state.msrs}):
            value, due = state.msrs.get(number, 0), before.msrs.get(number, 0)
            if value != due:
                yield step.say(
                    "undo-leaves",
                    f"after undo, register {number:#x} is {value:#x}; before, it was {due:#x}",
                    "restore",
                )
                return

    if types is None:
        return

    found = ask_types(step.ground, step.driver, state)
    if isinstance(found, Fault):
        yield found
        return

    at = types.first_difference(found, 0, step.ground.end)
    if at is not None:
        yield step.say(
            "undo-leaves",
            f"after undo, the type of {at:#x} is {found.at(at)}; before, it was {types.at(at)}",
            "restore",
        )
