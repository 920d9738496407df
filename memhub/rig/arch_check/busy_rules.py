"""What MDF_BUSY on a slot may lead to: EBUSY for what touches the slot, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memhub.abi import MDF_BUSY, Errno, RangeDesc
from memhub.core.ranges.range_table import with_busy
from memhub.rig.arch_check.asking import (
    Answer,
    Request,
    ask_driver,
    ask_types,
    copy_state,
    find_extent,
    rows_of,
)
from memhub.rig.arch_check.finding import Fault
from memhub.rig.arch_check.step_rules import check_inputs, check_refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from memhub.core.asking.asked_driver import Plan
    from memhub.core.effective.typemap import TypeMap
    from memhub.errors import DeviceError
    from memhub.rig.arch_check.step_rules import Step


def check_busy(step: Step, answer: Answer) -> Iterator[Fault]:
    """The question where every slot in use is BUSY, and where one is that it does not touch."""
    slots, desc = step.before.slots, step.request.desc
    used = [slot for slot, row in enumerate(slots) if row.mr_len]
    if not used or desc.mr_flags & MDF_BUSY:
        return

    wrote = answer.plan.change.wrote if answer.plan is not None else ()
    touched = {it for it in used if it in wrote or _overlap(slots[it], desc)}
    yield from _check_marked(step, answer, used, touched)
    others = [it for it in used if it not in touched]
    for slot in sorted({*others[:1], *others[-1:]}) if touched or len(others) > 1 else ():
        yield from _check_marked(step, answer, [slot], touched)


def _check_marked(
    step: Step, answer: Answer, slots: Sequence[int], touched: set[int]
) -> Iterator[Fault]:
    """The question where some slots are BUSY."""
    marked = with_busy(copy_state(step.before), slots)
    request = Request(step.request.op, replace(step.request.desc))
    inputs = (rows_of(marked.slots), dict(marked.msrs))
    shown = ask_driver(step.ground, step.driver, marked, request)
    there = replace(step, before=marked)
    yield from check_inputs(there, inputs)
    if request.desc != step.request.desc:
        yield step.say("changes-its-input", "changed the descriptor, where slots are BUSY")

    refused = shown.refusal
    if refused is not None and refused.code is Errno.EBUSY and touched.intersection(slots):
        yield from check_refused(there, refused)
        yield from _check_obstacles(there, refused, touched)
    elif _without_busy(shown) != _without_busy(answer):
        words = ", ".join(f"slot {it}" for it in slots)
        yield step.say(
            "busy-changes-answer",
            f"({answer.in_words()}); where {words} is BUSY ({shown.in_words()})",
        )


def _check_obstacles(step: Step, refused: DeviceError, touched: set[int]) -> Iterator[Fault]:
    named = [it.slot for it in refused.obstacles if it.slot is not None]
    wrong = [it for it in named if it not in touched]
    if not named:
        yield step.say("refusal-without-obstacles", f"{refused}: no slot is named")
    elif wrong:
        words = f"{refused}: names slot {wrong[0]}, which the request does not touch"
        yield step.say("obstacle-wrong", words)


def check_busy_types(step: Step, plan: Plan, types: TypeMap) -> Iterator[Fault]:
    """The types, and what `extent` says, where the slots that were written are BUSY."""
    marked = with_busy(copy_state(plan.after), plan.change.wrote)
    for slot in plan.change.wrote:
        bounds = [find_extent(step.driver, it, slot) for it in (plan.after, marked)]
        if bounds[0] != bounds[1]:
            words = f"for slot {slot} it answers {bounds[0]}; where that is BUSY {bounds[1]}"
            yield step.say("busy-changes-answer", words, "extent")
            break

    other = ask_types(step.ground, step.driver, marked)
    if isinstance(other, Fault):
        yield other
        return

    at = types.first_difference(other)
    if at is not None:
        words = f"the type of {at:#x} is {types.at(at)}; where its slot is BUSY {other.at(at)}"
        yield step.say("busy-changes-answer", words, "types")


def _overlap(row: RangeDesc, desc: RangeDesc) -> bool:
    return row.mr_base < desc.mr_end and desc.mr_base < row.mr_end


def _without_busy(answer: Answer) -> tuple[object, ...]:
    if answer.plan is None:
        return answer.essence()[:2]

    rows = tuple(
        [
            (it.mr_base, it.mr_len, it.mr_flags & ~MDF_BUSY, it.mr_owner)
            for it in answer.plan.after.slots
        ]
    )

    return "granted", tuple(sorted(answer.plan.change.wrote)), rows
