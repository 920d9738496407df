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

    from memhub.rig.arch_check.ground import Ground

Span = tuple[int, int]
_LENGTHS: Final = (
    *(PAGE_SIZE << it for it in range(19)),
    *(PAGE_SIZE >> it for it in range(1, 13)),
)
_BASES: Final = (0x10000000, 0x80000000, 0x1000000, 0x40000000, 0xE0000000, 0x100000, 0x80000, 0)
#: Overlaps of ranges near each other: the later one inside the first, around it, across an end.
_OVERLAPS_MOST: Final = 10
ATTRIBUTES: Final = tuple(bit for bit, _ in FLAG_WORDS if bit & MDF_SETTABLE)


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
    declared = [it | force for it in ATTRIBUTES if it & ground.arch.attributes]
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

        declared = [it for it in ATTRIBUTES if it & self._ground.arch.attributes]
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


def make_removal(where: Span, owner: str = "one") -> Request:
    """A REMOVE of a range."""
    return Request("remove", RangeDesc(*where, 0, owner_bytes(owner)))
