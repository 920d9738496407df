"""Cancelled at each of its suspensions in turn, an operation has happened whole or not at all."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from memhub.abi import (
    ILP32,
    LP64,
    MDF_UNCACHEABLE,
    MDF_WRITECOMBINE,
    MEMRANGE_SET_UPDATE,
    RangeDesc,
    owner_bytes,
)
from memhub.core.requests import ReleaseRange
from memhub.errors import DeviceError
from ownership.rig import PAGE, Bench, bench, settle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator

    from memhub.handles.handle import Handle

#: More suspensions than any operation has.
MOST = 12


class CancelledAt:
    """Awaits a coroutine and strikes at its n-th suspension.

    Args:
        steps: the coroutine.
        number: which suspension, from 0.
        strike: what to do then; it may cancel, but wake nobody.
    """

    def __init__(
        self,
        steps: Coroutine[Any, Any, None],
        number: int,
        strike: Callable[[], None],
    ) -> None:
        self._steps = steps
        self._number = number
        self._strike = strike
        self.suspensions = 0

    def __await__(self) -> Generator[Any, Any, None]:
        resume, value = self._steps.send, None
        while True:
            try:
                trap = resume(value)
            except StopIteration:
                return

            if self.suspensions == self._number:
                self._strike()

            self.suspensions += 1
            try:
                resume, value = self._steps.send, (yield trap)
            except BaseException as error:  # noqa: BLE001 - handed on
                resume, value = self._steps.throw, error


@dataclass(frozen=True)
class Case:
    """An operation to be cancelled.

    Attributes:
        act: the operation, on the bench and the victim's handle.
        latency: of the machine's commits.
        held: whether another process holds the range at first.
        mine: whether the victim has set the range at first, and holds it.
        undo: whether the victim's handle is opened "undo on close".
    """

    act: Callable[[Bench, Handle], Awaitable[object]]
    latency: float = 0.0
    held: bool = False
    mine: bool = False
    undo: bool = False


async def _set(_: Bench, handle: Handle) -> None:
    await handle.set_range(0, PAGE, MDF_UNCACHEABLE, owner="victim")


async def _remove(_: Bench, handle: Handle) -> None:
    await handle.remove_range(0, PAGE)


async def _set_waiting(_: Bench, handle: Handle) -> None:
    await handle.set_range(0, PAGE, MDF_UNCACHEABLE, owner="victim", wait=math.inf)


async def _remove_waiting(_: Bench, handle: Handle) -> None:
    await handle.remove_range(0, PAGE, wait=100)


async def _claim_waiting(_: Bench, handle: Handle) -> None:
    await handle.claim(0, PAGE, wait=math.inf)


async def _wait_free(_: Bench, handle: Handle) -> None:
    await handle.wait_free(0, PAGE, 100)


async def _release(_: Bench, handle: Handle) -> None:
    await handle.release(0, PAGE)


async def _get(_: Bench, handle: Handle) -> None:
    await handle.ranges()


async def _ioctl_get(_: Bench, handle: Handle) -> None:
    model = handle.file.model
    await handle.ioctl(model.get, model.op.pack(0, 100, 0))


async def _ioctl_set(_: Bench, handle: Handle) -> None:
    model = handle.file.model
    assert model in (LP64, ILP32)
    desc = RangeDesc(0, PAGE, MDF_UNCACHEABLE, owner_bytes("victim"))
    op = model.op.pack(0, MEMRANGE_SET_UPDATE, 0)
    await handle.ioctl(model.set[0], op, model.pack(desc))


async def _open_and_close(bench: Bench, _: Handle) -> None:
    async with await bench.open("visitor", undo=True) as handle:
        await handle.set_range(4 * PAGE, PAGE, MDF_WRITECOMBINE)


async def _open(bench: Bench, _: Handle) -> None:
    process = bench.hub.process("visitor")
    async with process, await process.open("/dev/kmem") as handle:
        assert not handle.closed


async def _close(_: Bench, handle: Handle) -> None:
    await handle.aclose()


CASES = {
    "open": Case(_open),
    "open, set, close with undo": Case(_open_and_close),
    "open, set, close with undo, in time": Case(_open_and_close, latency=1),
    "get": Case(_get, held=True),
    "ioctl get": Case(_ioctl_get),
    "ioctl set": Case(_ioctl_set),
    "ioctl set in time": Case(_ioctl_set, latency=1),
    "set": Case(_set),
    "set in time": Case(_set, latency=1),
    "set that is refused": Case(_set, held=True),
    "set after a wait": Case(_set_waiting, held=True),
    "set after a wait, in time": Case(_set_waiting, latency=1, held=True),
    "set that need not wait": Case(_set_waiting, latency=1),
    "remove": Case(_remove, mine=True),
    "remove in time": Case(_remove, latency=1, mine=True),
    "remove after a wait, in time": Case(_remove_waiting, latency=1, held=True),
    "claim after a wait": Case(_claim_waiting, held=True),
    "wait until free": Case(_wait_free, held=True),
    "release": Case(_release, mine=True),
    "close": Case(_close, mine=True),
    "close with undo": Case(_close, mine=True, undo=True),
    "set in time with undo": Case(_set, latency=1, mine=True, undo=True),
}


@dataclass
class Run:
    """What one run of a case left behind."""

    suspensions: int
    cancelled: bool
    before: object
    after: object


def _state(b: Bench) -> object:
    return b.table(), sorted(b.holders()), dict(b.machine.table.state.msrs)  # type: ignore[union-attr]


async def _run(case: Case, number: int, *, late: bool) -> Run:
    """Run a case once, cancelled at one suspension; `late`: just as what it awaits has come."""
    async with bench(latency=case.latency) as b:
        victim, other = await b.open("victim", undo=case.undo), await b.open("other")

        def nudge() -> None:
            if ("other", 0, PAGE) in b.holders():
                b.hub.engine.submit(ReleaseRange(other.number, 0, PAGE))

            b.clock.advance(0.5)  # a commit that this lets begin is not yet due

        async def do(act: Callable[[], Coroutine[Any, Any, object]]) -> None:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(act)
                for _ in range(4):
                    await settle()
                    b.clock.advance(1)

        if case.mine or case.held:
            owner = victim if case.mine else other
            await do(lambda: owner.set_range(0, PAGE, MDF_WRITECOMBINE))

        before = _state(b)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_nudger, nudge, case)
            with anyio.CancelScope() as scope:
                steps = _quietly(case.act(b, victim))

                async def grant_and_cancel() -> None:
                    nudge()
                    scope.cancel()

                def strike() -> None:
                    if late:
                        tasks.start_soon(grant_and_cancel)
                    else:
                        scope.cancel()

                counted = CancelledAt(steps, number, strike)
                await counted

            tasks.cancel_scope.cancel()

        await settle()
        run = Run(counted.suspensions, scope.cancelled_caught, before, _state(b))
        b.check()
        assert b.machine.waits.waits == {}
        assert b.machine.commits.commits == {}
        victim.close()
        other.close()
        await settle()
        b.check_idle()

        return run


async def _quietly(act: Awaitable[object]) -> None:
    with contextlib.suppress(DeviceError):
        await act


async def _nudger(nudge: Callable[[], None], case: Case) -> None:
    # Only once the operation is where it can go no further alone.
    for _ in range(5):
        for _ in range(5):
            await anyio.lowlevel.checkpoint()

        if case.held or case.latency:
            nudge()

    await anyio.sleep_forever()


@pytest.mark.parametrize("late", [False, True], ids=["early", "late"])
@pytest.mark.parametrize("name", CASES)
async def test_cancelled_anywhere_it_is_whole_or_nothing(name: str, *, late: bool) -> None:
    case = CASES[name]
    with anyio.fail_after(20):
        whole = await _run(case, -1, late=False)
        assert 1 <= whole.suspensions < MOST
        cut_short = 0
        for number in range(whole.suspensions):
            run = await _run(case, number, late=late)
            cut_short += run.cancelled
            assert run.before == whole.before or late
            # The other's claim, not the operation's, is what a nudge ends.
            assert run.after in (whole.after, run.before, await _untouched(case)), (number, run)

        # On trio a cancellation in the turn of the wake comes too late for the last suspension.
        assert cut_short > 0 or late


async def _untouched(case: Case) -> object:
    """The state when the operation never ran, but what it waits for came."""

    async def nothing(_bench: Bench, _handle: Handle) -> None:
        for _turn in range(40):
            await anyio.lowlevel.checkpoint()

    idle = Case(nothing, case.latency, case.held, case.mine, case.undo)

    return (await _run(idle, -1, late=False)).after


async def test_a_wait_cancelled_as_it_is_granted_keeps_nothing_half() -> None:
    """Granted and cancelled in one turn: the commit that had begun is taken back and logged."""
    run = await _run(CASES["set after a wait, in time"], 1, late=True)

    assert run.cancelled
