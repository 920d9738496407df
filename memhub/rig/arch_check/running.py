"""Run a sequence of requests from a new machine, with every rule of a step after each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain, takewhile
from typing import TYPE_CHECKING

from memhub.errors import DeviceError, DriverFailed
from memhub.rig.arch_check.again_rules import (
    KeptAnswer,
    blame_memory,
    check_again,
    check_copy,
    check_kept_nothing,
    check_variants,
)
from memhub.rig.arch_check.asking import (
    Answer,
    Request,
    StoppedHere,
    ask_driver,
    ask_types,
    confirm_slow,
    copy_state,
    rows_of,
)
from memhub.rig.arch_check.backing_rules import check_written, find_backing
from memhub.rig.arch_check.busy_rules import check_busy_types
from memhub.rig.arch_check.finding import Fault
from memhub.rig.arch_check.ground import Ground, fault_of
from memhub.rig.arch_check.step_rules import Step, check_granted, check_inputs, check_refused
from memhub.rig.arch_check.type_rules import check_extent, check_types
from memhub.rig.arch_check.undo_rules import check_return, check_undo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from memhub.core.asking.asked_driver import AskedDriver, Plan
    from memhub.core.drivers.driver import RangeState
    from memhub.core.effective.typemap import TypeMap


@dataclass(slots=True)
class Outcome:
    """What a sequence came to.

    Attributes:
        faults: the rules that do not hold, with the step, from 0.
        answers: what the driver answered.
        states: the state before each step, and the last.
    """

    faults: list[tuple[int, Fault]]
    answers: list[Answer]
    states: list[RangeState]


class LookedAt:
    """Beginnings of sequences after each of whose steps every rule was looked at."""

    def __init__(self) -> None:
        self._known: set[tuple[Request, ...]] = set()

    def add(self, requests: Sequence[Request]) -> None:
        """Note a sequence, and what it begins with."""
        self._known.update(_beginnings(requests))

    def count(self, requests: Sequence[Request]) -> int:
        """How many of the first requests of a sequence are such a beginning."""
        return sum(1 for _ in takewhile(self._known.__contains__, _beginnings(requests)))


def _beginnings(requests: Sequence[Request]) -> Iterator[tuple[Request, ...]]:
    return (tuple(requests[:count]) for count in range(1, len(requests) + 1))


def run_steps(
    ground: Ground,
    requests: Sequence[Request],
    *,
    deep: bool = True,
    looked_at: LookedAt | None = None,
) -> Outcome:
    """Ask for one request after the other, from a new machine on.

    Args:
        ground: the machine.
        requests: what is asked.
        deep: also ask each question again, in other ways.
        looked_at: beginnings that are only asked here; what is asked deep is added to them.

    Returns:
        every fault that was seen. A method that hung before ends the sequence.
    """
    done = Outcome([], [], [])
    number = -1
    try:
        driver = ground.new_driver()
        state = ground.attach(driver)
        if state is None or not state.slots:
            return done

        known = looked_at.count(requests) if looked_at is not None else 0
        runner = _Runner(ground, driver, state, deep, max(len(requests) // 2, known), known)
        done.states.append(state)
        for number, request in enumerate(requests):
            answer = None
            for found in runner.take_step(request):
                if isinstance(found, Fault):
                    done.faults.append((number, found))
                else:
                    answer = found

            assert answer is not None
            done.answers.append(answer)
            done.states.append(runner.state)

        number = len(requests) - 1
        done.faults += [(number, it) for it in runner.check_kept()]
        if deep and number > 0:
            back = check_return(ground, driver, done.states, requests[-1])
            done.faults += [(number, it) for it in back]
    except StoppedHere:
        pass
    except DriverFailed as error:
        fault = fault_of(error)
        if fault.rule == "hangs":
            ground.hung |= {"update", "remove"}

        done.faults.append((number, fault))
    except DeviceError as error:
        done.faults.append((number, Fault("raises", "", f"{type(error).__name__}: {error}")))

    if deep and looked_at is not None:
        looked_at.add(requests[: len(done.answers)])

    return done


class _Runner:
    def __init__(
        self,
        ground: Ground,
        driver: AskedDriver,
        state: RangeState,
        deep: bool,
        copied_at: int,
        looked_at: int,
    ) -> None:
        self.ground = ground
        self.state = state
        self._driver = driver
        self._deep = deep
        self._kept: list[KeptAnswer] = []
        self._taken, self._copied_at, self._looked_at = 0, copied_at, looked_at
        types = ask_types(ground, driver, state)
        self._base: TypeMap | None = None if isinstance(types, Fault) else types
        self._types = self._base
        self._fault = types if isinstance(types, Fault) else None
        self._changed = False

    def take_step(self, request: Request) -> Iterator[Fault | Answer]:
        """Ask for a request, and look at the answer; the answer is among what is told."""
        if self._fault is not None:
            yield self._fault
            self._fault = None

        ground, driver, before = self.ground, self._driver, self.state
        unsettled = ground.rereads and not before.settled and not self._changed
        step = Step(ground, driver, before, request, unsettled)
        inputs = (rows_of(before.slots), dict(before.msrs))
        request = Request(request.op, replace(request.desc))
        answer = ask_driver(ground, driver, before, request)
        yield answer
        if answer.fault is not None:
            yield answer.fault
            return

        if self._taken < self._looked_at:
            self._taken += 1
            if answer.plan is not None:
                self._go_on(answer.plan, ask_types(ground, driver, answer.plan.after))

            return

        if answer.slow:
            seconds = confirm_slow(
                ground, before, lambda: ask_driver(ground, driver, before, request)
            )
            if seconds:
                ground.hurry()
                yield step.say("slow", f"took {seconds * 1000:.0f} ms, three times")

        yield from check_inputs(step, inputs)
        if request.desc != step.request.desc:
            yield step.say("changes-its-input", "changed the request's descriptor")

        if self._deep:
            yield from check_again(step, answer, self._new_driver())
            copied = self._taken == self._copied_at
            variants = check_variants(step, answer, every=copied)
            copies = check_copy(step, answer) if copied else iter(())
            yield from blame_memory(step, answer, self._new_driver, chain(variants, copies))
            if copied:
                yield from check_kept_nothing(step)

        self._taken += 1

        if answer.refusal is not None:
            yield from check_refused(step, answer.refusal)

        if answer.plan is not None:
            yield from self._take_effect(step, answer)

    def _new_driver(self) -> AskedDriver:
        driver = self.ground.new_driver()
        self.ground.attach(driver)

        return driver

    def _take_effect(self, step: Step, answer: Answer) -> Iterator[Fault]:
        plan = answer.plan
        assert plan is not None
        self._kept.append(KeptAnswer.keep(step, plan))
        yield from check_granted(step, plan)
        types = self._types
        after = ask_types(self.ground, step.driver, plan.after)
        if isinstance(after, Fault):
            yield after
        elif types is not None and self._base is not None:
            if not step.unsettled:
                yield from check_extent(step, plan, types, after)

            if self.ground.clean:
                yield from check_types(step, plan, self._base, after)

            yield from check_undo(step, plan, types)
            if self._deep:
                yield from check_busy_types(step, plan, after)
                yield from self._check_types_again(step, plan.after, after)
                yield from self._check_registers(step, answer, after)

        self._go_on(plan, after)

    def _go_on(self, plan: Plan, types: TypeMap | Fault) -> None:
        self._types = None if isinstance(types, Fault) else types
        self.state = plan.after
        self._changed = True

    def _check_types_again(self, step: Step, state: RangeState, types: TypeMap) -> Iterable[Fault]:
        other = ask_types(self.ground, self._new_driver(), copy_state(state))
        if isinstance(other, Fault):
            return [other]

        at = types.first_difference(other)
        if at is None:
            return []

        words = f"for one state, the type of {at:#x} is {types.at(at)}, then {other.at(at)}"

        return [step.say("remembers", words, "types")]

    def _check_registers(self, step: Step, answer: Answer, types: TypeMap) -> Iterable[Fault]:
        """A driver that writes registers reads the same ranges from them."""
        plan = answer.plan
        assert plan is not None
        if not plan.change.msrs:
            if self.ground.backing is None:
                self.ground.backing = find_backing(self.ground)

            return check_written(step, self.ground.backing, plan.after)

        again = step.driver.attach(dict(plan.after.msrs))
        if again is None:
            return [step.say("registers-disagree", "the registers are not served any more")]

        for slot, (held, read) in enumerate(zip(plan.after.slots, again.slots, strict=False)):
            if (held.mr_base, held.mr_len) != (read.mr_base, read.mr_len):
                words = f"slot {slot} holds {held}; from the registers it is {read}"
                return [step.say("registers-disagree", words)]

        found = ask_types(self.ground, step.driver, again)
        if isinstance(found, Fault):
            return [found]

        at = types.first_difference(found, 0, self.ground.end)
        if at is None:
            return []

        words = f"the type of {at:#x} is {types.at(at)}; from the registers it is {found.at(at)}"

        return [step.say("registers-disagree", words, "types")]

    def check_kept(self) -> Iterator[Fault]:
        """Whether an answer has changed since it was given."""
        for it in self._kept:
            yield from it.check()
