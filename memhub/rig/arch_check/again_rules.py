"""The same question asked again: by the same driver, by a new one, and with small differences."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from memhub.abi import RangeDesc, owner_bytes
from memhub.core.driver import RangeState
from memhub.core.kernel import OptionError
from memhub.errors import DriverFailed
from memhub.rig.arch_check.arch_rules import pickle_copy
from memhub.rig.arch_check.asking import Answer, Request, ask_driver, copy_state
from memhub.rig.arch_check.busy_rules import check_busy
from memhub.rig.arch_check.finding import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.core.asked_driver import AskedDriver, Plan
    from memhub.rig.arch_check.step_rules import Step


def check_again(step: Step, answer: Answer, fresh: AskedDriver) -> Iterator[Fault]:
    """The same question to the same driver, and to one that was asked nothing before."""
    request = Request(step.request.op, replace(step.request.desc))
    for _ in range(2):
        again = ask_driver(step.ground, step.driver, copy_state(step.before), request)
        if not again.same_as(answer):
            yield step.say(
                "not-deterministic",
                f"asked twice, it answers first ({answer.in_words()}), then ({again.in_words()})",
            )
            return

    alone = ask_driver(step.ground, fresh, copy_state(step.before), request)
    if not alone.same_as(answer):
        yield step.say(
            "remembers",
            f"in the same state, a driver that was asked nothing before answers "
            f"({alone.in_words()}), and this one ({answer.in_words()})",
        )


def check_variants(step: Step, answer: Answer) -> Iterator[Fault]:
    """The question with another owner, with slots that are BUSY, and with registers re-read."""
    yield from _check_owner(step, answer)
    yield from check_busy(step, answer)
    if step.before.settled:
        state = copy_state(step.before)
        unsettled = RangeState(state.slots, state.msrs, settled=False)
        other = ask_driver(step.ground, step.driver, unsettled, step.request)
        if not other.same_as(answer) and not _only_wider(answer, other):
            yield step.say(
                "settled-wrongly",
                f"re-reading the registers makes a difference: ({other.in_words()}), not "
                f"({answer.in_words()})",
            )


def _only_wider(answer: Answer, other: Answer) -> bool:
    """Whether two plans make one table."""
    return (
        answer.plan is not None
        and other.plan is not None
        and answer.plan.after.slots == other.plan.after.slots
    )


def _check_owner(step: Step, answer: Answer) -> Iterator[Fault]:
    desc = step.request.desc
    if not desc.owner:
        return

    label = owner_bytes("root" if desc.owner != "root" else "kernel")
    renamed = Request(step.request.op, replace(desc, mr_owner=label))
    other = ask_driver(step.ground, step.driver, copy_state(step.before), renamed)
    if _without_owner(other) != _without_owner(answer):
        yield step.say(
            "owner-decides",
            f"({answer.in_words()}); with the owner {renamed.desc.owner} ({other.in_words()})",
        )


def _without_owner(answer: Answer) -> tuple[object, ...]:
    if answer.plan is None:
        return answer.essence()[:2]

    rows = tuple([(it.mr_base, it.mr_len, it.mr_flags) for it in answer.plan.after.slots])

    return "granted", tuple(sorted(answer.plan.change.wrote)), rows


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer as it was, to compare with what has become of it."""

    step: Step
    plan: Plan
    slots: dict[int, RangeDesc]
    msrs: dict[int, int]

    @classmethod
    def keep(cls, step: Step, plan: Plan) -> KeptAnswer:
        """Copy what an answer says now."""
        change = plan.change

        return cls(
            step,
            plan,
            {slot: replace(it) for slot, it in change.slots.items()},
            dict(change.msrs),
        )

    def check(self) -> Iterator[Fault]:
        """Whether it has changed since."""
        change = self.plan.change
        if dict(change.slots) != self.slots or dict(change.msrs) != self.msrs:
            yield self.step.say(
                "changes-its-answer",
                f"answered with slots {self.slots} and registers {self.msrs}; later the same "
                f"answer says {dict(change.slots)} and {dict(change.msrs)}",
            )


def check_copy(step: Step, answer: Answer) -> Iterator[Fault]:
    """A driver that was pickled, and one that was copied, answer as the original does."""
    for how in (pickle_copy, copy.deepcopy):
        try:
            other = how(step.driver)
        except (DriverFailed, OptionError):
            raise
        except Exception as error:  # noqa: BLE001 - a stranger's class
            words = f"the driver cannot be copied: {type(error).__name__}: {error}"
            yield Fault("not-picklable", "", words)
            return

        other.mark = step.ground.mark
        copied = ask_driver(step.ground, other, copy_state(step.before), step.request)
        if not copied.same_as(answer):
            yield step.say(
                "copy-differs", f"a copy answers ({copied.in_words()}), not ({answer.in_words()})"
            )
            return
