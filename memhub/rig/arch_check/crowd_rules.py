"""What must not depend on other ranges: whether two conflict, and where a held one is found."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Final, NamedTuple

from memhub.abi import MDF_ATTRMASK, MDF_BUSY, Errno
from memhub.rig.arch_check.asking import (
    FIXED,
    Answer,
    Request,
    is_held,
    is_plain,
    is_same_range,
)
from memhub.rig.arch_check.finding import Fault
from memhub.rig.arch_check.shapes import make_removal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from memhub.abi import RangeDesc
    from memhub.core.drivers.driver import RangeState
    from memhub.rig.arch_check.ground import Ground
    from memhub.rig.arch_check.known_answers import KnownAnswers
    from memhub.rig.arch_check.running import Outcome
    from memhub.rig.arch_check.shapes import Shapes

Told = tuple[list[Request], Fault]
#: Unrelated ranges beside which a pair is asked for, at most.
_BESIDE_MOST: Final = 30
#: Units between the first range and those that are unrelated to all that are near it.
_PLACES_OFF: Final = 4
_SAME_MOST: Final = 2
_PAIRS_MOST: Final = 4


class Beside(NamedTuple):
    """What is asked before the first of two requests, and between them."""

    before: tuple[Request, ...]
    between: tuple[Request, ...] = ()


class CrowdChecker:
    """Asks for pairs of ranges beside others that touch neither.

    Args:
        ground: the machine.
        shapes: ranges that the driver takes.
        known: what it has answered.
    """

    def __init__(self, ground: Ground, shapes: Shapes, known: KnownAnswers) -> None:
        self._ground = ground
        self._shapes = shapes
        self._known = known
        self._stops = ground.stops_at_free

    def check_pairs(self) -> Iterator[Told]:
        """Each pair again with others beside it; each fault with the requests that show it."""
        shapes = self._shapes
        besides = list(self._make_besides())
        overlaps = [*shapes.overlaps[:_PAIRS_MOST], *shapes.overlaps[_PAIRS_MOST:][-1:]]
        pairs = [*overlaps, *((it, it) for it in shapes.ranges[:_SAME_MOST])]
        for (first, second), one, other in product(pairs, shapes.attributes, shapes.attributes):
            pair = (shapes.make(first, one), shapes.make(second, other, "two"))
            for it in besides:
                if not _touches(it, pair):
                    yield from self._check_beside(pair, it)

    def _make_besides(self) -> Iterator[Beside]:
        """Other ranges: one of each attribute, two, as many as there are slots, and a hole."""
        shapes, spare = self._shapes, min(self._shapes.free_slots - 2, _BESIDE_MOST)
        if spare < 1:
            return

        spans = shapes.row(_PLACES_OFF + max(spare, 2) + 1)[_PLACES_OFF:]
        count = len(shapes.attributes)
        rows = [shapes.make(it, shapes.attributes[n % count]) for n, it in enumerate(spans)]
        found = [Beside((shapes.make(spans[0], it),)) for it in shapes.attributes]
        found += [
            Beside((), (rows[0],)),
            Beside((rows[0],), (make_removal(spans[0]),)),
            Beside(tuple(rows[:2]), (make_removal(spans[0]),)),
            Beside(tuple(rows[:2]), (make_removal(spans[1]),)),
            Beside(tuple(rows[:spare])),
            Beside((), tuple(rows[:spare])),
            Beside(tuple(rows[: spare + 1])),
            Beside(tuple(rows[: spare + 1]), (make_removal(spans[0]),)),
            Beside(tuple(rows[: spare // 2]), tuple(rows[spare // 2 : spare])),
        ]
        for it in found:
            if self._known.is_granted(*it.before, *it.between):
                yield it

    def _check_beside(self, pair: tuple[Request, Request], beside: Beside) -> Iterator[Told]:
        alone = self._known.last(*pair)
        steps = (*beside.before, pair[0], *beside.between, pair[1])
        if not self._known.is_granted(*steps[:-1]) or not self._known.is_granted(pair[0]):
            return

        answer = self._known.last(*steps)
        same = is_same_range(pair[0].desc, pair[1].desc)
        if self._stops and any(it.op == "remove" for it in beside.between):
            return  # the walk ends at the hole

        if same and answer.plan is None and _is_full(answer) and alone.plan is not None:
            words = f"{pair[1]}: was refused with ENOSPC, but the slot that holds it can be taken"
            yield list(steps), Fault("full-too-early", "update", words)

        if not _is_comparable(alone) or not _is_comparable(answer):
            return

        if _outcome_of(alone) != _outcome_of(answer):
            words = (
                f"{pair[1]} after {pair[0]} ({answer.in_words()}); without the ranges that touch "
                f"neither ({alone.in_words()})"
            )
            yield list(steps), Fault("other-ranges-decide", "update", words)
        elif same and answer.plan is not None and alone.plan is not None:
            yield from self._check_same_slot(steps, pair, answer)

    def _check_same_slot(
        self, steps: tuple[Request, ...], pair: tuple[Request, Request], answer: Answer
    ) -> Iterator[Told]:
        assert answer.plan is not None
        first = self._known.last(*steps[: steps.index(pair[0]) + 1]).plan
        assert first is not None
        wrote, again = first.change.wrote, answer.plan.change.wrote
        if set(wrote) != set(again) and not self._is_fixed(answer):
            words = f"{pair[1]}: asked twice, it takes {wrote}, and then {again} as well"
            yield list(steps), Fault("duplicate-range", "update", words)

    @staticmethod
    def _is_fixed(answer: Answer) -> bool:
        plan = answer.plan
        assert plan is not None

        return any(plan.after.slots[it].mr_flags & FIXED for it in plan.change.wrote)

    # What a sequence has left

    def check_outcome(
        self, requests: Sequence[Request], outcome: Outcome
    ) -> Iterator[tuple[int, Fault]]:
        """Look at each table of a sequence for one range twice, and for ranges that conflict."""
        states = outcome.states
        for number, (request, answer) in enumerate(zip(requests, outcome.answers, strict=False)):
            if answer.fault is not None or len(states) <= number + 1:
                return

            if request.op == "update" and is_plain(self._ground, request):
                found = self._check_table(request, answer, states[number], states[number + 1])
                if found is not None:
                    yield number, found

    def _check_table(
        self, request: Request, answer: Answer, before: RangeState, after: RangeState
    ) -> Fault | None:
        same = [it for it in before.slots if it.mr_len and is_same_range(it, request.desc)]
        free_of_fixed = [it for it in same if not it.mr_flags & FIXED]
        if answer.plan is not None and not self._stops:
            held = [
                slot
                for slot, it in enumerate(after.slots)
                if is_same_range(it, request.desc) and not it.mr_flags & FIXED
            ]
            if len(held) > max(len(free_of_fixed), 1):
                return Fault("duplicate-range", "update", f"{request}: slots {held} hold it now")

        if same or self._stops:
            return None

        others = self._find_set_by_clients(before)
        if others is None or not self._known.is_granted(request):
            return None

        refused = [it for it in others if self._is_refused_over(it, request)]
        if answer.plan is not None and refused and not self._is_fixed(answer):
            words = f"was granted; after {refused[0]} alone it is refused"
            return Fault("other-ranges-decide", "update", f"{request}: {words}")

        if _is_comparable(answer) and answer.plan is None and not refused:
            words = "but after none of the ranges that are held, alone"
            said = f"{request}: was refused ({answer.in_words()}), {words}"
            return Fault("other-ranges-decide", "update", said)

        return None

    def _find_set_by_clients(self, state: RangeState) -> list[Request] | None:
        """What would set the slots that differ from the start; None if one is odd."""
        start = self._ground.start
        assert start is not None
        found = []
        for slot, (was, row) in enumerate(zip(start.slots, state.slots, strict=True)):
            if was == row or not is_held(self._known.driver, state, slot):
                continue

            asked = Request("update", self._as_asked(row))
            if row.mr_flags & (FIXED | MDF_BUSY) or not is_plain(self._ground, asked):
                return None

            if not self._sets(asked, row):
                return None

            found.append(asked)

        return found

    def _sets(self, request: Request, row: RangeDesc) -> bool:
        """Whether a request alone makes a slot such a row, and not fixed ones, as below 1 MiB.

        A row of another request may be where no request for it leads: a driver that leaves out
        the bits of an address above the CPU's holds 2^36 as 0.
        """
        plan = self._known.last(request).plan
        if plan is None:
            return False

        made = [plan.after.slots[it] for it in plan.change.wrote]

        return any(is_same_range(it, row) and not it.mr_flags & FIXED for it in made)

    def _as_asked(self, row: RangeDesc) -> RangeDesc:
        return replace(row, mr_flags=row.mr_flags & MDF_ATTRMASK | self._shapes.force)

    def _is_refused_over(self, held: Request, request: Request) -> bool:
        answer = self._known.last(held, request)

        return answer.plan is None and _is_comparable(answer)


def _is_comparable(answer: Answer) -> bool:
    """Whether an answer is about conflicts, and not about room."""
    code = answer.refusal.code if answer.refusal is not None else None

    return answer.fault is None and code not in (Errno.ENOSPC, Errno.EBUSY)


def _touches(beside: Beside, pair: tuple[Request, Request]) -> bool:
    return any(
        it.desc.mr_base < other.desc.mr_end and other.desc.mr_base < it.desc.mr_end
        for it in (*beside.before, *beside.between)
        for other in pair
    )


def _is_full(answer: Answer) -> bool:
    return answer.refusal is not None and answer.refusal.code is Errno.ENOSPC


def _outcome_of(answer: Answer) -> object:
    return answer.refusal.code if answer.refusal is not None else None
