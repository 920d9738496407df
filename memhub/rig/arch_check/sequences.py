"""Sequences of requests, made of the ranges that a driver takes."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from memhub.abi import MDF_FORCE, PAGE_SIZE, U64_MAX, RangeDesc, owner_bytes
from memhub.rig.arch_check.asking import Request
from memhub.rig.arch_check.shapes import ATTRIBUTES, Shapes, Span, make_removal

if TYPE_CHECKING:
    from random import Random

    from memhub.rig.arch_check.ground import Ground


def short_sequences(shapes: Shapes) -> list[list[Request]]:
    """One and two requests, each in a few variants: what is found here is shortest."""
    first, *others = shapes.ranges
    singles = [shapes.make(it, a) for a in shapes.attributes for it in shapes.ranges[:4]]
    far = (1 << 30, first[1])
    fixed = [shapes.make(it, a) for a in shapes.attributes for it in shapes.fixed]
    removals = [make_removal(it) for it in (first, far, *shapes.firmware, *shapes.fixed[:1])]
    known = reduce(or_, shapes.attributes, 0)
    strange = [shapes.make(first, it | shapes.force) for it in ATTRIBUTES if not it & known]
    found = [[it] for it in (*singles, *strange, *fixed, *removals)]
    for one in singles:
        span = (one.desc.mr_base, one.desc.mr_len)
        found.append([one, make_removal(span)])
        found.append([one, one])
        found += [[one, shapes.make(it, a)] for it in others[:2] for a in shapes.attributes]

    return found


def edge_sequences(ground: Ground, shapes: Shapes) -> list[list[Request]]:
    """One range each that has no bytes, or that ends behind the CPU's addresses or 2^64."""
    unit, end, top = shapes.unit, ground.end, 1 << 64
    step = max(unit, shapes.ranges[0][1])
    base = shapes.ranges[0][0]
    spans = (
        *((it, 0) for it in (base, 0, end)),
        *((end, unit), (end, step), (end - unit, 2 * unit), (end - step, 2 * step), (0, 2 * end)),
        *((top >> 1, unit), (top - unit, unit), (top - unit, 2 * unit), (top - step, 2 * step)),
        *((base, top - unit), (base, top - base)),
    )
    fitting = [it for it in spans if 0 <= it[0] < top and 0 <= it[1] < top]
    attributes = (shapes.attributes[0], shapes.attributes[-1])

    return [[shapes.make(it, a)] for it in fitting for a in dict.fromkeys(attributes)]


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
    flags = random.choice((0, random.getrandbits(32), random.choice(ATTRIBUTES), 0xFFFFFFFF))
    op = random.choice(("update", "update", "remove"))

    return Request(op, RangeDesc(base, length, flags, owner_bytes(random.choice((owner, "")))))


def odd_sequence(ground: Ground, shapes: Shapes) -> list[Request]:
    """Each base and length that may be wrong."""
    bases, lengths = _odd_values(ground, shapes)
    spans = [(base, length) for base in bases for length in lengths]
    attribute = shapes.attributes[0]

    return [it for span in spans for it in (shapes.make(span, attribute), make_removal(span))]


def _odd_values(ground: Ground, shapes: Shapes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    unit = shapes.unit
    bases = (0, 1, unit // 2, PAGE_SIZE, 0xA0000, ground.end - unit, ground.end, U64_MAX - unit + 1)
    lengths = (0, 1, unit - 1, unit + 1, unit, 3 * unit, PAGE_SIZE, ground.end, U64_MAX, 1 << 63)

    return bases, lengths


def _odd_span(ground: Ground, shapes: Shapes, random: Random) -> Span:
    bases, lengths = _odd_values(ground, shapes)

    return random.choice(bases), random.choice(lengths)
