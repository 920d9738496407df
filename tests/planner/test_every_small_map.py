"""Every map of four blocks, against a search of all sets of registers."""

from __future__ import annotations

from itertools import combinations, product

import pytest

from memhub.planner import (
    ANY,
    TYPES,
    NoPlan,
    Want,
    WantedMap,
    plan_least_loss,
    plan_registers,
)

PAGE = 4096
BLOCKS = 4
#: The blocks that each possible register covers: one, two or all four.
SPANS = [range(at, at + size) for size in (1, 2, 4) for at in range(0, BLOCKS, size)]

State = tuple[frozenset[str], ...]


def type_of(covered: frozenset[str], default: str) -> str | None:
    """What the SDM says of a set of types; None where it leaves it undefined."""
    if not covered:
        return default

    if "UC" in covered:
        return "UC"

    if len(covered) == 1:
        return next(iter(covered))

    return "WT" if covered == {"WT", "WB"} else None


def least_counts(
    types: tuple[str, ...], default: str, apart: frozenset[frozenset[str]] = frozenset()
) -> dict[tuple[str | None, ...], int]:
    """The fewest registers for each map that some set of registers gives.

    None of them overlap of which the types are a pair of `apart`.
    """
    counts: dict[tuple[str | None, ...], int] = {}
    states: set[State] = {(frozenset(),) * BLOCKS}
    seen = set(states)
    count = 0
    while states:
        for state in states:
            counts.setdefault(tuple(type_of(it, default) for it in state), count)

        count += 1
        states = {
            tuple(it | {added} if at in span else it for at, it in enumerate(state))
            for state in states
            for span in SPANS
            for added in types
            if not any(frozenset((it, added)) in apart for at in span for it in state[at])
        } - seen
        seen |= states

    return counts


def matches(got: tuple[str | None, ...], want: tuple[str, ...]) -> bool:
    return all(it is not None and it2 in (ANY, it) for it, it2 in zip(got, want, strict=True))


def map_of(want: tuple[str, ...]) -> WantedMap:
    wants = [Want(at * PAGE, (at + 1) * PAGE, it) for at, it in enumerate(want)]

    return WantedMap(14, tuple(wants))


@pytest.mark.parametrize("default", ["UC", "WB", "WC"])
@pytest.mark.parametrize("types", [("UC", "WT", "WB"), ("WC", "WP", "WB")])
def test_the_count_is_that_of_a_search(types: tuple[str, ...], default: str) -> None:
    counts = least_counts(types, default)
    for want in product(("UC", "WC", "WT", "WB", ANY), repeat=BLOCKS):
        least = min((n for got, n in counts.items() if matches(got, want)), default=None)
        try:
            plan = plan_registers(map_of(want), default=default, types=types)
        except NoPlan:
            assert least is None, want
        else:
            assert len(plan.registers) == least, want


#: Pairs that may not overlap: as FreeBSD's MTRR driver has it, and others.
APART = [
    frozenset(map(frozenset, combinations(TYPES, 2))) - {frozenset(("UC", "WB"))},
    frozenset({frozenset(("WT", "WB"))}),
    frozenset({frozenset(("UC", "WB")), frozenset(("WT", "WB"))}),
]


@pytest.mark.parametrize("default", ["UC", "WB"])
@pytest.mark.parametrize("apart", APART, ids=["freebsd", "no WT over WB", "WB alone"])
def test_registers_that_may_not_overlap_do_not(
    apart: frozenset[frozenset[str]], default: str
) -> None:
    types = ("UC", "WT", "WB")
    counts = least_counts(types, default, apart)
    for want in product((*types, ANY), repeat=BLOCKS):
        least = min((n for got, n in counts.items() if matches(got, want)), default=None)
        try:
            plan = plan_registers(map_of(want), default=default, types=types, apart=apart)
        except NoPlan:
            assert least is None, want
            continue

        assert len(plan.registers) == least, want
        for one, other in combinations(plan.registers, 2):
            overlap = one.base < other.base + other.size and other.base < one.base + one.size
            assert not overlap or frozenset((one.type, other.type)) not in apart


@pytest.mark.parametrize("apart", [frozenset(), APART[0]], ids=["hardware", "freebsd"])
@pytest.mark.parametrize("default", ["UC", "WB"])
def test_the_loss_is_that_of_a_search(default: str, apart: frozenset[frozenset[str]]) -> None:
    types = ("UC", "WT", "WB")
    counts = least_counts(types, default, apart)
    for slots, want in product(range(4), product((*types, ANY), repeat=BLOCKS)):
        fitting = [got for got, count in counts.items() if count <= slots]
        losses = []
        for got in fitting:
            pairs = list(zip(got, want, strict=True))
            if all(it is not None and (it2 in (ANY, it) or it == "UC") for it, it2 in pairs):
                losses.append(sum(it2 not in (ANY, it) for it, it2 in pairs) * PAGE)

        try:
            plan = plan_least_loss(map_of(want), slots, default=default, types=types, apart=apart)
        except NoPlan:
            assert not losses, (slots, want)
        else:
            assert plan.lost == min(losses), (slots, want)
            assert len(plan.registers) <= slots


def test_uc_comes_first() -> None:
    """Until the last request, nothing is cached that must not be."""
    hole = (1 << 31, (1 << 31) + (1 << 24), "UC")
    wanted = WantedMap.of_ranges(36, [(0, 4 << 30, "WB"), hole], otherwise="UC", fixed=False)
    plan = plan_registers(wanted, default="UC")

    assert [it.type for it in plan.registers] == sorted(
        (it.type for it in plan.registers), key=TYPES.index
    )
    assert plan.registers[0].type == "UC"
