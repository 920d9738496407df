"""The same question asked again: by the same driver, by a new one, and with small differences."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Final

from memhub.core.asking.asked_driver import AskedDriver
from memhub.core.drivers.driver import RangeState
from memhub.errors import DriverFailed
from memhub.rig.arch_check.asking import (
    Answer,
    Request,
    StoppedHere,
    ask_driver,
    ask_types,
    copy_state,
)
from memhub.rig.arch_check.busy_rules import check_busy
from memhub.rig.arch_check.containing import call_guarded, pickle_copy
from memhub.rig.arch_check.finding import Fault
from memhub.rig.arch_check.ground import fault_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from memhub.abi import RangeDesc
    from memhub.core.asking.asked_driver import Plan
    from memhub.core.effective.typemap import TypeMap
    from memhub.rig.arch_check.step_rules import Step

#: Owners to ask with: names that a driver may know, as long as they can be, and not ASCII.
_OWNERS: Final = (
    b"root\0\0\0\0",
    b"Xorg\0\0\0\0",
    b"7 bytes\0",
    b"8 bytes!",
    b"\xff\x80\xc3\xa9\0\0\0\0",
)
#: Rules about answers to a question that is asked in other ways, which a driver that remembers its
#: questions seems to break.
_COMPARED: Final = frozenset(
    {"owner-decides", "busy-changes-answer", "settled-wrongly", "copy-differs"}
)


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


def blame_memory(
    step: Step, answer: Answer, make_fresh: Callable[[], AskedDriver], found: Iterable[Fault]
) -> Iterator[Fault]:
    """What the question in other ways has shown, or that the driver remembers the other ways.

    Args:
        step: the request.
        answer: its answer.
        make_fresh: makes a driver that was asked nothing before.
        found: what is different where the question was asked in other ways.
    """
    compared: list[Fault] = []
    try:
        for fault in found:
            if fault.rule in _COMPARED:
                compared.append(fault)
            else:
                yield fault
    except StoppedHere:
        yield from compared
        raise

    if not compared:
        return

    again = ask_driver(step.ground, step.driver, copy_state(step.before), step.request)
    if again.same_as(answer):
        yield from compared
        return

    alone = ask_driver(step.ground, make_fresh(), copy_state(step.before), step.request)
    yield step.say(
        "remembers",
        f"in the same state, a driver that was asked nothing before answers ({alone.in_words()}), "
        f"and this one, after it was asked in other ways, ({again.in_words()})",
    )


def check_variants(step: Step, answer: Answer, *, every: bool) -> Iterator[Fault]:
    """The question with another owner, with slots that are BUSY, and with registers re-read.

    Args:
        step: the request.
        answer: its answer.
        every: ask with every owner of a few, and not with one.
    """
    yield from _check_owner(step, answer, _OWNERS if every else _OWNERS[:1])
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


def _check_owner(step: Step, answer: Answer, labels: Sequence[bytes]) -> Iterator[Fault]:
    desc = step.request.desc
    if not desc.owner:
        return

    @cache
    def types() -> TypeMap | Fault:
        assert answer.plan is not None

        return ask_types(step.ground, step.driver, answer.plan.after)

    for label in labels:
        if desc.mr_owner == label:
            continue

        renamed = Request(step.request.op, replace(desc, mr_owner=label))
        other = ask_driver(step.ground, step.driver, copy_state(step.before), renamed)
        if _without_owner(other) != _without_owner(answer):
            yield step.say(
                "owner-decides",
                f"({answer.in_words()}); with the owner {renamed.desc.owner} ({other.in_words()})",
            )
            return

        yield from _check_label(step, answer, types, renamed, other)


def _check_label(
    step: Step,
    answer: Answer,
    ask_own: Callable[[], TypeMap | Fault],
    renamed: Request,
    other: Answer,
) -> Iterator[Fault]:
    """The label is kept to the byte where the first one was, and has no effect on types."""
    if answer.plan is None or other.plan is None or step.request.op == "remove":
        return

    for slot in answer.plan.change.wrote:
        kept = answer.plan.after.slots[slot].mr_owner == step.request.desc.mr_owner
        found = other.plan.after.slots[slot].mr_owner
        if kept and found != renamed.desc.mr_owner:
            words = f"asked for by {renamed.desc.mr_owner!r}, slot {slot} has the owner {found!r}"
            yield step.say("stores-other-owner", words)
            return

    own = ask_own()
    if isinstance(own, Fault):
        yield own
        return

    types = ask_types(step.ground, step.driver, other.plan.after)
    if isinstance(types, Fault):
        yield types
        return

    at = own.first_difference(types)
    if at is not None:
        words = f"the type of {at:#x} is {own.at(at)}; with the owner {renamed.desc.owner} it"
        yield step.say("owner-decides", f"{words} is {types.at(at)}", "types")


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
    ground, driver = step.ground, step.driver
    if "__reduce__" in ground.hung:
        return

    for how in (pickle_copy, copy.deepcopy):
        try:
            raw = call_guarded(ground.mark, driver, "__reduce__", partial(how, driver.raw))
        except DriverFailed as error:
            fault = fault_of(error)
            if fault.rule == "hangs":
                ground.hung.add("__reduce__")
                yield fault
            else:
                yield Fault("not-picklable", "", f"the driver cannot be copied: {fault.words}")

            return

        other = AskedDriver(raw, driver.arch, driver.machine)
        other.mark = ground.mark
        copied = ask_driver(ground, other, copy_state(step.before), step.request)
        if not copied.same_as(answer):
            yield step.say(
                "copy-differs", f"a copy answers ({copied.in_words()}), not ({answer.in_words()})"
            )
            return


def check_kept_nothing(step: Step) -> Iterator[Fault]:
    """A driver that is asked a question again is the same afterwards: it keeps no history.

    What it may keep is what it worked out when it was asked first.
    """
    ground, driver = step.ground, step.driver
    if "__reduce__" in ground.hung:
        return

    def dump() -> bytes:
        return pickle.dumps(driver.raw)

    request = Request(step.request.op, replace(step.request.desc))
    try:
        before = call_guarded(ground.mark, driver, "__reduce__", dump)
        ask_driver(ground, driver, copy_state(step.before), request)
        types = ask_types(ground, driver, copy_state(step.before))
        if isinstance(types, Fault):
            yield types
            return

        after = call_guarded(ground.mark, driver, "__reduce__", dump)
    except DriverFailed:
        return  # told where copies are looked at

    if before != after:
        words = f"pickled, it has {len(before)} bytes, then {len(after)}"
        said = f"{request}: asked once more, the driver is not what it was: {words}"
        yield Fault("remembers", "", said)
