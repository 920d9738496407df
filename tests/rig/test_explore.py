"""A test is run under many orders; the first that fails is shrunk to what matters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from memhub.errors import DeviceError
from memhub.rig import OrderFailed, Simulation, explore, find_failure
from rig.contended import SPECS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MIB = 1 << 20
BASE = 0xD0000000
BACKENDS = ["asyncio", "uvloop", "trio"]


async def run_together(sim: Simulation, **tasks: Callable[[], Awaitable[object]]) -> None:
    """Start some tasks, and return when all have ended."""
    async with anyio.create_task_group() as ends:
        for name, work in tasks.items():
            ended = anyio.Event()

            async def run(work: Callable[[], Awaitable[object]], ended: anyio.Event) -> None:
                try:
                    await work()
                finally:
                    ended.set()

            sim.start(run, work, ended, name=name)
            ends.start_soon(ended.wait)


async def look_then_set(sim: Simulation) -> None:
    """Each of three clients takes a range if it sees none: a race."""
    taken = []
    async with sim.make_hub(SPECS) as hub:

        async def take(number: int) -> None:
            async with hub.process() as process, await process.open("old:/dev/mem") as file:
                if not any(it.mr_len for it in await file.ranges()):
                    await file.set_range(BASE + number * MIB, MIB, 1)
                    taken.append(number)

        await run_together(sim, a=lambda: take(0), b=lambda: take(1), c=lambda: take(2))

    assert len(taken) == 1, f"{len(taken)} clients have a range"


async def claim_then_set(sim: Simulation) -> None:
    """The same, mended: who has the claim takes the range."""
    taken = []
    async with sim.make_hub(SPECS) as hub:

        async def take(number: int) -> None:
            async with hub.process() as process, await process.open("old:/dev/mem") as file:
                try:
                    await file.claim(BASE, 8 * MIB)
                    if not any(it.mr_len for it in await file.ranges()):
                        await file.set_range(BASE + number * MIB, MIB, 1)
                        taken.append(number)
                except DeviceError:
                    pass

        await run_together(sim, a=lambda: take(0), b=lambda: take(1), c=lambda: take(2))

    assert len(taken) == 1


async def read_twice(sim: Simulation) -> None:
    """A reader believes that a table does not change between two looks: a rare race."""
    async with sim.make_hub(SPECS) as hub:

        async def write() -> None:
            async with hub.process() as process, await process.open("old:/dev/mem") as file:
                for turn in range(12):
                    await file.set_range(BASE, MIB, 1 + turn % 2)

        async def read() -> None:
            async with hub.process() as process, await process.open("old:/dev/mem") as file:
                before = await file.ranges()
                assert before == await file.ranges(), "the table has changed"

        await run_together(sim, writer=write, reader=read)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_race_is_found_and_shrunk(backend: str) -> None:
    found = find_failure(look_then_set, backend=backend)

    assert found is not None
    assert found.runs < 1000
    assert str(found.error).startswith("2 clients have a range")
    assert len(found.stretches) <= 6
    (first, steps), (second, more), (third, last), *_ = found.stretches
    assert first == third != second
    assert steps == ["begins", "open", "ranges"]
    assert more[:4] == ["begins", "open", "ranges", "set_range"]
    assert last[0] == "set_range"


def test_a_rare_race_is_shrunk_to_few_stretches() -> None:
    found = find_failure(read_twice)

    assert found is not None
    assert len(found.stretches) <= 6


def test_what_was_found_can_be_repeated() -> None:
    found = find_failure(look_then_set)
    assert found is not None
    sim = Simulation(found.seed, choices=found.choices)

    async def repeat() -> None:
        async with sim:
            await look_then_set(sim)

    with pytest.raises(AssertionError, match="2 clients have a range"):
        anyio.run(repeat)

    assert tuple(sim.steps) == found.steps


def test_the_error_shows_the_order() -> None:
    with pytest.raises(OrderFailed) as failed:
        explore(look_then_set)

    text = str(failed.value)
    assert "AssertionError: 2 clients have a range" in text
    assert "fails in this order:\n  1. " in text
    assert "repeat it with Simulation(" in text
    assert isinstance(failed.value.__cause__, AssertionError)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_mended_test_passes_under_every_order(backend: str) -> None:
    explore(claim_then_set, seeds=60, backend=backend)


def test_the_seeds_can_be_named() -> None:
    found = find_failure(look_then_set, seeds=[3, 4], shrink=False)

    assert found is not None
    assert found.seed in {3, 4}
    assert found.shrinks == 0


async def race_among_bystanders(sim: Simulation) -> None:
    """Two clients race; four others do nothing that matters, and fail nothing."""
    async with sim.make_hub(SPECS) as hub:

        async def look() -> None:
            async with hub.process() as process, await process.open("old:/dev/mem") as file:
                await file.ranges()

        async def take(number: int) -> None:
            async with hub.process() as process, await process.open("old:/dev/mem") as file:
                free = not any(it.mr_len for it in await file.ranges())
                await file.set_range(BASE + number * MIB, MIB, 1)
                assert free or number, "another client was first"

        others = {f"look{number}": look for number in range(4)}
        await run_together(sim, a=lambda: take(0), b=lambda: take(1), **others)


def test_steps_after_the_error_and_bystanders_are_left_out() -> None:
    found = find_failure(race_among_bystanders)

    assert found is not None
    assert found.steps[-1].what == "set_range"
    assert {it.actor for it in found.steps} <= {"a", "b", "main"}
    assert len(found.stretches) <= 3


async def fail_at_the_end(sim: Simulation) -> None:
    """A race that shows when all have ended."""
    order = []

    async def note(name: str) -> None:
        order.append(name)

    await run_together(sim, **{name: lambda name=name: note(name) for name in "abcdef"})
    assert order.index("b") < order.index("a"), "a was first"


def test_tasks_that_follow_one_after_the_other_are_told_in_one_line() -> None:
    found = find_failure(fail_at_the_end)

    assert found is not None
    assert "order:\n  1. each to its end: a, b, c, d, e, f\nrepeat" in str(found)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"backend": "twisted"}, ValueError, "backend 'twisted' is not asyncio, uvloop, trio"),
        ({"seeds": 0}, ValueError, "seeds=0 names no seed"),
        ({"seeds": -1}, ValueError, "seeds=-1 names no seed"),
        ({"seeds": ()}, ValueError, "seeds=.. names no seed"),
        ({"seeds": ["1"]}, TypeError, "a seed '1' is not an integer"),
        ({"seeds": 1.5}, TypeError, "seeds 1.5 is not an integer"),
    ],
)
def test_wrong_arguments_are_not_failures_of_the_test(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    async def never(sim: Simulation) -> None:
        pytest.fail("the test is run")

    with pytest.raises(error, match=message):
        explore(never, **arguments)


def test_a_test_that_fails_before_any_turn_is_told_so() -> None:
    async def fails_at_once(sim: Simulation) -> None:
        raise ValueError("at once")

    with pytest.raises(OrderFailed) as found:
        explore(fails_at_once, seeds=5)

    first, second, third = str(found.value).splitlines()
    assert (first, second) == (
        "ValueError: at once",
        "run 1 fails before any task has a turn, whatever the order",
    )
    assert third.startswith("repeat it with Simulation(")


def plain(sim: Simulation) -> None:
    pass


@pytest.mark.parametrize("test", [plain, 3, None])
def test_what_is_no_async_function_is_refused(test: Any) -> None:
    with pytest.raises(TypeError, match=r"test .* is not an async function"):
        explore(test, seeds=3)


@pytest.mark.anyio
async def test_it_is_refused_where_an_event_loop_runs() -> None:
    with pytest.raises(RuntimeError, match="explore runs event loops of its own"):
        explore(claim_then_set, seeds=1)
