"""One seed, one run: who goes on next is decided here, and not by the event loop."""

from __future__ import annotations

import random
import sys
from contextlib import asynccontextmanager
from contextvars import ContextVar
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, Self, final

import anyio

from memhub.arguments import take_integer, take_seconds, take_text
from memhub.hub.hub import Hub
from memhub.rig.idle import PUMP, wait_for_others
from memhub.rig.turn_order import TurnOrder
from memhub.rig.virtual_clock import VirtualClock

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Any

    from memhub.audit import AuditLog
    from memhub.core.drivers.driver import Arch
    from memhub.core.spec import MachineSpec


class Step(NamedTuple):
    """One turn that was given.

    Attributes:
        actor: the name of the task that went on.
        what: what it was about to do: the name of the method that asked for the turn.
        choice: which of those that could go on it was; 0 is the one that went on last.
        choices: how many could go on.
    """

    actor: str
    what: str
    choice: int
    choices: int

    def __str__(self) -> str:
        return f"{self.actor}: {self.what}"


class SimulationError(Exception):
    """Raised when a run cannot go on, or could not be repeated; says who is concerned."""


class _Asking(NamedTuple):
    actor: int
    process: int
    name: str
    what: str
    given: anyio.Event


@final
class Simulation(anyio.AsyncContextManagerMixin):
    """Runs tasks one at a time, in an order that a seed decides; use it in `async with`.

    Each task started with `start` waits for its turn before each request to a hub of `make_hub`,
    and when it goes on after a wait or a sleep. A turn is given when every task waits, and time
    passes when nobody asks for a turn. So a run, and the log it writes, depends on the seed
    alone, on asyncio, uvloop and trio, as long as tasks meet each other in hubs of this
    simulation, in `sleep`, and in anyio's events, locks and channels.

    Args:
        seed: decides the order, and the numbers of `random`.
        choices: the order itself: for each turn, who goes on, by name or as a number of those
            that can; 0, one who cannot go on, and each turn after the last of these let the one
            go on that went on before, or the first; a number beyond them lets the last one. None
            lets the seed decide.
        arches: architectures by name, for the hubs; None loads those that are installed, for
            each hub.
        wall_ns: the clock's first wall-clock time, nanoseconds since 1970.
        stall: seconds of real time in which somebody must ask for a turn or set an alarm, when
            every task waits; else the run ends with `SimulationError`. A task that runs without
            end stops turns and time, and is not noticed.

    Raises:
        TypeError: `seed`, a choice or `stall` is not of its type.
        ValueError: a choice is negative, or `stall` is not more than 0.

    Attributes:
        clock: its time.
        random: seeded random numbers for the test; taken by one task at a time.
        steps: the turns that were given.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        choices: Sequence[int | str] | None = None,
        arches: Mapping[str, Arch] | None = None,
        wall_ns: int = 1_767_225_600_000_000_000,
        stall: float = 10.0,
    ) -> None:
        seed = take_integer("seed", seed)
        self._stall = _take_stall(stall)
        self.clock = VirtualClock(wall_ns)
        self.random = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
        self.steps: list[Step] = []
        order = random.Random(~seed)  # noqa: S311 - see above
        self._log_id = f"{order.getrandbits(128):032x}"
        self._order = TurnOrder(order, choices)
        self._arches = arches
        self._actor: ContextVar[tuple[int, str]] = ContextVar("memhub_rig_actor")
        self._asking: list[_Asking] = []
        self._names = ["main"]
        self._running = {"main": True}
        self._last = 0
        self._error: SimulationError | None = None
        self._raised: list[tuple[BaseException, int]] = []
        self._news = anyio.Event()
        self._tasks: anyio.abc.TaskGroup | None = None

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        self.clock.call_on_alarm(self._tell_pump)
        failure: BaseException | None = None
        # Tasks that are cancelled still ask for last turns, and may wait for a commit: turns and
        # time are given until the last task has ended, however the block ends.
        giving = anyio.CancelScope(shield=True)
        async with anyio.create_task_group() as pump:
            pump.start_soon(self._give_turns, giving, name=PUMP)
            try:
                async with anyio.create_task_group() as self._tasks:
                    try:
                        yield self
                    except Exception as error:  # noqa: BLE001 - raised below, bare
                        self._note_error(error)
                        failure = error
                        self._tasks.cancel_scope.cancel()
                    finally:
                        del self._running["main"]
            except BaseExceptionGroup as tasks_failed:
                failure = _join_failures(failure, tasks_failed)
            finally:
                giving.cancel()

        if self._error is not None:
            raise self._error from failure

        if failure is not None:
            raise failure

    def make_hub(self, specs: Iterable[MachineSpec], **more: Any) -> Hub:  # noqa: ANN401
        """Make a hub whose clock and whose order are those of the simulation.

        Args:
            specs: the machines.
            more: other arguments of `Hub`.
        """
        return Hub(specs, **{"arches": self._arches, **more}, clock=self.clock, turns=self)

    def open_log(self, path: str | os.PathLike[str], **more: Any) -> AuditLog:  # noqa: ANN401
        """Open a log whose clocks and whose identity are those of the simulation.

        Args:
            path: where.
            more: other arguments of `AuditLog.open`.
        """
        from memhub.audit import AuditLog

        clock = self.clock

        return AuditLog.open(
            path, wall=clock.wall_ns, mono=clock.mono_ns, log_id=self._log_id, **more
        )

    def start(
        self, work: Callable[..., Awaitable[object]], *arguments: object, name: str | None = None
    ) -> None:
        """Start a task; its end is awaited at the end of the block.

        Args:
            work: an async function.
            arguments: its arguments.
            name: for the steps; numbered if None.

        Raises:
            RuntimeError: the simulation is not in use.
            TypeError: the name is not text.
            ValueError: the name is empty, or is that of another task.
        """
        if self._tasks is None:
            raise RuntimeError("the simulation is not in use: open it in `async with`")

        number = len(self._names)
        name = f"task {number}" if name is None else take_text("name", name)
        if not name or name in self._names:
            rule = "is the name of another task" if name else "cannot name a task"
            raise ValueError(f"{name!r} {rule}")

        self._names.append(name)
        self._running[name] = True
        self._tasks.start_soon(self._run_task, number, work, arguments)

    async def _run_task(
        self, number: int, work: Callable[..., Awaitable[object]], arguments: tuple[object, ...]
    ) -> None:
        self._actor.set((number, self._names[number]))
        try:
            await self._ask(0, "begins")
            await work(*arguments)
        except Exception as error:
            self._note_error(error)
            raise
        finally:
            del self._running[self._names[number]]

    # Time

    async def sleep(self, seconds: float) -> None:
        """Sleep for so many seconds of the simulation's clock; see `VirtualClock.sleep`."""
        await self.clock.sleep(seconds)
        await self._ask(0, "wakes up")

    def move_on_after(self, seconds: float | None) -> AbstractContextManager[anyio.CancelScope]:
        """See `VirtualClock.move_on_after`."""
        return self.clock.move_on_after(seconds)

    def fail_after(self, seconds: float | None) -> AbstractContextManager[anyio.CancelScope]:
        """See `VirtualClock.fail_after`."""
        return self.clock.fail_after(seconds)

    # Turns

    async def take_turn(self, process: int) -> None:
        """Wait for the turn of a process, before a request."""
        await self._ask(process, sys._getframe(1).f_code.co_name)  # noqa: SLF001 - the asking method

    async def take_last_turn(self, process: int) -> None:
        """Wait for its turn after a wait or before a close, also if it is cancelled."""
        name = sys._getframe(1).f_code.co_name  # noqa: SLF001 - the asking method
        what = "goes on" if name in ("await_answer", "finish_late") else "close"
        self._note_error(sys.exception())  # a block that an error ends closes what it holds
        with anyio.CancelScope(shield=True):
            await self._ask(process, what)

    async def _ask(self, process: int, what: str) -> None:
        actor, name = self._actor.get((0, "main"))
        asking = _Asking(actor, process, name, what, anyio.Event())
        self._asking.append(asking)
        self._tell_pump()
        try:
            await asking.given.wait()
        finally:
            self._asking = [it for it in self._asking if it is not asking]

    def _note_error(self, error: BaseException | None) -> None:
        if error is not None and all(it is not error for it, _ in self._raised):
            self._raised.append((error, len(self.steps)))

    def count_steps_before(self, error: BaseException) -> int:
        """How many turns were given before an error that ended the run."""
        return next((steps for it, steps in self._raised if it is error), len(self.steps))

    def _tell_pump(self) -> None:
        self._news.set()

    async def _give_turns(self, giving: anyio.CancelScope) -> None:
        with giving:
            while True:
                await wait_for_others()
                if self._asking:
                    self._give_turn()
                elif self.clock.next_ns is not None:
                    self.clock.advance_to_next()
                else:
                    await self._wait_for_news()

    async def _wait_for_news(self) -> None:
        self._news = anyio.Event()
        with anyio.move_on_after(self._stall if self._error is None else None) as waiting:
            await self._news.wait()

        if waiting.cancelled_caught:
            self._end_run(
                f"every task has waited for {self._stall} seconds, for nothing that the "
                f"simulation knows; still waiting: {', '.join(self._running)}; the last step "
                f"was {self.steps[-1] if self.steps else 'none'}"
            )

    def _end_run(self, reason: str) -> None:
        """Cancel every task, as the run cannot go on; turns are given until all have ended."""
        assert self._tasks is not None
        if self._error is None:
            self._error = SimulationError(reason)
            self._tasks.cancel_scope.cancel()

    def _give_turn(self) -> None:
        # The one that went on last is the first choice, the others follow by number.
        ready = sorted(self._asking, key=lambda it: (it.actor != self._last, it[:2]))
        for one, other in pairwise(ready):
            if one[:2] == other[:2]:
                self._end_run(
                    f"two tasks of {one.name} want to go on ({one.what}, {other.what}), and only "
                    "the event loop knows which comes first: start each with `Simulation.start`"
                )

        choice = self._order.choose(len(self.steps), [it.name for it in ready])
        chosen = ready[choice]
        self._last = chosen.actor
        self.steps.append(Step(chosen.name, chosen.what, choice, len(ready)))
        chosen.given.set()


def _join_failures(
    failure: BaseException | None, tasks_failed: BaseExceptionGroup[BaseException]
) -> BaseException:
    """What is raised: the tasks' errors, after that of the block."""
    if failure is None:
        return tasks_failed

    return BaseExceptionGroup(
        "the block and tasks of the simulation failed", [failure, *tasks_failed.exceptions]
    )


def _take_stall(stall: object) -> float:
    seconds = take_seconds("stall", stall)
    if not seconds > 0:
        raise ValueError(f"stall is more than 0 seconds, not {seconds!r}")

    return seconds
