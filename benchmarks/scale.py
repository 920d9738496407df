"""Millions of records: packing, questions, states and verification, with the memory they take.

The number of records is a million, or that of MEMHUB_BENCH_RECORDS. With MEMHUB_BENCH_LOG, a folder
of segments, that log is taken and none is made. Each command runs in a process of its own, so what
is measured holds the start of Python too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from benchmarks.analysis import run_query
from benchmarks.by_hand import BARE
from benchmarks.harness import Goal, Plan, Row, amount, measure_sync, once, skipped
from benchmarks.scale_log import count_records, make_run, repeat_run

if TYPE_CHECKING:
    from collections.abc import Iterator

_RECORDS: Final = 1_000_000

#: The most records that a hub makes; further ones are copies of these.
_MADE: Final = 500_000


class Cost(NamedTuple):
    """What a command took.

    Attributes:
        cpu: seconds of processor time.
        wall: seconds.
        peak: its largest memory, MiB.
    """

    cpu: float
    wall: float
    peak: float


def run_command(*command: str) -> Cost:
    """Run a command to its end.

    Raises:
        RuntimeError: it failed.
    """
    begin = time.perf_counter()
    # its resources can be had only where it is waited for
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command[:6])}: exit code {process.returncode}")

    wall = time.perf_counter() - begin

    return Cost(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024)


def _audit(*arguments: str) -> Cost:
    return run_command(sys.executable, "-m", "memhub", "audit", *arguments)


def _make(plan: Plan) -> Path:
    """The log, in segments."""
    given = os.environ.get("MEMHUB_BENCH_LOG")
    if given:
        return Path(given)

    full = plan.scaled(int(os.environ.get("MEMHUB_BENCH_RECORDS", _RECORDS)), 1000)
    made = min(full, _MADE)
    run, folder = plan.folder / "run", plan.folder / "log"
    make_run(run, made, 64 << 20)
    repeat_run(run, folder, -(-full // made))

    return folder


def _packing(log: Path, plan: Plan) -> Iterator[Row]:
    packed = _audit("pack", str(log), "--out", str(plan.folder / "set"))
    convert = "import sys; from benchmarks.analysis import convert; convert(*sys.argv[1:])"
    out = plan.folder / "bare.parquet"
    bare = run_command(sys.executable, "-c", convert, f"{log}/*.jsonl*", str(out))
    ratio, goal = packed.cpu / bare.cpu, Goal(2, 1.5)
    yield amount("scale: pack, CPU against JSON to Parquet", [ratio], "x", goal)
    yield amount("scale: pack, CPU", [packed.cpu], "s")
    yield amount("scale: JSON to Parquet, CPU", [bare.cpu], "s")
    yield amount("scale: pack, peak memory", [packed.peak], "MiB")
    yield amount("scale: JSON to Parquet, peak memory", [bare.peak], "MiB")


def _asking(plan: Plan) -> Iterator[Row]:
    from memhub.analysis import Analysis

    few = plan.with_rounds(3)
    with Analysis([plan.folder / "set"]) as log:
        engine: Any = log._store.backend.con  # noqa: SLF001 - the same engine for both
        for name, bare in BARE.items():
            cases = {
                "question": once(partial(run_query, engine, getattr(log, name)().sql)),
                "SQL by hand": once(partial(run_query, engine, bare)),
            }
            samples = measure_sync(cases, few)
            yield samples.figure(f"scale: {name}, CPU", "question")
            yield samples.row(f"scale: {name}", "question", "SQL by hand", Goal(3, 2))


def _telling(log: Path, records: int, plan: Plan) -> Iterator[Row]:
    """States at random records, in the time of the processor and of a clock on the wall."""
    random = Random(3)
    places = [random.randrange(1, records + 1) for _ in range(1 if plan.quick else 9)]
    costs = [_audit("state", str(log), "--at", str(place), "--json") for place in places]
    yield amount("scale: state at a random record, CPU", [it.cpu for it in costs], "s")
    yield amount("scale: state at a random record", [it.wall for it in costs], "s", Goal(1, 0.5))
    yield amount("scale: state, peak memory", [it.peak for it in costs], "MiB")


def rows(plan: Plan) -> Iterator[Row]:
    """Each of the commands that a long log has to be quick for."""
    if not all(map(find_spec, ("duckdb", "ibis"))):
        yield skipped("scale: pack", "the extra analysis is missing", against="DuckDB")
        return

    log = _make(plan)
    records = count_records(log)
    yield amount("scale: records", [float(records)], "records")
    yield from _packing(log, plan)
    yield from _telling(log, records, plan)
    verified = _audit("verify", str(log))
    yield amount("scale: verify, peak memory of a process", [verified.peak], "MiB")
    # last: the memory of this process counts as that of each command until it begins
    yield from _asking(plan)
