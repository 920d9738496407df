"""Ranges that a driver takes, found by asking, and sequences of requests made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from memhub.abi import (
    FLAG_WORDS,
    MDF_ACTIVE,
    MDF_FORCE,
    MDF_SETTABLE,
    PAGE_SIZE,
    U64_MAX,
    RangeDesc,
    owner_bytes,
)
from memhub.rig.arch_check.asking import FIXED, Answer, Request, ask_driver
from memhub.rig.arch_check.far_shapes import (
    choose_far,
    far_overlaps,
    far_spans,
    fine_overlaps,
    finest_step,
    unusual_spans,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from memhub.rig.arch_check.ground import Ground

Span = tuple[int, int]
_LENGTHS: Final = (
    *(PAGE_SIZE << it for it in range(19)),
    *(PAGE_SIZE >> it for it in range(1, 13)),
)
_BASES: Final = (0x10000000, 0x80000000, 0x1000000, 0x40000000, 0xE0000000, 0x100000, 0x80000, 0)
#: Overlaps of ranges near each other: the later one inside the first, around it, across an end.
_OVERLAPS_MOST: Final = 10
_ATTRIBUTES: Final = tuple(bit for bit, _ in FLAG_WORDS if bit & MDF_SETTABLE)


@dataclass(frozen=True, slots=True)
class Shapes:
    """Ranges that a driver takes on a new machine.

    Attributes:
        unit: bytes of the shortest whole-page range, or of the shortest at all.
        ranges: `(base, length)` of ranges of one to four units near each other.
        attributes: the attributes, each alone, that are granted.
        refused: those of `Arch.attributes` that are not.
        overlaps: pairs of different ranges that overlap.
        apart: pairs that touch or lie apart.
        free_slots: how many slots a range can take at the start.
        fixed: ranges in and over fixed slots.
        firmware: ranges that slots hold at the start and that can be removed.
        far: long ranges, and ranges near 4 GiB, above it and at the CPU's end; also those for which
            the driver has no answer.
        force: MDF_FORCE where no range is granted without it; it is part of each of `attributes`.
    """

    unit: int
    ranges: tuple[Span, ...]
    attributes: tuple[int, ...]
    refused: tuple[int, ...]
    overlaps: tuple[tuple[Span, Span], ...]
    apart: tuple[tuple[Span, Span], ...]
    free_slots: int
    fixed: tuple[Span, ...] = ()
    firmware: tuple[Span, ...] = ()
    far: tuple[Span, ...] = ()
    force: int = 0

    @staticmethod
    def make(where: Span, attribute: int, owner: str = "one") -> Request:
        """An UPDATE of a range."""
        return Request("update", RangeDesc(*where, attribute, owner_bytes(owner)))

    @staticmethod
    def is_free_of_fixed(answers: Sequence[Answer]) -> bool:
        """Whether no fixed slot was written: those reach beyond what is asked for."""
        plans = [it.plan for it in answers if it.plan is not None]

        return not any(
            plan.after.slots[slot].mr_flags & FIXED for plan in plans for slot in plan.change.wrote
        )

    def row(self, count: int) -> list[Span]:
        """So many ranges beside each other that do not touch."""
        base, length = self.ranges[0]
        step = 1 << (2 * length - 1).bit_length()

        return [(base + it * step, length) for it in range(count)]


def find_shapes(
    ground: Ground, free_slots: int, given: Sequence[RangeDesc]
) -> Shapes | list[tuple[Request, Answer]]:
    """Ask for ranges until one is granted; the answers if none is.

    Args:
        ground: the machine.
        free_slots: how many slots are free.
        given: ranges that the driver is known to take.
    """
    prober = _Prober(ground)
    found = prober.find_first(given)
    if found is None:
        return prober.answers

    base, unit, first = found
    spans = [(base + it * unit, count * unit) for count in (1, 2, 3, 4) for it in range(4)]
    ranges = [it for it in spans if prober.is_granted(it, first)]
    ranges = ranges or [(base, unit)]
    force = first & MDF_FORCE
    declared = [it | force for it in _ATTRIBUTES if it & ground.arch.attributes]
    granted = [it for it in declared if prober.is_granted(ranges[0], it)]
    # a driver that gives two answers to one question is told later
    granted = granted or [first]
    pairs = [(one, other) for one in ranges for other in ranges if one != other]
    over = [it for it in pairs if _overlap(*it)]
    over.sort(key=lambda it: (_kind_of_overlap(*it), it))
    far, far_granted = prober.find_far(unit, first)
    step = finest_step(base, unit, lambda it: prober.is_granted(it, first))

    return Shapes(
        unit,
        tuple(ranges),
        tuple(granted),
        tuple([it for it in declared if it not in granted]),
        (
            *fine_overlaps(base, unit, step),
            *_one_of_each(over)[:_OVERLAPS_MOST],
            *far_overlaps(far_granted),
        ),
        tuple(_touching_first([it for it in pairs if not _overlap(*it)])),
        free_slots,
        tuple([it for it in _fixed_spans(ground) if granted and prober.is_granted(it, granted[0])]),
        _firmware_spans(ground),
        tuple(choose_far(far)),
        force,
    )


class _Prober:
    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self.answers: list[tuple[Request, Answer]] = []

    def is_granted(self, where: Span, attribute: int) -> bool:
        assert self._ground.start is not None
        base, length = where
        if base + length > self._ground.end:
            return False

        request = Shapes.make(where, attribute)
        answer = ask_driver(self._ground, self._ground.new_driver(), self._ground.start, request)
        self.answers.append((request, answer))

        return answer.plan is not None

    def find_first(self, given: Sequence[RangeDesc]) -> tuple[int, int, int] | None:
        for it in given:
            if self.is_granted((it.mr_base, it.mr_len), it.mr_flags):
                return it.mr_base, it.mr_len, it.mr_flags

        declared = [it for it in _ATTRIBUTES if it & self._ground.arch.attributes]
        usual = [(base, length) for length in _LENGTHS for base in _BASES]
        forced = [it | MDF_FORCE for it in declared]
        spans = (usual, unusual_spans(self._ground.end), usual)
        for searched, flags in zip(spans, (declared, declared, forced), strict=True):
            for where in searched:
                for attribute in flags:
                    if self.is_granted(where, attribute):
                        return *where, attribute

        return None

    def find_far(self, unit: int, attribute: int) -> tuple[list[Span], list[Span]]:
        """Far and long ranges: those that are granted or get no answer, and those granted."""
        shown, granted = [], []
        for it in far_spans(unit, self._ground.end):
            if self.is_granted(it, attribute):
                granted.append(it)
                shown.append(it)
            elif self.answers[-1][1].fault is not None:
                shown.append(it)

        return shown, granted


def _fixed_spans(ground: Ground) -> list[Span]:
    """Ranges that begin in a fixed slot: part of it, all of it, and the next one too."""
    assert ground.start is not None
    rows = [it for it in ground.start.slots if it.mr_flags & FIXED and it.mr_len]
    chosen = [*rows[:1], *rows[len(rows) // 2 : len(rows) // 2 + 1], *rows[-2:-1]]

    return [
        span
        for row in chosen
        for span in (
            (row.mr_base, row.mr_len),
            (row.mr_base, 2 * row.mr_len),
            (row.mr_base, row.mr_len // 2),
        )
        if span[1]
    ]


def _firmware_spans(ground: Ground) -> tuple[Span, ...]:
    assert ground.start is not None
    rows = [it for it in ground.start.slots if it.mr_flags & MDF_ACTIVE]

    return tuple([(it.mr_base, it.mr_len) for it in rows if not it.mr_flags & FIXED][:3])


def _overlap(one: Span, other: Span) -> bool:
    return one[0] < other[0] + other[1] and other[0] < one[0] + one[1]


def _touching_first(pairs: list[tuple[Span, Span]]) -> list[tuple[Span, Span]]:
    """Two pairs whose later range begins where the first ends, two the other way, and one more."""
    after = [it for it in pairs if sum(it[0]) == it[1][0]][:2]
    before = [it for it in pairs if sum(it[1]) == it[0][0]][:2]
    others = [it for it in pairs if it not in after and it not in before]

    return [*after, *before, *others[: max(1, 4 - len(after) - len(before))]]


def _kind_of_overlap(one: Span, other: Span) -> tuple[bool, bool, bool, bool]:
    """How the second range lies on the first: which ends are inside, outside, or the same."""
    ends = (one[0] + one[1], other[0] + other[1])

    return other[0] < one[0], other[0] == one[0], ends[1] < ends[0], ends[1] == ends[0]


def _one_of_each(pairs: Sequence[tuple[Span, Span]]) -> list[tuple[Span, Span]]:
    kept: dict[tuple[bool, ...], tuple[Span, Span]] = {}
    for it in pairs:
        kept.setdefault(_kind_of_overlap(*it), it)

    return list(kept.values())


# Sequences


def short_sequences(shapes: Shapes) -> list[list[Request]]:
    """One and two requests, each in a few variants: what is found here is shortest."""
    first, *others = shapes.ranges
    singles = [shapes.make(it, a) for a in shapes.attributes for it in shapes.ranges[:4]]
    far = (1 << 30, first[1])
    fixed = [shapes.make(it, a) for a in shapes.attributes for it in shapes.fixed]
    removals = [make_removal(it) for it in (first, far, *shapes.firmware, *shapes.fixed[:1])]
    found = [[it] for it in (*singles, *fixed, *removals)]
    for one in singles:
        span = (one.desc.mr_base, one.desc.mr_len)
        found.append([one, make_removal(span)])
        found.append([one, one])
        found += [[one, shapes.make(it, a)] for it in others[:2] for a in shapes.attributes]

    return found


def script_sequence(shapes: Shapes) -> list[Request]:
    """Two ranges apart, taken over, removed by a base or a length alone, and removed."""
    first, other = shapes.ranges[0], shapes.row(3)[2]
    one, last = shapes.attributes[0], shapes.attributes[-1]

    return [
        shapes.make(first, one),
        shapes.make(other, one, "two"),
        shapes.make(other, last),
        shapes.make(first, last, "two"),
        make_removal((first[0], 2 * first[1])),
        make_removal((first[0] + first[1], first[1])),
        make_removal(other),
        shapes.make(other, last),
        make_removal(first),
        shapes.make(other, one),
        shapes.make(first, last | MDF_FORCE),
        shapes.make(other, one | MDF_FORCE),
    ]


def undo_sequences(shapes: Shapes) -> list[list[Request]]:
    """A range is removed, another one takes its slot, and a third one its place."""
    one, last = shapes.attributes[0], shapes.attributes[-1]
    apart = shapes.row(3)[2]

    return [
        [
            shapes.make(first, one),
            make_removal(first),
            shapes.make(apart, one, "two"),
            shapes.make(second, last, "two"),
        ]
        for first, second in shapes.overlaps[:2]
    ]


def far_sequence(shapes: Shapes) -> list[Request]:
    """Each far range set and removed."""
    count = len(shapes.attributes)

    return [
        it
        for number, span in enumerate(shapes.far)
        for it in (shapes.make(span, shapes.attributes[number % count]), make_removal(span))
    ]


def random_sequences(
    ground: Ground, shapes: Shapes, random: Random, count: int
) -> list[list[Request]]:
    """Sequences of up to twelve requests: many that are granted, some odd ones."""
    return [
        [_random_request(ground, shapes, random) for _ in range(random.randint(3, 12))]
        for _ in range(count)
    ]


def make_removal(where: Span, owner: str = "one") -> Request:
    """A REMOVE of a range."""
    return Request("remove", RangeDesc(*where, 0, owner_bytes(owner)))


def _random_request(ground: Ground, shapes: Shapes, random: Random) -> Request:
    near = (*shapes.ranges, *shapes.fixed[:4], *shapes.firmware)
    where, owner = random.choice(near), random.choice(("one", "two", "a b", "eight888"))
    if shapes.far and random.random() < 0.1:
        where = random.choice(shapes.far)

    if random.random() < 0.3:
        return make_removal(where, owner)

    if random.random() < 0.75:
        return shapes.make(where, random.choice(shapes.attributes), owner)

    base, length = random.choice((where, _odd_span(ground, shapes, random)))
    flags = random.choice((0, random.getrandbits(32), random.choice(_ATTRIBUTES), 0xFFFFFFFF))
    op = random.choice(("update", "update", "remove"))

    return Request(op, RangeDesc(base, length, flags, owner_bytes(random.choice((owner, "")))))


def odd_sequence(ground: Ground, shapes: Shapes) -> list[Request]:
    """Each base and length that may be wrong, and each attribute, also those that are none here."""
    bases, lengths = _odd_values(ground, shapes)
    spans = [(base, length) for base in bases for length in lengths]
    attribute = shapes.attributes[0]
    others = [shapes.make(shapes.ranges[0], it | shapes.force) for it in _ATTRIBUTES]

    return [
        *others,
        *[it for span in spans for it in (shapes.make(span, attribute), make_removal(span))],
    ]


def _odd_values(ground: Ground, shapes: Shapes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    unit = shapes.unit
    bases = (0, 1, unit // 2, PAGE_SIZE, 0xA0000, ground.end - unit, ground.end, U64_MAX - unit + 1)
    lengths = (0, 1, unit - 1, unit + 1, unit, 3 * unit, PAGE_SIZE, ground.end, U64_MAX, 1 << 63)

    return bases, lengths


def _odd_span(ground: Ground, shapes: Shapes, random: Random) -> Span:
    bases, lengths = _odd_values(ground, shapes)

    return random.choice(bases), random.choice(lengths)
