"""Effective types against slots: inside ranges, where they overlap, and outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.abi import (
    MDF_ACTIVE,
    MDF_ATTRMASK,
    MDF_SETTABLE,
    TYPE_OF_FLAG,
)
from memhub.core.range_refusals import type_words
from memhub.errors import DeviceError, DriverFailed
from memhub.rig.arch_check.asking import FIXED, find_extent, is_held
from memhub.rig.arch_check.finding import Fault
from memhub.rig.arch_check.ground import fault_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.abi import RangeDesc
    from memhub.core.asked_driver import Plan
    from memhub.core.effective.typemap import TypeMap
    from memhub.rig.arch_check.step_rules import Step

_SPACE_END: Final = 1 << 64
_SLOTS_MOST: Final = 24


def check_extent(step: Step, plan: Plan, before: TypeMap, after: TypeMap) -> Iterator[Fault]:
    """Types may change only within what `extent` says of the slots that change."""
    try:
        lo, hi = plan.bounds(step.driver)
    except DriverFailed:
        return  # told where the answer is checked

    for first, end in ((0, min(lo, _SPACE_END)), (min(hi, _SPACE_END), _SPACE_END)):
        at = before.first_difference(after, first, end)
        if at is not None and at < step.ground.end:
            yield step.say(
                "types-outside-extent",
                f"changed the type of {at:#x} from {before.at(at)} to {after.at(at)}, outside of "
                f"what `extent` says of the slots that changed: {lo:#x} to {hi:#x}",
                "extent",
            )
            return


def check_types(step: Step, plan: Plan, base: TypeMap, after: TypeMap) -> Iterator[Fault]:
    """Types at the borders of ranges, inside them and beside them.

    Args:
        step: the request.
        plan: what it changes.
        base: the types of the first state.
        after: the types of the state that follows.
    """
    state, start = plan.after, step.ground.start
    assert start is not None
    held = [slot for slot in range(len(state.slots)) if is_held(step.driver, state, slot)]
    first = {slot for slot in range(len(start.slots)) if is_held(step.driver, start, slot)}
    odd = _odd_extents(step, plan, held)
    for at in _points(step, plan, held):
        rows = [slot for slot in held if _holds(state.slots[slot], at)]
        if not rows and any(lo <= at < hi for lo, hi in odd):
            continue

        found = after.at(at)
        if rows:
            fault = _check_inside(step, plan, rows, at, found, base)
        elif any(_holds(start.slots[slot], at) for slot in first) or found == base.at(at):
            fault = None
        else:
            fault = step.say(
                "type-outside-ranges",
                f"{at:#x} is in no range and was {base.at(at)} at the start, but is {found}",
                "types",
            )

        if fault is not None:
            yield fault
            return

        try:
            step.driver.explain(after, at)
        except DriverFailed as error:
            yield fault_of(error)
            return
        except DeviceError as error:
            yield Fault("raises", "types", f"the reason for {at:#x}: {error}")
            return


def _check_inside(
    step: Step, plan: Plan, rows: list[int], at: int, found: str, base: TypeMap
) -> Fault | None:
    allowed: set[str] = set()
    for slot in rows:
        types = _types_of(step, plan, slot, base, at)
        if types is None:
            return None

        allowed |= types

    if found in allowed or (len(rows) > 1 and found in ("undefined", "reserved")):
        return None

    slots = ", ".join(
        f"slot {it} ({type_words(plan.after.slots[it].mr_flags)})" for it in rows[:_SLOTS_MOST]
    )

    return step.say(
        "type-of-range" if len(rows) == 1 else "type-of-overlap",
        f"{at:#x} is in {slots}, but its type is {found}",
        "types",
    )


def _types_of(step: Step, plan: Plan, slot: int, base: TypeMap, at: int) -> set[str] | None:
    """The types that a slot's range may have; None where nothing is said of it."""
    row, arch = plan.after.slots[slot], step.ground.arch
    attribute = row.mr_flags & MDF_ATTRMASK
    if attribute & ~MDF_SETTABLE or attribute & (attribute - 1):
        return None

    if not attribute or not row.mr_flags & (arch.attributes | FIXED | MDF_ACTIVE):
        return None

    if attribute & arch.untyped:
        return {base.at(at), base.at(step.ground.end - 1)}

    return {TYPE_OF_FLAG[attribute]}


def _points(step: Step, plan: Plan, held: list[int]) -> list[int]:
    """Addresses to look at: near the slots that were written, and those that can move."""
    state = plan.after
    slots = [it for it in held if not state.slots[it].mr_flags & FIXED][:_SLOTS_MOST]
    rows = [state.slots[it] for it in (*slots, *plan.change.wrote[:_SLOTS_MOST])]
    rows += [step.before.slots[it] for it in plan.change.wrote[:_SLOTS_MOST]]
    found = {
        at
        for row in rows
        if row.mr_len
        for at in (
            row.mr_base - 1,
            row.mr_base,
            row.mr_base + row.mr_len // 2,
            row.mr_end - 1,
            row.mr_end,
        )
    }

    return sorted(it for it in found if 0 <= it < step.ground.end)


def _holds(row: RangeDesc, at: int) -> bool:
    return row.mr_base <= at < row.mr_end


def _odd_extents(step: Step, plan: Plan, held: list[int]) -> list[tuple[int, int]]:
    """Where firmware left a slot that decides more than its range, such as a mask with holes."""
    found = []
    for slot in held:
        row = plan.after.slots[slot]
        lo, hi = find_extent(step.driver, plan.after, slot)
        if slot not in plan.change.wrote and not (row.mr_base <= lo and hi <= row.mr_end):
            found.append((lo, hi))

    return found
