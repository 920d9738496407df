"""How a simulation ends: when everybody waits, when it is cancelled, and when it is misused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from memhub import Hub, MachineSpec
from memhub.abi import MDF_UNCACHEABLE
from memhub.rig import OrderFailed, Simulation, SimulationError, VirtualClock, explore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


BASE, MIB = 0xD0000000, 1 << 20
PC = MachineSpec(name="pc", arch="amd64")
SLOW = MachineSpec(name="pc", arch="amd64", commit_latency=60.0)


async def wait_for_ever(sim: Simulation) -> None:
    await anyio.sleep_forever()


async def wait_in_open_handles(sim: Simulation) -> None:
    async with (
        sim.make_hub([PC]) as hub,
        hub.process("xorg") as process,
        await process.open("/dev/mem"),
    ):
        await anyio.sleep_forever()


async def wait_for_a_range_that_is_never_free(sim: Simulation) -> None:
    async with (
        sim.make_hub([PC]) as hub,
        hub.process("xorg") as one,
        hub.process("driver") as two,
        await one.open("/dev/mem") as file,
        await two.open("/dev/mem") as other,
    ):
        await file.claim(BASE, MIB)
        await other.claim(BASE, MIB, wait=float("inf"))


async def wait_in_each_of_two_tasks(sim: Simulation) -> None:
    done = {"xorg": anyio.Event(), "driver": anyio.Event()}
    async with sim.make_hub([PC]) as hub:

        async def wait_for(name: str, other: str) -> None:
            async with hub.process(name) as process, await process.open("/dev/mem"):
                await done[other].wait()
                done[name].set()

        sim.start(wait_for, "xorg", "driver", name="xorg")
        sim.start(wait_for, "driver", "xorg", name="driver")
        await sim.sleep(float("inf"))


DEADLOCKS = [
    wait_for_ever,
    wait_in_open_handles,
    wait_for_a_range_that_is_never_free,
    wait_in_each_of_two_tasks,
]


@pytest.mark.parametrize("wait", DEADLOCKS)
async def test_a_run_in_which_everybody_waits_for_ever_ends(
    wait: Callable[[Simulation], Awaitable[None]],
) -> None:
    with (
        anyio.fail_after(10),
        pytest.raises(SimulationError, match=r"every task has waited for 0.01 seconds"),
    ):
        async with Simulation(stall=0.01) as sim:
            await wait(sim)


async def test_the_error_names_the_tasks_that_wait() -> None:
    async def run() -> None:
        async with Simulation(stall=0.01) as sim:
            sim.start(sim.sleep, 1, name="gone")
            await wait_in_each_of_two_tasks(sim)

    with anyio.fail_after(10), pytest.raises(SimulationError, match="g: main, xorg, driver; the"):
        await run()


@pytest.mark.parametrize("backend", ["asyncio", pytest.param("trio", marks=pytest.mark.campaign)])
def test_exploring_finds_a_deadlock(backend: str) -> None:
    with pytest.raises(OrderFailed, match="SimulationError: every task has waited for"):
        explore(wait_in_each_of_two_tasks, seeds=1, backend=backend, shrink=False)


async def test_a_commit_in_flight_ends_when_a_run_waits_for_ever() -> None:
    sim = Simulation(stall=0.01)

    async def run() -> None:
        async with (
            sim,
            sim.make_hub([SLOW]) as hub,
            hub.process("xorg") as process,
            await process.open("/dev/mem", "r+", undo=True) as file,
        ):
            await file.set_range(BASE, MIB, MDF_UNCACHEABLE)
            await anyio.sleep_forever()

    with anyio.fail_after(10), pytest.raises(SimulationError, match="every task has waited"):
        await run()

    assert sim.clock.mono_ns() >= 60 * 10**9


@pytest.mark.parametrize("make", [Simulation, VirtualClock])
async def test_a_block_that_is_cancelled_from_outside_closes_in_virtual_time(
    make: Callable[[], Any],
) -> None:
    with anyio.fail_after(10), anyio.CancelScope() as outside:
        async with make() as time:
            clock = getattr(time, "clock", time)
            more = {} if clock is time else {"turns": time}
            clock.set_alarm(30 * 10**9, outside.cancel)
            async with (
                Hub([SLOW], clock=clock, **more) as hub,
                hub.process("xorg") as process,
                await process.open("/dev/mem", "r+") as file,
            ):
                await file.set_range(BASE, MIB, MDF_UNCACHEABLE)

    assert outside.cancelled_caught
    assert clock.mono_ns() >= 30 * 10**9


async def test_errors_of_the_block_and_of_tasks_come_together() -> None:
    async def fail_late() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise KeyError("theirs")

    with pytest.RaisesGroup(
        pytest.RaisesExc(ValueError, match="mine"), pytest.RaisesExc(KeyError, match="theirs")
    ):
        async with Simulation() as sim:
            sim.start(fail_late)
            await sim.sleep(1)
            raise ValueError("mine")


async def test_an_error_of_a_task_comes_in_one_group() -> None:
    async def fail() -> None:
        raise KeyError("theirs")

    with pytest.RaisesGroup(pytest.RaisesExc(KeyError, match="theirs")):
        async with Simulation() as sim:
            sim.start(fail)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"seed": "5"}, TypeError, "seed '5' is not an integer"),
        ({"seed": 1.5}, TypeError, "seed 1.5 is not an integer"),
        ({"choices": [0, 1.5]}, TypeError, "a choice 1.5 is not an integer"),
        ({"choices": [-1]}, ValueError, "a choice is a name or a number from 0, not -1"),
        ({"stall": 0}, ValueError, "stall is more than 0 seconds, not 0"),
        ({"stall": float("nan")}, ValueError, "stall is more than 0 seconds, not nan"),
        ({"stall": None}, TypeError, "stall None is not a number of seconds"),
    ],
)
def test_wrong_arguments_are_named(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Simulation(**arguments)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("main", ValueError, "'main' is the name of another task"),
        ("xorg", ValueError, "'xorg' is the name of another task"),
        ("", ValueError, "'' cannot name a task"),
        (5, TypeError, "name 5 is not text"),
    ],
)
async def test_a_name_belongs_to_one_task(name: Any, error: type[Exception], message: str) -> None:
    async with Simulation() as sim:
        sim.start(sim.sleep, 1, name="xorg")
        with pytest.raises(error, match=message):
            sim.start(sim.sleep, 1, name=name)
