"""How everything here is measured: interleaved rounds, and ratios within a round.

The speed of a shared machine can change by half within minutes, so absolute times are not
comparable. In each round every case runs once, in rotating order, and two cases are compared within
a round. In-process cases are timed in CPU seconds of this process, which other load changes less
than the wall clock.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import anyio

#: Does its work `n` times.
Work = Callable[[int], object]
AsyncWork = Callable[[int], Awaitable[object]]
Clock = Callable[[], float]

#: Column name to what `anyio.run` takes.
_BACKENDS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "asyncio": ("asyncio", {}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure.

    Attributes:
        rounds: how often every case runs.
        chunk: seconds that one case runs in one round; 0 runs it once.
        peers: whether to run peers that need an install.
        folder: for files that a question writes.
    """

    rounds: int = 15
    chunk: float = 0.02
    peers: bool = False
    folder: Path = Path()

    @property
    def quick(self) -> bool:
        """Whether everything only has to run, without usable figures."""
        return not self.chunk

    def scaled(self, full: int, tiny: int) -> int:
        """A size: `full`, or `tiny` for a quick run."""
        return tiny if self.quick else full

    def with_rounds(self, rounds: int) -> Plan:
        """The same with at most `rounds` rounds, for slow cases."""
        return Plan(min(rounds, self.rounds), self.chunk, self.peers, self.folder)


class Goal(NamedTuple):
    """The limits for a ratio.

    Attributes:
        least: the limit that it must reach.
        aim: the limit that it should reach.
    """

    least: float
    aim: float


class Spread(NamedTuple):
    """Median and extremes over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """The spread of what the rounds gave."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes:
        question: what was asked.
        column: the backend, or another variant.
        figure: the subject's median, in `unit`; None where it did not run.
        unit: of `figure`.
        against: what the ratio is taken to; empty where the figure itself has the goal.
        ratio: subject to anchor, or how many times faster if `more`.
        more: whether a larger ratio is better.
        goal: the limits for the ratio, or None for a row that is for information.
        note: why it did not run, or what to know.
    """

    question: str
    column: str = ""
    figure: float | None = None
    unit: str = "us"
    against: str = ""
    ratio: Spread | None = None
    more: bool = False
    goal: Goal | None = None
    note: str = ""

    def in_column(self, column: str) -> Row:
        """The same row in a column."""
        return replace(self, column=column)

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it the same row in another run."""
        return (self.question, self.column, self.against)

    @property
    def verdict(self) -> Literal["aim", "least", "MISS", "skipped", ""]:
        """Which goal the ratio reaches."""
        if self.ratio is None:
            return "skipped"

        if self.goal is None:
            return ""

        if self._reaches(self.goal.aim):
            return "aim"

        return "least" if self._reaches(self.goal.least) else "MISS"

    def _reaches(self, limit: float) -> bool:
        median = self.ratio.median if self.ratio is not None else float("nan")

        return median >= limit if self.more else median <= limit


def skipped(question: str, why: str, *, against: str = "", column: str = "") -> Row:
    """The row of a question that cannot be asked here."""
    return Row(question=question, against=against, column=column, note=why)


class Samples:
    """Seconds an operation, by case and round."""

    def __init__(self, times: Mapping[str, list[float]]) -> None:
        self.times = times

    def ratio(self, subject: str, against: str, *, more: bool = False) -> Spread:
        """Subject to anchor within each round; the inverse, a speed, if `more`."""
        pairs = zip(self.times[subject], self.times[against], strict=True)

        return Spread.of([b / a if more else a / b for a, b in pairs])

    def row(
        self,
        question: str,
        subject: str,
        against: str,
        goal: Goal | None = None,
        *,
        column: str = "",
        more: bool = False,
        note: str = "",
    ) -> Row:
        """The row that compares two cases."""
        return Row(
            question=question,
            column=column,
            figure=statistics.median(self.times[subject]) * 1e6,
            against=against,
            ratio=self.ratio(subject, against, more=more),
            more=more,
            goal=goal,
            note=note,
        )

    def figure(self, question: str, subject: str, goal: Goal | None = None) -> Row:
        """The row of a case whose milliseconds have the goal."""
        spread = Spread.of([seconds * 1e3 for seconds in self.times[subject]])

        return Row(question=question, figure=spread.median, unit="ms", ratio=spread, goal=goal)


def amount(question: str, values: list[float], unit: str, goal: Goal | None = None) -> Row:
    """The row of a figure that is not a time."""
    spread = Spread.of(values)

    return Row(question=question, figure=spread.median, unit=unit, ratio=spread, goal=goal)


async def measure(
    cases: Mapping[str, AsyncWork], plan: Plan, clock: Clock = time.process_time
) -> Samples:
    """Run all cases in interleaved rounds on the loop that is running."""
    counts = {name: await _calibrate(work, plan.chunk, clock) for name, work in cases.items()}
    times: dict[str, list[float]] = {name: [] for name in cases}
    names = list(cases)
    gc.collect()
    for turn in range(plan.rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            begin = clock()
            await cases[name](counts[name])
            times[name].append((clock() - begin) / counts[name] or 1e-12)

    return Samples(times)


async def _calibrate(work: AsyncWork, chunk: float, clock: Clock) -> int:
    """How often the work is done in `chunk` seconds; it is warm afterwards."""
    count = 1
    while True:
        begin = clock()
        await work(count)
        taken = clock() - begin
        if taken >= chunk / 2 or not chunk:
            return max(1, round(count * chunk / taken)) if taken and chunk else count

        count *= 2 if taken > chunk / 16 else 8


def measure_sync(
    cases: Mapping[str, Work], plan: Plan, clock: Clock = time.process_time
) -> Samples:
    """The same for work that never awaits."""

    def adapted(work: Work) -> AsyncWork:
        async def do(count: int) -> None:
            work(count)

        return do

    return anyio.run(measure, {name: adapted(work) for name, work in cases.items()}, plan, clock)


def once(job: Callable[[], object]) -> Work:
    """Work of one call each time."""

    def work(count: int) -> None:
        for _ in range(count):
            job()

    return work


def backends(plan: Plan) -> Iterator[str]:
    """The event loops that are installed; only asyncio in a quick run."""
    for name in _BACKENDS:
        if name == "asyncio" or (importlib.util.find_spec(name) and not plan.quick):
            yield name


def run_on(backend: str, function: Callable[..., Awaitable[Any]], *args: object) -> Any:  # noqa: ANN401
    """`anyio.run` on a column's event loop."""
    kind, options = _BACKENDS[backend]

    return anyio.run(function, *args, backend=kind, backend_options=options)


def cpu_seconds(pid: int) -> float:
    """CPU seconds that another process has used, by its CPU clock (clock_getcpuclockid(3))."""
    return time.clock_gettime(~pid << 3 | 2)


def together(*pids: int) -> Clock:
    """A clock of the CPU seconds of this process and some others."""
    return lambda: time.process_time() + sum(map(cpu_seconds, pids))


def cores() -> tuple[int, int]:
    """The core of the side that is measured, and of its peer; the same where there is one."""
    usable = sorted(os.sched_getaffinity(0))

    return usable[0], usable[-1]


def bystander() -> int:
    """A core that is neither of `cores`; the peer's where there are but two."""
    usable = sorted(os.sched_getaffinity(0))

    return usable[max(1, len(usable) - 2)] if len(usable) > 2 else usable[-1]


@contextmanager
def pinned(core: int | None = None) -> Iterator[None]:
    """Keep this process, and what it starts meanwhile, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cores()[0] if core is None else core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
