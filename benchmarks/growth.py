"""How the cost of a request grows with what is held: one thing doubled at a time.

A row's figure is an exponent: the cost is as the number of things to the power of it. 0 is a cost
that does not grow, 1 is one that grows in proportion. It is the slope of a line through the
logarithms of the costs in one round.
"""

from __future__ import annotations

import gc
import math
from contextlib import AsyncExitStack, asynccontextmanager
from statistics import linear_regression
from typing import TYPE_CHECKING, Final

import anyio

from benchmarks.harness import AsyncWork, Goal, Plan, Row, Samples, amount, measure, run_on
from benchmarks.read import reading
from benchmarks.rig import ARCHES, BASE, LENGTH, spec
from memhub import AuditLog, Hub, MachineSpec
from memhub.audit import verify

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
    from pathlib import Path

    from memhub.handle import Handle

    #: Puts so many things beside a handle.
    Hold = Callable[[Hub, Handle, int, AsyncExitStack], Awaitable[None]]

#: What questions of this family begin with.
FAMILY: Final = "growth of "
#: On the road of a request, and elsewhere.
ROAD, ELSEWHERE = Goal(0.1, 0.05), Goal(1.1, 1.0)
_PAGE = 1 << 12
_FREE = 0x100000000


def _getting_one(handle: Handle) -> AsyncWork:
    model = handle.file.model
    op = model.op.pack(0, 1, 0)

    async def work(times: int) -> None:
        for _ in range(times):
            await handle.ioctl(model.get, op)

    return work


def _changing(handle: Handle) -> AsyncWork:
    async def work(times: int) -> None:
        for _ in range((times + 1) // 2):
            await handle.set_range(BASE, LENGTH, "write-combine", owner="bench")
            await handle.remove_range(BASE, LENGTH)

    return work


#: A GET of one slot, since one of all takes as long as they are many.
REQUESTS: dict[str, Callable[[Handle], AsyncWork]] = {
    "GET": _getting_one,
    "SET": _changing,
    "read of 8 bytes": reading,
}


def with_thing(request: str, thing: str) -> str:
    """The question of a request beside more and more of a thing."""
    return f"{FAMILY}a {request} with {thing}"


def of_all(what: str) -> str:
    """The question of what goes through all of something."""
    return f"{FAMILY}{what}"


# What is held


async def _hold_own_claims(_hub: Hub, handle: Handle, many: int, _stack: AsyncExitStack) -> None:
    for number in range(many):
        await handle.claim(_FREE + 2 * number * _PAGE, _PAGE)


async def _hold_claims(hub: Hub, _handle: Handle, many: int, stack: AsyncExitStack) -> None:
    for number in range(many):
        other = await stack.enter_async_context(await hub.open("/dev/mem"))
        await other.claim(_FREE + 2 * number * _PAGE, _PAGE)


async def _hold_waits(hub: Hub, _handle: Handle, many: int, stack: AsyncExitStack) -> None:
    holder = await stack.enter_async_context(await hub.open("/dev/mem"))
    await holder.claim(_FREE, _PAGE)
    opening = [await hub.open("/dev/mem") for _ in range(many)]
    waiters = [await stack.enter_async_context(it) for it in opening]
    tasks = await stack.enter_async_context(anyio.create_task_group())
    stack.callback(tasks.cancel_scope.cancel)  # before the waiters close
    for waiter in waiters:
        tasks.start_soon(_wait, waiter)

    await anyio.wait_all_tasks_blocked()


async def _wait(waiter: Handle) -> None:
    await waiter.claim(_FREE, _PAGE, wait=math.inf)


async def _hold_subscriptions(hub: Hub, _handle: Handle, many: int, _stack: AsyncExitStack) -> None:
    for number in range(many):
        hub.subscribe(base=_FREE + number * _PAGE, length=_PAGE)


async def _hold_handles(hub: Hub, _handle: Handle, many: int, stack: AsyncExitStack) -> None:
    process = hub.process()
    for _ in range(many):
        await stack.enter_async_context(await process.open("/dev/mem"))


async def _write_records(_hub: Hub, handle: Handle, many: int, _stack: AsyncExitStack) -> None:
    await _getting_one(handle)(16 * many)


async def _hold_nothing(_hub: Hub, _handle: Handle, _many: int, _stack: AsyncExitStack) -> None:
    pass


HELD: dict[str, Hold] = {
    "claims of one process": _hold_own_claims,
    "claims of as many processes": _hold_claims,
    "waits": _hold_waits,
    "subscriptions to other ranges": _hold_subscriptions,
    "open handles": _hold_handles,
    "16 records of the log": _write_records,
    "machines": _hold_nothing,
    "slots": _hold_nothing,
}


def _specs(thing: str, many: int) -> list[MachineSpec]:
    if thing == "slots":
        return [MachineSpec(name="pc", arch="amd64", options={"slots": many})]

    return [spec(f"pc{number}") for number in range(many if thing == "machines" else 1)]


@asynccontextmanager
async def _opened(thing: str, many: int, log: Path) -> AsyncGenerator[Handle]:
    """A handle of a machine beside which so many things are held."""
    with AuditLog.open(log) as audit:
        async with (
            Hub(_specs(thing, many), arches=ARCHES, log=audit) as hub,
            await hub.open("/dev/mem", "r+") as handle,
            AsyncExitStack() as stack,
        ):
            await HELD[thing](hub, handle, many, stack)
            yield handle


async def _on_the_road(thing: str, request: str, plan: Plan) -> Row:
    cases: dict[str, AsyncWork] = {}
    async with AsyncExitStack() as stack:
        for many in _sizes(plan):
            log = plan.folder / f"growth-{thing}-{request}-{many}"
            handle = await stack.enter_async_context(_opened(thing, many, log))
            cases[str(many)] = REQUESTS[request](handle)

        return _row(with_thing(request, thing), await measure(cases, plan), ROAD)


# What all of something takes


async def _elsewhere(what: str, plan: Plan) -> Row:
    make = WHOLE[what]
    cases = {str(many): await make(many, plan.folder) for many in _sizes(plan)}
    gc.collect()
    gc.freeze()  # so that a full collection for one case does not go through all the others

    return _row(of_all(what), await measure(cases, plan), ELSEWHERE)


async def _closing(many: int, _folder: Path) -> AsyncWork:
    async def work(times: int) -> None:
        for _ in range(times):
            async with (
                Hub([spec()], arches=ARCHES) as hub,
                AsyncExitStack() as stack,
                await hub.open("/dev/mem", "r+") as handle,
            ):
                await _hold_own_claims(hub, handle, many, stack)

    return work


async def _starting(many: int, _folder: Path) -> AsyncWork:
    async def work(times: int) -> None:
        for _ in range(times):
            async with Hub(_specs("machines", many), arches=ARCHES):
                pass

    return work


async def _verifying(many: int, folder: Path) -> AsyncWork:
    log = folder / f"growth-verify-{many}"
    async with _opened("16 records of the log", many, log):
        pass

    async def work(times: int) -> None:
        for _ in range(times):
            assert verify(log).ok

    return work


async def _reporting(many: int, _folder: Path) -> AsyncWork:
    async def work(times: int) -> None:
        for _ in range(times):
            hub.report()

    hub = Hub(_specs("machines", many), arches=ARCHES)

    return work


WHOLE: dict[str, Callable[[int, Path], Awaitable[AsyncWork]]] = {
    "claims of a process, and their end, with their number": _closing,
    "the start and stop of a hub with its machines": _starting,
    "the report of a hub with its machines": _reporting,
    "the verification of a log with its length": _verifying,
}


def _sizes(plan: Plan) -> tuple[int, ...]:
    """How many things there are: each time twice as many."""
    return (1, 2) if plan.quick else (64, 128, 256, 512, 1024)


def _row(question: str, samples: Samples, goal: Goal) -> Row:
    many = [math.log(int(name)) for name in samples.times]
    rounds = zip(*samples.times.values(), strict=True)
    slopes = [linear_regression(many, list(map(math.log, costs))).slope for costs in rounds]

    return amount(question, slopes, "exponent", goal)


def rows(plan: Plan) -> Iterator[Row]:
    """The exponents of each request with each thing, and of what takes all of them."""
    few = plan.with_rounds(7)
    for thing in HELD:
        for request in REQUESTS:
            yield run_on("asyncio", _on_the_road, thing, request, few)

    for what in WHOLE:
        yield run_on("asyncio", _elsewhere, what, few)
