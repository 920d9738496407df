"""What has to hold of two requests: overlaps, order, duplicates; and of a full table."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Final

from memhub.abi import (
    MDF_ACTIVE,
    MDF_ATTRMASK,
    Errno,
    RangeDesc,
    flag_words,
    owner_bytes,
)
from memhub.core.drivers.range_refusals import span, type_words
from memhub.rig.arch_check.asking import FIXED, Answer, Request
from memhub.rig.arch_check.finding import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from memhub.rig.arch_check.ground import Ground
    from memhub.rig.arch_check.known_answers import KnownAnswers
    from memhub.rig.arch_check.shapes import Shapes

Pair = tuple[list[Request], Fault]
#: Powers of two from here on may be where a driver's addresses end.
_LIMIT_LEAST: Final = 28
#: Slots that are filled one by one, with every rule.
_FILLED_MOST: Final = 64


class PairChecker:
    """Asks for one range and then another, on a new machine each time.

    Args:
        ground: the machine.
        shapes: ranges that the driver takes.
        known: what it has answered.
    """

    def __init__(self, ground: Ground, shapes: Shapes, known: KnownAnswers) -> None:
        self._ground = ground
        self._shapes = shapes
        self._known = known

    def check_pairs(self) -> Iterator[Pair]:
        """The rules of two requests; each fault with the requests that show it."""
        yield from self._check_attributes()
        yield from self._check_limits()
        yield from self._check_duplicates()
        for one, other in product(self._shapes.attributes, repeat=2):
            yield from self._check_overlaps(one, other)
            yield from self._check_apart(one, other)

    def _check_attributes(self) -> Iterator[Pair]:
        ground, shapes = self._ground, self._shapes
        for attribute in shapes.refused:
            request = shapes.make(shapes.ranges[0], attribute)
            (answer, *_) = self._known.each(request)
            words = " ".join(flag_words(attribute))
            if not ground.options and answer.fault is None and not self._is_taken(request.desc):
                yield (
                    [request],
                    Fault(
                        "attribute-refused",
                        "update",
                        f"`Arch.attributes` has {words}, but each range of it is refused: "
                        f"{answer.in_words()}",
                    ),
                )

    def _check_limits(self) -> Iterator[Pair]:
        """A range that ends at a limit is granted where the one before it is."""
        shapes, unit = self._shapes, self._shapes.ranges[0][1]
        limits = [1 << it for it in range(_LIMIT_LEAST, self._ground.end.bit_length())]
        for limit in limits if not limits[0] % unit else ():
            refused, beyond, before = [
                shapes.make((limit + step * unit, unit), shapes.attributes[0])
                for step in (-1, 0, -2)
            ]
            answer = self._known.each(refused)[0]
            if not _is_out_of_bounds(answer) or self._known.each(beyond)[0].plan is not None:
                continue

            if self._known.each(before)[0].plan is not None:
                words = (
                    f"ends at {refused.desc.mr_end:#x}: {answer.in_words()}; {before} is granted"
                )
                yield [refused], Fault("refuses-last", "update", f"{refused} {words}")

    def _is_taken(self, desc: RangeDesc) -> bool:
        """Whether a slot that firmware left gives this range another attribute already."""
        start = self._ground.start

        return start is not None and any(
            it.mr_flags & MDF_ACTIVE
            and (it.mr_flags ^ desc.mr_flags) & MDF_ATTRMASK
            and it.mr_base < desc.mr_end
            and it.mr_end > desc.mr_base
            for it in start.slots
        )

    def _check_duplicates(self) -> Iterator[Pair]:
        for attribute in self._shapes.attributes:
            request = self._shapes.make(self._shapes.ranges[0], attribute)
            answers = self._known.each(request, request)
            if len(answers) < 2 or answers[0].plan is None or answers[1].plan is None:
                continue

            first, second = answers[0].plan.change.wrote, answers[1].plan.change.wrote
            if set(first) != set(second):
                words = f"{request}: asked twice, it takes {first}, and then {second} as well"
                yield [request, request], Fault("duplicate-range", "update", words)

    def _check_overlaps(self, one: int, other: int) -> Iterator[Pair]:
        shapes = self._shapes
        seen: dict[bool, tuple[Request, Request]] = {}
        for first, second in shapes.overlaps:
            pair = (shapes.make(first, one), shapes.make(second, other, "two"))
            answers = self._known.each(*pair)
            if len(answers) < 2 or answers[0].plan is None or answers[1].fault is not None:
                continue

            if not shapes.is_free_of_fixed(answers):
                continue

            yield from self._check_undefined(pair, answers[1])
            if self._is_about_overlap(answers[1]):
                seen.setdefault(answers[1].plan is not None, pair)
                yield from self._check_order(pair, answers[1])

        if len(seen) == 2:
            yield from self._tell_difference(seen)

    @staticmethod
    def _is_about_overlap(answer: Answer) -> bool:
        return answer.refusal is None or answer.refusal.code is not Errno.ENOSPC

    @staticmethod
    def _tell_difference(seen: dict[bool, tuple[Request, Request]]) -> Iterator[Pair]:
        granted, refused = seen[True], seen[False]
        words = (
            f"{granted[1]} over {span(granted[0].desc)} is granted, but {refused[1]} over "
            f"{span(refused[0].desc)} ({type_words(refused[0].desc.mr_flags)}) is refused"
        )
        yield list(granted), Fault("refuses-some-overlaps", "update", words)

    def _check_undefined(self, pair: Sequence[Request], answer: Answer) -> Iterator[Pair]:
        plan = answer.plan
        if plan is None or not self._ground.clean or "types" in self._ground.hung:
            return

        found = self._ground.new_driver().types(plan.after)
        lo = max(it.desc.mr_base for it in pair)
        if found.at(lo) in ("undefined", "reserved"):
            words = f"{pair[1]}: was granted, and leaves the type of {lo:#x} {found.at(lo)}"
            yield list(pair), Fault("type-undefined", "types", words)

    def _check_order(self, pair: tuple[Request, Request], answer: Answer) -> Iterator[Pair]:
        turned = (pair[1], pair[0])
        answers = self._known.each(*turned)
        if len(answers) < 2 or answers[0].plan is None or answers[1].fault is not None:
            return

        if (answers[1].plan is None) != (answer.plan is None):
            words = (
                f"{pair[1]} after {pair[0]} ({answer.in_words()}); the other way round "
                f"({answers[1].in_words()})"
            )
            yield list(pair), Fault("refuses-order", "update", words)

    def _check_apart(self, one: int, other: int) -> Iterator[Pair]:
        shapes = self._shapes
        if self._ground.start is None or shapes.free_slots < 2:
            return

        for first, second in shapes.apart:
            pair = (shapes.make(first, one), shapes.make(second, other, "two"))
            answers = self._known.each(*pair)
            if len(answers) < 2 or answers[0].plan is None or answers[1].refusal is None:
                continue

            if self._known.is_granted(pair[1]):
                words = f"{pair[1]}: was refused beside {pair[0].desc} ({answers[1].in_words()})"
                yield list(pair), Fault("refuses-apart", "update", words)
                return


def fill_requests(shapes: Shapes) -> list[Request]:
    """Fill the table with ranges that touch none, one too many; remove them; fill it again."""
    attribute = shapes.attributes[0]
    rows = shapes.row(min(shapes.free_slots, _FILLED_MOST) + 1)
    updates = [shapes.make(it, attribute) for it in rows]
    removes = [Request("remove", RangeDesc(b, n, 0, owner_bytes("one"))) for b, n in rows[:-1]]

    return [*updates, *removes, *updates[:2]]


def mixed_fillings(shapes: Shapes) -> Iterator[list[Request]]:
    """Fill the table so that each slot has each attribute once, with others beside it."""
    attributes, rows = shapes.attributes, shapes.row(min(shapes.free_slots, _FILLED_MOST))
    for first in range(len(attributes)):
        chosen = [attributes[(first + number) % len(attributes)] for number in range(len(rows))]
        yield [shapes.make(*it) for it in zip(rows, chosen, strict=True)]


def count_free(ground: Ground) -> int:
    """Slots of the first state that a range can take."""
    start = ground.start
    assert start is not None
    driver = ground.new_driver()
    from memhub.rig.arch_check.asking import is_held

    return sum(
        1
        for slot, row in enumerate(start.slots)
        if not row.mr_flags & FIXED and not is_held(driver, start, slot)
    )


def _is_out_of_bounds(answer: Answer) -> bool:
    """Whether a range was refused for what it is, and not for what a slot holds."""
    refusal = answer.refusal

    return refusal is not None and refusal.code is Errno.EINVAL and not refusal.obstacles
