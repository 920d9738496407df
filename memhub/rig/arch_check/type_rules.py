"""Effective types against slots: inside ranges, where they overlap, and outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.abi import (
    MDF_ACTIVE,
    MDF_ATTRMASK,
    MDF_SETTABLE,
    TYPE_OF_FLAG,
)
from memhub.core.drivers.range_refusals import type_words
from memhub.errors import DeviceError, DriverFailed
from memhub.rig.arch_check.asking import FIXED, find_extent, is_held
from memhub.rig.arch_check.finding import Fault
from memhub.rig.arch_check.ground import fault_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.core.asking.asked_driver import Plan
    from memhub.core.drivers.driver import RangeState
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
    extents = _held_extents(step, state)
    held = list(extents)
    ends = [(state.slots[it].mr_base, state.slots[it].mr_end, it) for it in held]
    odd = _odd_extents(plan, extents)
    for at in _points(step, plan, held):
        rows = [slot for base, end, slot in ends if base <= at < end]
        if not rows and any(lo <= at < hi for lo, hi in odd):
            continue

        found = after.at(at)
        if rows:
            fault = _check_inside(step, plan, rows, at, found, base)
        elif found == base.at(at) or _holds_any(step, start, at):
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


def _holds_any(step: Step, state: RangeState, at: int) -> bool:
    """Whether a range that counts holds an address."""
    return any(
        row.mr_base <= at < row.mr_end and is_held(step.driver, state, slot)
        for slot, row in enumerate(state.slots)
    )


def _held_extents(step: Step, state: RangeState) -> dict[int, tuple[int, int]]:
    """The slots whose ranges count, each with its extent."""
    found = {}
    for slot, row in enumerate(state.slots):
        if row.mr_len:
            lo, hi = find_extent(step.driver, state, slot)
            if row.mr_flags & MDF_ACTIVE or lo < hi:
                found[slot] = (lo, hi)

    return found


def _odd_extents(plan: Plan, extents: dict[int, tuple[int, int]]) -> list[tuple[int, int]]:
    """Where firmware left a slot that decides more than its range, such as a mask with holes."""
    found = []
    for slot, (lo, hi) in extents.items():
        row = plan.after.slots[slot]
        if slot not in plan.change.wrote and not (row.mr_base <= lo and hi <= row.mr_end):
            found.append((lo, hi))

    return found
