"""What time and change cost: only what is due, and only the waits that a change concerns."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memhub.abi import MDF_UNCACHEABLE
from memhub.core.holding.due_times import DueTimes
from memhub.core.instant import NEVER
from memhub.engine.listeners import Listeners
from memhub.errors import RangeBusy
from ownership.rig import PAGE, bench, settle

MIB = 1 << 20


@given(st.lists(st.tuples(st.integers(0, 9), st.none() | st.integers(0, 9)), max_size=60))
def test_due_times_against_a_dict(steps: list[tuple[int, int | None]]) -> None:
    times, model = DueTimes(), dict[int, int]()
    for number, due in steps:
        if due is None:
            times.discard(number)
            model.pop(number, None)
        else:
            times.put(number, due)
            model[number] = due

        assert times.first() == min(model.values(), default=NEVER)
        assert times.passed(5) == sorted(it for it, when in model.items() if when <= 5)


def test_many_changes_of_one_due_time_leave_nothing_behind() -> None:
    times = DueTimes()
    for due in range(10_000):
        times.put(1, due)

    assert len(times._heap) < 100


class Odd:
    """A listener that cannot be compared."""

    def __eq__(self, _other: object) -> bool:
        raise AssertionError("a listener was looked for among the others")

    __hash__ = None  # type: ignore[assignment]

    def __call__(self, _row: dict[str, Any]) -> None:
        pass


def test_a_listener_leaves_without_a_search_for_it() -> None:
    listeners, changes = Listeners(), list[int]()
    stops = [
        listeners.add(Odd(), lambda: changes.append(len(listeners.listeners))) for _ in range(9)
    ]
    for stop in stops:
        stop()
        stop()

    assert (len(listeners.listeners), changes) == (0, [1, 0])


async def test_a_change_tries_only_the_waits_that_it_concerns() -> None:
    async with bench() as b, anyio.create_task_group() as tasks:
        waits, holder = b.machine.waits, await b.open("holder")
        for place in range(4):
            await holder.claim(place * MIB, MIB)

        claimer, setter, other = [await b.open(name) for name in ("claimer", "setter", "other")]
        for ask in (
            partial(claimer.claim, 0, PAGE, wait=60),
            partial(claimer.claim, MIB, MIB, wait=60),
            partial(setter.set_range, 2 * MIB, MIB, MDF_UNCACHEABLE, wait=60),
        ):
            tasks.start_soon(ask)
            await settle()

        first, _, third = waits
        told = dict(waits.refusals)

        await holder.release(3 * MIB, MIB)
        await other.claim(3 * MIB, MIB)
        assert waits.refusals == told
        assert all(waits.refusals[it.number] is told[it.number] for it in waits)

        await other.set_range(16 * MIB, MIB, MDF_UNCACHEABLE)  # takes a slot that was free
        assert waits.refusals[first.number] is told[first.number]
        assert waits.refusals[third.number] is not told[third.number]

        await holder.release(MIB, MIB)
        await settle()
        assert list(waits) == [first, third]
        assert waits.refusals[first.number] is told[first.number]
        holder.close()
        await settle()
        assert list(waits) == []


async def test_a_wait_behind_another_is_tried_when_that_is_over() -> None:
    async with bench() as b, anyio.create_task_group() as tasks:
        waits, holder = b.machine.waits, await b.open("holder")
        await holder.claim(0, MIB)
        files = [await b.open(name) for name in ("one", "two")]
        for file in files:
            tasks.start_soon(partial(file.claim, 0, MIB, wait=60))
            await settle()

        first, second = waits
        assert [[*waits.edges(it)] for it in waits] == [
            [(first.caller.process.id, holder.file.caller.process.id)],
            [(second.caller.process.id, first.caller.process.id)],
        ]
        await holder.release(0, MIB)
        assert list(waits) == [second]
        assert [*waits.edges(second)] == [(second.caller.process.id, first.caller.process.id)]
        files[0].close()
        await settle()
        assert b.holders() == [("two", 0, MIB)]


async def test_a_refusal_names_sixteen_claims_and_one_of_each_further_process() -> None:
    async with bench() as b:
        many, late, victim = [await b.open(name) for name in ("many", "late", "victim")]
        for place in range(40):
            await many.claim(place * PAGE, PAGE)

        await late.claim(40 * PAGE, PAGE)
        await late.claim(41 * PAGE, PAGE)
        with pytest.raises(RangeBusy, match=r"; 26 more$") as caught:
            await victim.claim(0, MIB)

        names = [it.process for it in caught.value.obstacles]
        assert names == ["many"] * 16 + ["late"]
