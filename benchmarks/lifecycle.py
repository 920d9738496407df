"""A hub with one machine: start, first answer, stop; and the memory of an idle machine."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from benchmarks.harness import AsyncWork, Goal, Plan, Row, amount, backends, measure, run_on
from benchmarks.rig import ARCHES, GET, GET_ALL, spec
from benchmarks.sparse import resident
from memhub import Hub

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from memhub.core.drivers.driver import Arch


def _life(arches: Mapping[str, Arch] | None) -> AsyncWork:
    async def work(count: int) -> None:
        for _ in range(count):
            async with Hub([spec()], arches=arches) as hub, await hub.open("/dev/mem") as handle:
                await handle.ioctl(GET, GET_ALL)

    return work


async def _run(backend: str, plan: Plan) -> list[Row]:
    samples = await measure({"life": _life(None), "given": _life(ARCHES)}, plan)
    question, goal = "hub: start, first answer, stop", Goal(5, 1)

    return [
        samples.figure(question, "life", goal).in_column(backend),
        samples.figure(f"{question}, architectures given", "given", goal).in_column(backend),
    ]


async def _idle(machines: int) -> float:
    """KiB of one machine that has been opened and has answered."""
    before = resident()
    specs = [spec(f"pc{number}") for number in range(machines)]
    async with Hub(specs, arches=ARCHES) as hub, AsyncExitStack() as stack:
        for name in hub.machines:
            handle = await stack.enter_async_context(await hub.open(f"{name}:/dev/mem"))
            await handle.ioctl(GET, GET_ALL)

        return (resident() - before) / machines / 1024


def rows(plan: Plan) -> Iterator[Row]:
    """Starting and idling."""
    for backend in backends(plan):
        yield from run_on(backend, _run, backend, plan)

    taken = run_on("asyncio", _idle, plan.scaled(2_000, 2))
    yield amount("memory of an idle machine", [taken], "KiB", Goal(1024, 256))
