"""Signals that come while a call of the program is trapped."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from exec.exec_rig import RUNS, Execute, FakeBackend, tool
from memhub.exec import run
from rounds import rounds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Children that end, with SIGCHLD, while their parent opens a file; how many opens failed.
CHILDREN = 20
SHELL = f"""
failed=0
for it in {" ".join(map(str, range(CHILDREN)))}
do
    true & echo x > /dev/null || failed=$((failed + 1))
done
exit $failed
"""


def best_nice() -> int:
    """The nice value with which the supervisor can serve."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    except PermissionError:
        return before

    os.setpriority(os.PRIO_PROCESS, 0, before)

    return -20


def test_the_supervisor_runs_before_the_program_and_only_while_it_serves(
    python: Execute, backend: FakeBackend
) -> None:
    """Otherwise the program's children run while a call of the program is not yet received."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    seen: list[int] = []

    def look(request: int | None) -> bool:
        seen.append(os.getpriority(os.PRIO_PROCESS, 0))
        return False

    backend.may_wait = look
    status, out = python(
        """
        pread(open("/dev/mem", O_RDONLY), 1, 0)
        print(getpriority(PRIO_PROCESS, 0))
        """
    )

    assert (status, out) == (0, f"{before}\n")
    assert seen == [best_nice()]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


# How often a call fails with EINTR, in the best of some rounds


@pytest.fixture
def one_processor() -> Iterator[None]:
    """Supervisor and program share a processor, so that nice values alone decide who runs.

    Otherwise the figure is the host's: a processor that sleeps is woken in a few microseconds, or
    by a hypervisor in many times as much.
    """
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.campaign
@pytest.mark.alone
@pytest.mark.timeout(600)
def test_a_child_that_ends_seldom_interrupts_its_parents_open(
    facility: None, one_processor: None, backend: FakeBackend, capfd: pytest.CaptureFixture[str]
) -> None:
    """At a better nice value than the program's, none; at an equal one, 50 of 1,000."""
    words = [*lower_nice(), tool("dash"), "-c", SHELL]

    def measure() -> float:
        return 100 * sum(run(words, backend) for _ in range(RUNS)) / (RUNS * CHILDREN)

    figures = rounds(measure, 1, most=4)
    report(capfd, f"dash: % of {RUNS * CHILDREN} opens that failed with EINTR: {shown(figures)}")

    assert min(figures) <= 1


@pytest.mark.campaign
@pytest.mark.alone
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("processes", "most"), [(1, 2), (4, 4)])
@pytest.mark.parametrize("counts", [[50] * RUNS, [5000]], ids=["many-runs", "one-run"])
def test_a_timer_seldom_interrupts_an_open(
    facility: None,
    one_processor: None,
    backend: FakeBackend,
    compiled: Callable[[str], str],
    capfd: pytest.CaptureFixture[str],
    counts: list[int],
    processes: int,
    most: float,
) -> None:
    """A signal every 200 µs: many programs of 50 opens, or one of 5,000 opens, each process.

    0.9 to 1.6 %; at an equal nice value 2.3 to 5 % with one process, 9 to 12 % with four.
    """
    program = compiled("signals")

    def measure() -> float:
        failed: list[int] = []
        for count in counts:
            words = [*lower_nice(), program, "200", str(count), str(processes)]
            capfd.readouterr()
            assert run(words, backend) == 0
            failed.extend(int(line.split()[0]) for line in capfd.readouterr().out.splitlines())

        assert len(failed) == len(counts) * processes

        return 100 * sum(failed) / (sum(counts) * processes)

    figures = rounds(measure, most, most=4)
    report(
        capfd,
        f"{processes} processes: % of {sum(counts) * processes} opens in {len(counts)} runs that "
        f"failed with EINTR: {shown(figures)}",
    )

    assert min(figures) <= most


def lower_nice() -> list[str]:
    """What gives the program a worse nice value than the supervisor's, if rights do not."""
    return [] if best_nice() < os.getpriority(os.PRIO_PROCESS, 0) else [tool("nice"), "-n", "19"]


def shown(figures: list[float]) -> str:
    return ", then ".join(f"{it:.2f}" for it in figures)


def report(capfd: pytest.CaptureFixture[str], line: str) -> None:
    """Show a figure, whatever becomes of the test."""
    with capfd.disabled():
        sys.stderr.write(f"\n{line}\n")
