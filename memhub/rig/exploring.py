"""Run a test under many orders, and shrink the first one that fails."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio

from memhub.arches import load_arches
from memhub.rig.simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from memhub.rig.simulation import Step

    Test = Callable[[Simulation], Awaitable[object]]

#: Runs in which a failing order is shrunk.
_SHRINKS: Final = 500
#: Seconds of real time after which a run in which everybody waits has failed.
_STALL: Final = 2.0


class Finding(NamedTuple):
    """An order under which a test fails.

    Attributes:
        error: what the test raised.
        seed: the seed of the run.
        choices: the order; with the seed, it repeats the run: `Simulation(seed, choices=choices)`.
        steps: the turns of the run.
        runs: how many runs it took to find the first failing one.
        shrinks: how many it took to shrink that.
    """

    error: Exception
    seed: int
    choices: tuple[int, ...]
    steps: tuple[Step, ...]
    runs: int
    shrinks: int

    @property
    def stretches(self) -> list[tuple[str, list[str]]]:
        """The run in short: who went on, and through which steps, until another did."""
        return [
            (actor, [it.what for it in steps])
            for actor, steps in groupby(self.steps, key=lambda it: it.actor)
        ]

    def __str__(self) -> str:
        rows = [
            f"  {number}. {actor}: {', '.join(steps)}"
            for number, (actor, steps) in enumerate(self.stretches, 1)
        ]
        told = f"{type(self.error).__name__}: {self.error}" if str(self.error) else ""

        return "\n".join(
            [
                told or type(self.error).__name__,
                f"run {self.runs}, shrunk in {self.shrinks} more, fails in this order:",
                *rows,
                f"repeat it with Simulation({self.seed}, choices={list(self.choices)})",
            ]
        )


class OrderFailed(AssertionError):
    """Raised when a test fails under some order.

    Attributes:
        finding: the order, shrunk.
    """

    def __init__(self, finding: Finding) -> None:
        self.finding = finding
        super().__init__(str(finding))


def explore(
    test: Test, *, seeds: int | Iterable[int] = 1000, backend: str = "asyncio", shrink: bool = True
) -> None:
    """Run a test once for each seed, until it fails.

    Args:
        test: an async function; it is handed the `Simulation`, which it has entered.
        seeds: the seeds, or how many from 0.
        backend: the event loop, `asyncio` or `trio`.
        shrink: whether to shrink the first order that fails.

    Raises:
        OrderFailed: the test fails under some order; from what the test raised.
    """
    finding = find_failure(test, seeds=seeds, backend=backend, shrink=shrink)
    if finding is not None:
        raise OrderFailed(finding) from finding.error


def find_failure(
    test: Test, *, seeds: int | Iterable[int] = 1000, backend: str = "asyncio", shrink: bool = True
) -> Finding | None:
    """The first order under which a test fails, or None; arguments are those of `explore`."""
    runner = _Runner(test, backend)
    for runs, seed in enumerate(range(seeds) if isinstance(seeds, int) else seeds, 1):
        steps, error = runner.run(seed, None)
        if error is not None:
            choices = tuple(it.choice for it in steps)
            found = Finding(error, seed, choices, steps, runs, 0)

            return _Shrinker(runner, found).shrink() if shrink else found

    return None


class _Runner:
    """Runs a test in simulations that share their architectures."""

    def __init__(self, test: Test, backend: str) -> None:
        self._test = test
        self._backend = backend
        self._arches = load_arches()

    def run(
        self, seed: int, choices: Sequence[int | str] | None
    ) -> tuple[tuple[Step, ...], Exception | None]:
        """The turns of one run, and what the test raised."""
        simulation = Simulation(seed, choices=choices, arches=self._arches, stall=_STALL)

        async def simulate() -> None:
            async with simulation:
                await self._test(simulation)

        error: Exception | None = None
        try:
            anyio.run(simulate, backend=self._backend)
        except Exception as raised:  # noqa: BLE001 - whatever the test raises is its failure
            error = _first_leaf(raised)

        return tuple(simulation.steps), error


def _first_leaf(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]

    return error


class _Shrinker:
    """Makes a failing order shorter, while the test fails in the same way."""

    def __init__(self, runner: _Runner, found: Finding) -> None:
        self._runner = runner
        self._seed = found.seed
        self._error = type(found.error)
        self.found = found
        self.runs = 0

    def shrink(self) -> Finding:
        """The shortest order that was found."""
        self._take_out_changes()
        while self._join_stretches():
            pass

        return self.found._replace(shrinks=self.runs)

    def _take_out_changes(self) -> None:
        """Take out changes of task, many at a time and then fewer."""
        size = len(self.found.choices)
        while size:
            changes = [at for at, choice in enumerate(self.found.choices) if choice]
            for start in range(0, len(changes), size):
                without = changes[start : start + size]
                choices = [0 if at in without else it for at, it in enumerate(self.found.choices)]
                if self._try_order(choices):
                    break
            else:
                size = min(size // 2, len(changes))

    def _join_stretches(self) -> bool:
        """Let a task make its steps earlier or later, together with others of its own."""
        stretches = self.found.stretches
        for at, (actor, steps) in enumerate(stretches):
            others = [it for it, (other, _) in enumerate(stretches) if other == actor and it != at]
            for other in others:
                order = [
                    actor_
                    for it, (actor_, steps_) in enumerate(stretches)
                    for _ in range(len(steps_) * (it != at) + len(steps) * (it == other))
                ]
                if self._try_order(order):
                    return True

        return False

    def _try_order(self, choices: Sequence[int | str]) -> bool:
        """Run the test in another order; keep the order if it fails and is shorter."""
        if self.runs == _SHRINKS:
            return False

        self.runs += 1
        steps, error = self._runner.run(self._seed, choices)
        if error is None or type(error) is not self._error:
            return False

        taken = _cut_zeros([it.choice for it in steps])
        shorter = self.found._replace(error=error, choices=taken, steps=steps)
        if _measure(shorter) >= _measure(self.found):
            return False

        self.found = shorter

        return True


def _cut_zeros(choices: Sequence[int]) -> tuple[int, ...]:
    last = max((at for at, choice in enumerate(choices) if choice), default=-1)

    return tuple(choices[: last + 1])


def _measure(found: Finding) -> tuple[int, int]:
    """What is to become less: the stretches, then the choices that are not 0."""
    return len(found.stretches), sum(map(bool, found.choices))
