"""The same requests among 10,000 open handles, 1,000 machines, or 1,000 claims of others."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from benchmarks.change import changing
from benchmarks.get import getting
from benchmarks.harness import AsyncWork, Goal, Plan, Row, measure, run_on
from benchmarks.read import reading
from benchmarks.rig import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memhub import Hub
    from memhub.handles.handle import Handle

_GOAL = Goal(1.25, 1.1)
_PAGE = 1 << 12
_FREE = 0x100000000

_REQUESTS: dict[str, tuple[Callable[[Handle], AsyncWork], bool]] = {
    "GET, log off": (getting, False),
    "GET, audited": (getting, True),
    "SET, audited": (changing, True),
    "read of 8 bytes, audited": (reading, True),
}


async def _handles(hub: Hub, count: int, stack: AsyncExitStack) -> None:
    for _ in range(count // 10):
        process = hub.process()
        for _ in range(10):
            await stack.enter_async_context(await process.open("/dev/mem"))


async def _claims(hub: Hub, count: int, stack: AsyncExitStack) -> None:
    for number in range(count):
        handle = await stack.enter_async_context(await hub.open("/dev/mem"))
        await handle.claim(_FREE + 2 * number * _PAGE, _PAGE)


async def _run(name: str, plan: Plan) -> list[Row]:
    make, audited = _REQUESTS[name]
    many, few = plan.scaled(10_000, 10), plan.scaled(1_000, 2)
    sizes = [("alone", 1), ("handles", 1), ("machines", few), ("claims", 1)]
    cases: dict[str, AsyncWork] = {}
    async with AsyncExitStack() as stack:
        for case, machines in sizes:
            log = plan.folder / f"crowd-{name}-{case}" if audited else None
            hub, handle = await stack.enter_async_context(opened(log, machines))
            cases[case] = make(handle)
            if case == "handles":
                await _handles(hub, many, stack)
            elif case == "claims":
                await _claims(hub, few, stack)

        samples = await measure(cases, plan)

    return [
        samples.row(f"{name}, {words}", case, "alone", _GOAL)
        for case, words in (
            ("handles", "10,000 open handles"),
            ("machines", "1,000 machines"),
            ("claims", "1,000 claims"),
        )
    ]


def rows(plan: Plan) -> Iterator[Row]:
    """The rows of every request and crowd."""
    for name in _REQUESTS:
        yield from run_on("asyncio", _run, name, plan.with_rounds(11))
