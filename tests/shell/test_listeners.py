"""Each record reaches those whose filter takes it, and nobody is asked in vain by their number."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memhub.abi import U64_MAX
from memhub.engine.listeners import Interest, Listeners

EVENTS = ["request.set", "request.get", "claim.take", "kernel.call"]
MACHINES = ["pc", "old"]
PLACES = st.sampled_from([0, 1, 0xFFF, 0x1000, 0x1FFF, 0xD0000000, U64_MAX - 0xFFF, U64_MAX])

spans = st.tuples(PLACES, st.sampled_from([1, 2, 0x1000, 1 << 20])).map(
    lambda it: (it[0], min(it[0] + it[1], U64_MAX + 1))
)
interests = st.builds(
    Interest,
    st.frozensets(st.sampled_from(EVENTS)),
    st.none() | st.frozensets(st.sampled_from(MACHINES)),
    st.none() | spans,
)
ranges: st.SearchStrategy[dict[str, Any]] = st.just({}) | st.fixed_dictionaries(
    {"base": st.none() | PLACES, "length": st.sampled_from([0, 1, 0x1000, 1 << 32])}
)
rows = st.builds(
    lambda event, machine, where: {"event": event, **machine, **where},
    st.sampled_from(EVENTS),
    st.just({}) | st.fixed_dictionaries({"machine": st.sampled_from([*MACHINES, "new"])}),
    ranges,
)


def is_wanted(row: dict[str, Any], interest: Interest | None) -> bool:
    """The filter, as a subscription states it."""
    if interest is None:
        return True

    if row["event"] not in interest.events:
        return False

    if interest.machines is not None and row.get("machine") not in interest.machines:
        return False

    if interest.span is None or row.get("base") is None:
        return True

    lo, hi = interest.span

    return bool(row["base"] < hi and lo < row["base"] + row["length"])


@given(
    st.lists(st.none() | interests, max_size=8),
    st.lists(st.lists(rows, min_size=1, max_size=3), max_size=6),
    st.data(),
)
def test_each_record_reaches_whoever_wants_it(
    wanted: list[Interest | None], batches: list[list[dict[str, Any]]], data: st.DataObject
) -> None:
    listeners = Listeners()
    told: list[list[dict[str, Any]]] = [[] for _ in wanted]
    stops = [
        listeners.add(got.append, lambda: None, interest)
        for got, interest in zip(told, wanted, strict=True)
    ]
    due: list[list[dict[str, Any]]] = [[] for _ in wanted]
    there, seq = set(range(len(wanted))), 0
    for batch in batches:
        listeners.tell(batch, 0)
        for row in batch:
            seq += 1
            for number in there:
                if is_wanted(row, wanted[number]):
                    due[number].append({"seq": seq, **row})

        leaves: bool = data.draw(st.booleans())
        if there and leaves:
            gone = data.draw(st.sampled_from(sorted(there)))
            there.remove(gone)
            stops[gone]()
            stops[gone]()

    for number, interest in enumerate(wanted):
        mine = [row for row in told[number] if is_wanted(row, interest)]
        assert mine == due[number]

    for stop in stops:
        stop()

    assert not listeners.listeners
    assert not listeners._groups
    assert not listeners._by_machine


@pytest.mark.parametrize(
    ("interest", "row"),
    [
        (Interest(frozenset({"claim.take"}), None, None), {"event": "request.set"}),
        (
            Interest(frozenset({"request.set"}), frozenset({"old"}), None),
            {"event": "request.set", "machine": "pc"},
        ),
        (
            Interest(frozenset({"request.set"}), None, (0x2000, 0x3000)),
            {"event": "request.set", "machine": "pc", "base": 0x1000, "length": 0x1000},
        ),
    ],
)
def test_who_is_not_concerned_is_not_asked(interest: Interest, row: dict[str, Any]) -> None:
    listeners, told = Listeners(), list[dict[str, Any]]()
    for _ in range(3):
        listeners.add(told.append, lambda: None, interest)

    listeners.tell([row], 0)

    assert told == []
