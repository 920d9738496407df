"""Run a test under many orders, and shrink the first one that fails."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from importlib.util import find_spec
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio

from memhub.arches import load_arches
from memhub.arguments import take_integer
from memhub.rig.simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from memhub.rig.simulation import Step

    Test = Callable[[Simulation], Awaitable[object]]

#: Runs in which a failing order is shrunk.
_SHRINKS: Final = 500
#: What `backend` can be.
_LOOPS: Final = ("asyncio", "uvloop", "trio")
#: Seconds of real time after which a run in which everybody waits has failed.
_STALL: Final = 2.0


class Finding(NamedTuple):
    """An order under which a test fails.

    Attributes:
        error: what the test raised.
        seed: the seed of the run.
        choices: the order; with the seed, it repeats the run: `Simulation(seed, choices=choices)`.
        steps: the turns up to the error; what tasks that are cancelled did afterwards is left out.
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

    def _split_later(self) -> tuple[list[tuple[str, list[str]]], list[str]]:
        """The stretches that tell the story, and the tasks of which each began after it."""
        stretches = self.stretches
        end = len(stretches)
        while end and stretches[end - 1][1][0] == "begins" and self._starts_late(end - 1):
            end -= 1

        later = [actor for actor, _ in stretches[end:]]

        return (stretches[:end], later) if len(later) > 1 else (stretches, [])

    def _starts_late(self, at: int) -> bool:
        """Whether a stretch begins after the last choice that is not 0."""
        return sum(len(steps) for _, steps in self.stretches[:at]) >= len(self.choices)

    def __str__(self) -> str:
        stretches, later = self._split_later()
        rows = [
            f"  {number}. {actor}: {', '.join(steps)}"
            for number, (actor, steps) in enumerate(stretches, 1)
        ]
        if later:
            rows.append(f"  {len(rows) + 1}. each to its end: {', '.join(later)}")

        how = f"run {self.runs}, shrunk in {self.shrinks} more, fails in this order:"
        if not rows:
            how = f"run {self.runs} fails before any task has a turn, whatever the order"

        told = f"{type(self.error).__name__}: {self.error}" if str(self.error) else ""

        return "\n".join(
            [
                told or type(self.error).__name__,
                how,
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
        seeds: the seeds, or how many from 0; at least one.
        backend: the event loop: `asyncio`, `uvloop` or `trio`.
        shrink: whether to shrink the first order that fails.

    Raises:
        TypeError: a seed is not an integer, or the test is no async function of the simulation.
        ValueError: there are no seeds, or the event loop is unknown or not installed.
        RuntimeError: an event loop runs here already.
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
    for runs, seed in enumerate(_take_seeds(seeds), 1):
        steps, error = runner.run(seed, None)
        if error is not None:
            choices = tuple(it.choice for it in steps)
            found = Finding(error, seed, choices, steps, runs, 0)

            return _Shrinker(runner, found).shrink() if shrink else found

    return None


def _take_seeds(seeds: int | Iterable[int]) -> Iterator[int]:
    """The seeds, one after the other: there may be more than a list can hold."""
    numbers = seeds if isinstance(seeds, Iterable) else range(take_integer("seeds", seeds))
    one = None
    for one in numbers:
        yield take_integer("a seed", one)

    if one is None:
        raise ValueError(f"seeds={seeds!r} names no seed: a test that is not run proves nothing")


def _find_loop(backend: str) -> tuple[str, dict[str, bool]]:
    """The backend of anyio and its options for an event loop."""
    if backend not in _LOOPS:
        raise ValueError(f"backend {backend!r} is not {', '.join(_LOOPS)}")

    if backend != "asyncio" and find_spec(backend) is None:
        raise ValueError(f"backend {backend!r} is not installed")

    return ("asyncio", {"use_uvloop": True}) if backend == "uvloop" else (backend, {})


class _Runner:
    """Runs a test in simulations that share their architectures."""

    def __init__(self, test: Test, backend: str) -> None:
        if not callable(test):
            raise TypeError(f"test {test!r:.80} is not an async function of a Simulation")

        _refuse_loop()
        self._test = test
        self._backend, self._options = _find_loop(backend)
        self._arches = load_arches()

    def run(
        self, seed: int, choices: Sequence[int | str] | None
    ) -> tuple[tuple[Step, ...], Exception | None]:
        """The turns of one run, and what the test raised."""
        simulation = Simulation(seed, choices=choices, arches=self._arches, stall=_STALL)

        wrong: TypeError | None = None

        async def simulate() -> None:
            nonlocal wrong
            async with simulation:
                answer: object = self._test(simulation)
                if isinstance(answer, Awaitable):
                    await answer
                else:
                    wrong = TypeError(f"test {self._test!r:.80} is not an async function")

        error: Exception | None = None
        try:
            anyio.run(simulate, backend=self._backend, backend_options=self._options)
        except Exception as raised:  # noqa: BLE001 - whatever the test raises is its failure
            error = _first_leaf(raised)

        if wrong is not None:
            raise wrong

        end = None if error is None else simulation.count_steps_before(error)

        return tuple(simulation.steps[:end]), error


def _refuse_loop() -> None:
    try:
        anyio.get_cancelled_exc_class()
    except RuntimeError:  # no event loop runs here
        return

    raise RuntimeError("explore runs event loops of its own: call it where none runs")


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
        while self._join_stretches() or self._postpone_task():
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

    def _postpone_task(self) -> bool:
        """Let a task make all its steps after the last choice; it may not matter."""
        head = self.found.steps[: len(self.found.choices)]
        for actor in sorted({it.actor for it in head}):
            if self._try_order([it.actor for it in head if it.actor != actor]):
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


def _measure(found: Finding) -> tuple[int, int, int]:
    """What is to become less: stretches up to the last choice, then all, then choices."""
    head = found.steps[: len(found.choices)]
    stretches = sum(1 for _ in groupby(head, key=lambda it: it.actor))

    return stretches, len(found.stretches), sum(map(bool, found.choices))
