"""Concurrent clients of one machine, whose calls become a history."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import anyio
from anyio.lowlevel import checkpoint

from memhub.abi import (
    MDF_ACTIVE,
    MDF_ATTRMASK,
    MDF_BUSY,
    MDF_UNCACHEABLE,
    MDF_WRITEBACK,
    MDF_WRITECOMBINE,
    MDF_WRITETHROUGH,
)
from memhub.core.spec import MachineSpec
from memhub.errors import DeviceError
from ownership.history import CANCELLED, OK, Call
from ownership.rig import PAGE, Bench

if TYPE_CHECKING:
    from memhub.handles.handle import Handle

SLOTS = 3
RANGES = 3
ATTRIBUTES = (MDF_UNCACHEABLE, MDF_WRITECOMBINE, MDF_WRITETHROUGH)


class Recorder:
    """Gives every call and every return its place in time."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._now = 0

    def tick(self) -> int:
        self._now += 1

        return self._now

    async def make(
        self,
        handle: Handle,
        op: str,
        target: int | None = None,
        value: int | None = None,
        *,
        wait: bool = False,
    ) -> None:
        """Make one call and note how it went."""
        called = self.tick()
        answer: Any = CANCELLED
        try:
            answer = await perform(handle, op, target, value, wait=wait)
        except DeviceError as error:
            answer = error.code.name
        finally:
            process = handle.process.id
            self.calls.append(Call(process, op, target, value, wait, called, self.tick(), answer))


async def perform(
    handle: Handle, op: str, target: int | None, value: int | None, *, wait: bool
) -> Any:
    """One call on a handle, in the words of a history."""
    base, limit = (target or 0) * PAGE, 1e6 if wait else None
    if op == "get":
        return shown(await handle.ranges())

    if op == "set":
        await handle.set_range(base, PAGE, value or 0, wait=limit)
    elif op == "remove":
        await handle.remove_range(base, PAGE, wait=limit)
    elif op == "claim":
        await handle.claim(base, PAGE, wait=limit)
    elif op == "release":
        await handle.release(base, PAGE)
    else:
        await handle.aclose()

    return OK


def shown(table: Any) -> tuple[tuple[int, int, bool] | None, ...]:
    """A table as a history has it."""
    return tuple(
        (row.mr_base // PAGE, row.mr_flags & MDF_ATTRMASK, bool(row.mr_flags & MDF_BUSY))
        if row.mr_flags & MDF_ACTIVE
        else None
        for row in table
    )


async def history(seed: int, *, latency: bool, clients: int = 3, length: int = 4) -> list[Call]:
    """Let some clients loose on a machine, then look at it in peace.

    Args:
        seed: of every choice, the cancellations among them.
        latency: whether commits take time.
        clients: how many.
        length: calls of each.
    """
    rng = Random(seed)
    machine = MachineSpec(
        name="m",
        arch="amd64",
        msrs={0x2FF: 0x806},
        options={"slots": SLOTS},
        commit_latency=1.0 if latency else 0.0,
    )
    bench, recorder = Bench(machine), Recorder()
    bench._news.close()
    async with bench.hub, anyio.create_task_group() as clock:
        clock.start_soon(_let_time_pass, bench, rng.randrange(1, 5))
        async with anyio.create_task_group() as tasks:
            for number in range(clients):
                handle = await bench.open(f"client-{number}")
                tasks.start_soon(_client, handle, recorder, Random(rng.random()), length)

        late = await bench.open("late")
        await epilogue(late, recorder)
        await late.aclose()
        clock.cancel_scope.cancel()

    assert bench.machine.waits.waits == {}
    assert bench.machine.commits.commits == {}

    return recorder.calls


async def epilogue(handle: Handle, recorder: Recorder) -> None:
    """Calls without company: each has just one legal answer; write-back is nobody else's."""
    await recorder.make(handle, "get")
    await recorder.make(handle, "set", 0, MDF_WRITEBACK)
    await recorder.make(handle, "get")
    await recorder.make(handle, "remove", 0)
    await recorder.make(handle, "claim", 1)
    await recorder.make(handle, "release", 1)
    await recorder.make(handle, "get")


async def _let_time_pass(bench: Bench, pause: int) -> None:
    while True:
        for _ in range(pause):
            await checkpoint()

        bench.clock.advance(0.5)
        bench.hub.engine.tick()


async def _client(handle: Handle, recorder: Recorder, rng: Random, length: int) -> None:
    for _ in range(length):
        for _ in range(rng.randrange(4)):
            await checkpoint()

        op = rng.choice(("set", "set", "set", "remove", "get", "get", "claim", "release"))
        wait = op in ("set", "claim") and rng.random() < 0.3
        target = None if op == "get" else rng.randrange(RANGES)
        value = rng.choice(ATTRIBUTES) if op == "set" else None
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as killer:
                if rng.random() < 0.3 or wait:
                    killer.start_soon(_cancel, scope, rng.randrange(1, 14))

                await recorder.make(handle, op, target, value, wait=wait)
                killer.cancel_scope.cancel()

    await recorder.make(handle, "close")


async def _cancel(scope: anyio.CancelScope, turns: int) -> None:
    for _ in range(turns):
        await checkpoint()

    scope.cancel()
