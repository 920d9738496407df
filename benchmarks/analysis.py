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
from benchmarks.harness import Goal, Plan, Row, amount, measure_sync, once, skipped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_RECORDS = 100_000

#: What the questions ask, as somebody would write it in DuckDB's SQL over the same files.
BARE = {
    "contention": """
        WITH ends AS (SELECT log, run, max(mono_ns) AS end_ns FROM records
          WHERE NOT starts_with(event, 'log.') GROUP BY ALL)
        SELECT machine, process, holder, sum(refused), sum(waited),
          count(*) FILTER (cause = 'granted'), count(*) FILTER (cause = 'timeout'),
          count(*) FILTER (cause = 'deadlock'), sum(ns), max(ns), arg_max(seq, n), log FROM (
          SELECT log, machine, process, holder, 1 AS refused, 0 AS waited, NULL AS cause, 0 AS ns,
            n, seq FROM records
          WHERE errno IN ('EBUSY', 'EDEADLK', 'ETIMEDOUT') AND event NOT IN ('wait.end', 'undo')
          UNION ALL
          SELECT log, machine, process, holder, 0, 1, cause, duration_ns, n, seq FROM records
          WHERE event = 'wait.end'
          UNION ALL
          SELECT b.log, machine, process, holder, 0, 1, NULL, end_ns - mono_ns, n, seq
          FROM records b JOIN ends ON b.log = ends.log AND b.run = ends.run
          ANTI JOIN (FROM records WHERE event = 'wait.end') e
            ON b.log = e.log AND b.machine = e.machine AND b.start = e.start AND b.wait = e.wait
          WHERE b.event = 'wait.begin')
        GROUP BY ALL ORDER BY ALL""",
    "occupancy": """
        WITH ends AS (SELECT log, run, max(mono_ns) AS end_ns FROM records
          WHERE NOT starts_with(event, 'log.') GROUP BY ALL),
        slots AS (
          SELECT log, run, machine, start, n, mono_ns, begins,
            unnest(coalesce(before_flags, list_resize([]::BIGINT[], len(slots), 0)))
              & 134217728 AS b,
            unnest(after_flags) & 134217728 AS a FROM records
          WHERE begins OR (event IN ('request.set', 'undo') AND errno IS NULL)),
        steps AS (SELECT log, run, machine, start, n, any_value(mono_ns) AS mono_ns,
          sum((a > 0)::INT - (b > 0)::INT) AS d, sum(begins::INT) AS c FROM slots GROUP BY ALL),
        used AS (SELECT *, sum(d) OVER w AS used, sum(c) OVER w AS slots,
          coalesce(lead(mono_ns) OVER w, end_ns) - mono_ns AS lasted
          FROM steps JOIN ends USING (log, run)
          WINDOW w AS (PARTITION BY log, machine, start ORDER BY n))
        SELECT log, machine, start, max(slots), min(used), max(used), arg_max(used, n),
          sum(used * (lasted // 1000)) / sum(lasted // 1000),
          sum(lasted) FILTER (used = slots), sum(lasted), count(*) - 1
        FROM used GROUP BY ALL ORDER BY ALL""",
    "hijacks": """
        WITH slots AS (
          SELECT log, machine, start, n, seq, event, process, process_id, unnest(slots) AS slot,
            unnest(coalesce(before_base, after_base)) AS bb, unnest(after_base) AS ab,
            unnest(coalesce(before_length, after_length)) AS bl, unnest(after_length) AS al,
            unnest(coalesce(before_flags, after_flags)) AS bf, unnest(after_flags) AS af,
            unnest(coalesce(before_owner, after_owner)) AS bo, unnest(after_owner) AS ao
          FROM records
          WHERE begins OR (event IN ('request.set', 'undo') AND errno IS NULL)),
        setters AS (SELECT *,
          lag(if(event = 'request.set', process, NULL)) OVER w AS victim,
          lag(if(event = 'request.set', process_id, NULL)) OVER w AS victim_id FROM slots
          WINDOW w AS (PARTITION BY log, machine, start, slot ORDER BY n))
        SELECT machine, victim, process, bb, bl, slot, seq FROM setters
        WHERE event = 'request.set' AND bf & 134217728 > 0 AND victim_id <> process_id
          AND (victim <> process OR bo <> ao) AND (bb, bl, bf, bo) <> (ab, al, af, ao)
        UNION ALL
        SELECT machine, process, holder, base, length, NULL, seq FROM records
        WHERE event = 'claim.break' ORDER BY ALL""",
}


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

        for name in ("leaks", "flapping", "slots"):
            query = getattr(log, name)().sql
            case = {name: once(partial(run_query, engine, query))}
            samples = measure_sync(case, plan.with_rounds(3), time.perf_counter)
            yield samples.figure(f"question: {name}", name)


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
