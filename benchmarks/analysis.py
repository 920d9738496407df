"""Packing and questions against DuckDB alone: JSON to Parquet, and SQL written by hand.

The number of records is 100,000, or that of MEMHUB_BENCH_RECORDS.
"""

from __future__ import annotations

import os
import resource
import shutil
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.analysis_log import make_log
from benchmarks.by_hand import BARE
from benchmarks.harness import Goal, Plan, Row, amount, measure_sync, once, skipped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_RECORDS = 100_000


def convert(path: str | Path, out: str | Path) -> None:
    """What DuckDB makes of a log by itself: JSON to Parquet, nothing verified."""
    import duckdb

    from memhub.analysis.columns import duckdb_type
    from memhub.audit.fields import FIELDS

    columns = ", ".join(f"'{name}': '{duckdb_type(it.type)}'" for name, it in FIELDS.items())
    engine = duckdb.connect(config={"threads": 2})
    engine.execute("SET enable_progress_bar = false")
    engine.execute(
        f"COPY (SELECT * FROM read_json('{path}', format = 'newline_delimited', "
        f"columns = {{{columns}}})) TO '{out}' (FORMAT parquet)"
    )
    engine.close()


def _packing(path: Path, plan: Plan) -> Iterator[Row]:
    from memhub.analysis import pack

    out = plan.folder / "set"

    def packed() -> None:
        shutil.rmtree(out, ignore_errors=True)
        pack([path], out)

    cases = {
        "pack": once(packed),
        "DuckDB": once(lambda: convert(path, plan.folder / "bare.parquet")),
    }
    few = plan.with_rounds(3)
    for words, clock in (("wall", time.perf_counter), ("CPU", time.process_time)):
        samples = measure_sync(cases, few, clock)
        goal = Goal(2, 1.5) if words == "wall" else None
        yield samples.row(f"pack: {words} against JSON to Parquet", "pack", "DuckDB", goal)


def run_query(engine: Any, query: str) -> Any:  # noqa: ANN401 - duckdb's connection
    """The whole answer of a query."""
    return engine.sql(query).to_arrow_table()


def _asking(plan: Plan) -> Iterator[Row]:
    from memhub.analysis import Analysis

    with Analysis([plan.folder / "set"]) as log:
        engine = log._store.backend.con  # noqa: SLF001 - the same engine for both
        for name, bare in BARE.items():
            query = getattr(log, name)().sql
            cases = {
                "question": once(partial(run_query, engine, query)),
                "SQL by hand": once(partial(run_query, engine, bare)),
            }
            samples = measure_sync(cases, plan.with_rounds(7), time.perf_counter)
            yield samples.row(f"question: {name}", "question", "SQL by hand", Goal(3, 2))


def rows(plan: Plan) -> Iterator[Row]:
    """Packing, and questions to what was packed."""
    try:
        import duckdb  # noqa: F401 - the extra
        import ibis  # noqa: F401 - the same
    except ImportError:
        yield skipped("pack", "the extra analysis is missing", against="DuckDB")
        return

    path = plan.folder / "bench.jsonl"
    full = int(os.environ.get("MEMHUB_BENCH_RECORDS", _RECORDS))
    records = make_log(path, plan.scaled(full, 500))
    yield amount("pack: records", [float(records)], "records")
    yield from _packing(path, plan)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    yield amount("pack: peak memory of the process", [peak], "MiB")
    yield from _asking(plan)
