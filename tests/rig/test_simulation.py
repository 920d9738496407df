"""One seed gives one run, to the byte of its log, on every event loop."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import anyio
import pytest

from memhub import FaultRule
from memhub.rig import Simulation, SimulationError
from rig.contended import SPECS, run_contended

if TYPE_CHECKING:
    from pathlib import Path

LOOPS = [("asyncio", {}), ("asyncio", {"use_uvloop": True}), ("trio", {})]


#: Of every kind; a request that is dropped ends with the time limit around it.
FAULTS = (
    FaultRule("delay", probability=0.2, delay=0.02, seed=1),
    FaultRule("errno", probability=0.1, errno="ENOSPC", seed=2),
    FaultRule("drop", probability=0.1, seed=3),
    FaultRule("hang", probability=0.3, seed=4),
    FaultRule("short", moved=3),
    FaultRule("cut", nth=9),
)


def logs_of(seed: int, folder: Path, faults: tuple[FaultRule, ...] = ()) -> list[bytes]:
    logs = []
    for number, (backend, options) in enumerate(LOOPS):
        path = folder / f"{seed}-{number}"
        anyio.run(run_contended, seed, path, faults, backend=backend, backend_options=options)
        logs.append(path.read_bytes())

    return logs


def test_one_seed_gives_one_log_on_every_loop(tmp_path: Path) -> None:
    seen: Counter[tuple[str, str | None]] = Counter()
    for seed in range(12):
        asyncio, uvloop, trio = logs_of(seed, tmp_path)
        assert asyncio == uvloop == trio
        seen.update((it["event"], it.get("errno")) for it in map(json.loads, trio.splitlines()))

    for it in ("claim.expire", None), ("request.set", "EBUSY"), ("wait.end", "ECANCELED"):
        assert seen[it], "the rig is not contended enough to prove anything"


def test_one_seed_gives_one_log_under_faults(tmp_path: Path) -> None:
    seen = set[str | None]()
    for seed in range(6):
        asyncio, uvloop, trio = logs_of(seed, tmp_path, FAULTS)
        assert asyncio == uvloop == trio
        seen.update(it.get("action") for it in map(json.loads, trio.splitlines()))

    assert {"delay", "errno", "drop", "hang", "short", "cut"} <= seen


@pytest.mark.campaign
@pytest.mark.timeout(600)
def test_two_hundred_seeds_give_one_log_each(tmp_path: Path) -> None:
    different = set()
    for seed in range(200):
        asyncio, uvloop, trio = logs_of(seed, tmp_path)
        assert asyncio == uvloop == trio, seed
        different.add(trio)

    assert len(different) == 200


async def begin_three(sim: Simulation) -> list[str]:
    order = []

    async def begin(name: str) -> None:
        order.append(name)
        await sim.sleep(1)
        order.append(name)

    for name in "abc":
        sim.start(begin, name, name=name)

    await sim.sleep(2)

    return order


async def test_the_seed_decides_who_goes_on() -> None:
    orders = set()
    for seed in range(20):
        async with Simulation(seed) as sim:
            orders.add(tuple(await begin_three(sim)))

    assert len(orders) > 10


async def test_the_order_can_be_given() -> None:
    async with Simulation(choices=["c", "a", "b", "c", "b", "a"]) as sim:
        assert await begin_three(sim) == list("cabcba")

    async with Simulation(choices=[]) as sim:
        assert await begin_three(sim) == list("abccab")  # the last one goes on, then the first


async def test_choices_repeat_a_run() -> None:
    async with Simulation(7) as first:
        order = await begin_three(first)

    async with Simulation(7, choices=[it.choice for it in first.steps]) as again:
        assert await begin_three(again) == order

    assert again.steps == first.steps


async def test_steps_say_who_did_what() -> None:
    async with (
        Simulation() as sim,
        sim.make_hub(SPECS) as hub,
        hub.process("X") as process,
        await process.open("/dev/mem") as file,
    ):
        await file.ranges()

    assert [str(it) for it in sim.steps] == [
        "main: open",
        "main: ranges",
        "main: close",
        "main: close",
    ]


async def test_two_tasks_of_one_name_cannot_be_told_apart() -> None:
    async def run() -> None:
        async with Simulation() as sim, anyio.create_task_group() as tasks:
            tasks.start_soon(sim.sleep, 1)
            tasks.start_soon(sim.sleep, 1)

    with pytest.raises(SimulationError, match="two tasks of main want to go on"):
        await run()


async def test_an_error_of_the_block_comes_bare() -> None:
    async def fail() -> None:
        async with Simulation() as sim:
            sim.start(anyio.sleep_forever)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await fail()


def test_a_simulation_that_is_not_entered_starts_nothing() -> None:
    with pytest.raises(RuntimeError, match="open it in `async with`"):
        Simulation().start(anyio.sleep, 1)
