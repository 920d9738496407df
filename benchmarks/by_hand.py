"""The questions as somebody would write them in DuckDB's SQL over the same files."""

from __future__ import annotations

from typing import Final

#: The query of each question; its answer has as many rows.
BARE: Final = {
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
    "leaks": """
        WITH ends AS (SELECT log, run, max(mono_ns) AS end_ns FROM records
          WHERE NOT starts_with(event, 'log.') GROUP BY ALL),
        taken AS (SELECT log, machine, start, fence, min(n) AS n, arg_min(seq, n) AS seq,
            arg_min(run, n) AS run, arg_min(mono_ns, n) AS mono_ns, arg_min(process, n) AS process,
            arg_min(process_id, n) AS process_id, arg_min(base, n) AS base,
            arg_min(length, n) AS length, arg_min(event, n) AS event FROM records
          WHERE errno IS NULL AND fence IS NOT NULL
            AND (event = 'claim.take' OR (event = 'request.set' AND len(claimed) > 0))
          GROUP BY ALL),
        named AS (SELECT log, machine, start, fence, seq, mono_ns, cause FROM records
          WHERE errno IS NULL AND (event IN ('claim.expire', 'claim.break')
            OR (event = 'claim.release' AND cause NOT IN ('request', 'fence')))),
        events AS (
          SELECT log, machine, start, n, true AS takes, fence, unnest(claimed) AS slot FROM records
          WHERE event = 'request.set' AND errno IS NULL
          UNION ALL SELECT log, machine, start, n, true, fence, unnest(slots) FROM records
          WHERE event = 'claim.take' AND errno IS NULL
          UNION ALL SELECT log, machine, start, n, false, fence, unnest(released) FROM records
          WHERE event = 'request.set' AND errno IS NULL
          UNION ALL SELECT log, machine, start, n, false, fence, unnest(slots) FROM records
          WHERE event IN ('claim.release', 'claim.expire', 'claim.break') AND errno IS NULL
          UNION ALL SELECT log, machine, start, n, false, fence, unnest(coalesce(written, slots))
          FROM records WHERE event = 'undo' AND errno IS NULL),
        last AS (SELECT log, machine, start, slot,
            arg_max({'fence': if(takes, fence, NULL)}, n * 2 + takes::INT).fence AS fence
          FROM events GROUP BY ALL),
        released AS (SELECT log, machine, start, process_id, n, fence, cause, base,
            base + length AS stop FROM records
          WHERE event = 'claim.release' AND errno IS NULL AND cause IN ('request', 'fence')),
        held AS (
          SELECT * FROM taken WHERE event = 'request.set'
            AND (log, machine, start, fence) IN (SELECT (log, machine, start, fence) FROM last)
          UNION ALL
          SELECT t.* FROM taken t WHERE event = 'claim.take' AND NOT EXISTS (
            SELECT 1 FROM released r WHERE r.log = t.log AND r.machine = t.machine
              AND r.start = t.start AND r.process_id = t.process_id AND r.n > t.n
              AND r.base <= t.base AND t.base + t.length <= r.stop
              AND (r.cause = 'request' OR r.fence = t.fence))),
        files AS (SELECT log, machine, start, process_id FROM records
          WHERE event IN ('request.open', 'request.close') AND errno IS NULL GROUP BY ALL
          HAVING count(*) FILTER (event = 'request.open') > 0
            AND count(*) FILTER (event = 'request.open')
              <= count(*) FILTER (event = 'request.close')),
        slots AS (
          SELECT log, machine, start, run, n, seq, mono_ns,
            if(event = 'request.set', process, NULL) AS process,
            if(event = 'request.set', process_id, NULL) AS process_id, unnest(slots) AS slot,
            unnest(after_base) AS base, unnest(after_length) AS length,
            unnest(after_flags) AS flags, unnest(after_owner) AS owner FROM records
          WHERE begins OR (event IN ('request.set', 'undo') AND errno IS NULL)),
        standing AS (SELECT log, machine, start, slot,
            arg_max({'run': run, 'n': n, 'seq': seq, 'mono_ns': mono_ns, 'process': process,
              'process_id': process_id, 'base': base, 'length': length, 'flags': flags,
              'owner': owner}, n) AS it FROM slots GROUP BY ALL)
        SELECT t.log, machine, start, cause, process, base, length, NULL AS slot, NULL AS owner,
          fence, e.mono_ns - t.mono_ns AS held_ns, t.seq, e.seq AS until_seq
        FROM taken t JOIN named e USING (log, machine, start, fence)
        WHERE cause IN ('disconnect', 'cancelled', 'error', 'garbage', 'expire')
        UNION ALL
        SELECT log, machine, start, 'held', process, base, length, NULL, NULL, fence,
          end_ns - mono_ns, seq, NULL
        FROM held ANTI JOIN named USING (log, machine, start, fence) JOIN ends USING (log, run)
        UNION ALL
        SELECT s.log, s.machine, s.start, 'left', it.process, it.base, it.length, slot, it.owner,
          NULL, end_ns - it.mono_ns, it.seq, NULL
        FROM standing s JOIN ends ON s.log = ends.log AND it.run = ends.run
        JOIN files f ON f.log = s.log AND f.machine = s.machine AND f.start = s.start
          AND f.process_id = it.process_id
        WHERE it.flags & 134217728 > 0
        ORDER BY ALL""",
    "flapping": """
        WITH sides AS (
          SELECT log, machine, start, n, seq, mono_ns, process, false AS there,
            unnest(before_base) AS base, unnest(before_length) AS length,
            unnest(before_flags) AS flags FROM records
          WHERE event IN ('request.set', 'undo') AND errno IS NULL
          UNION ALL
          SELECT log, machine, start, n, seq, mono_ns, process, true, unnest(after_base),
            unnest(after_length), unnest(after_flags) FROM records
          WHERE event IN ('request.set', 'undo') AND errno IS NULL),
        real AS (SELECT log, machine, start, base, length, n, seq, mono_ns, process FROM sides
          WHERE flags & 134217728 > 0 GROUP BY ALL
          HAVING bool_and(there) OR NOT bool_or(there) OR min(flags) <> max(flags)),
        spans AS (SELECT *, mono_ns - lag(mono_ns, 3) OVER w AS span FROM real
          WINDOW w AS (PARTITION BY log, machine, start, base, length ORDER BY n))
        SELECT machine, base, length, count(*) AS changes,
          count(*) FILTER (span <= 60000000000) AS bursts, min(span), count(DISTINCT process),
          arg_max(process, n), arg_min(seq, n), arg_max(seq, n), start, log
        FROM spans GROUP BY ALL HAVING bursts > 0 ORDER BY ALL""",
    "slots": """
        WITH slots AS (
          SELECT log, machine, start, n, seq, arch, if(event = 'request.set', process, NULL) AS who,
            unnest(slots) AS slot, unnest(after_base) AS base, unnest(after_length) AS length,
            unnest(after_flags) AS flags, unnest(after_owner) AS owner FROM records
          WHERE begins OR (event IN ('request.set', 'undo') AND errno IS NULL)),
        last AS (SELECT log, machine, start, slot, arg_max({'seq': seq, 'arch': arch, 'who': who,
            'base': base, 'length': length, 'flags': flags, 'owner': owner}, n) AS it
          FROM slots GROUP BY ALL),
        live AS (SELECT log, machine, start, slot, it.seq AS seq, it.arch AS arch, it.who AS who,
            it.base AS base, it.length AS length, it.flags AS flags, it.owner AS owner,
            it.flags & 127 AS type, it.base + it.length AS stop FROM last
          WHERE it.flags & 134217728 > 0
          QUALIFY start = max(start) OVER (PARTITION BY log, machine))
        SELECT a.machine, CASE
            WHEN a.base = b.base AND a.length = b.length AND a.type = b.type AND a.slot > b.slot
              THEN 'duplicate'
            WHEN b.base <= a.base AND a.stop <= b.stop AND (a.base, a.stop) <> (b.base, b.stop)
              AND (a.type = b.type OR (a.arch IN ('i386', 'amd64-mtrr') AND b.type = 1))
              THEN 'shadowed'
            WHEN a.stop = b.base AND a.length = b.length AND a.type = b.type
              AND bit_count(a.length) = 1 AND a.length >= 4096 AND a.base % (2 * a.length) = 0
              THEN 'mergeable' END AS why,
          a.slot, a.base, a.length, a.owner, b.slot, b.base, b.length, b.owner, a.seq, a.who,
          a.start, a.log
        FROM live a JOIN live b ON a.log = b.log AND a.machine = b.machine AND a.slot <> b.slot
        WHERE why IS NOT NULL AND a.flags & 587202560 = 0 ORDER BY ALL""",
}
