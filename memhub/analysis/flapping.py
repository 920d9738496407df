"""What is changed again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ibis

from memhub.analysis.columns import MACHINE
from memhub.analysis.views import changes_of

if TYPE_CHECKING:
    from memhub.analysis.views import Views

Table = Any


def flapping(views: Views, *, least: int = 4, within_ns: int = 60_000_000_000) -> Table:
    """Ranges that were set and removed, or given another type, again and again.

    Args:
        views: the views.
        least: changes that make a burst.
        within_ns: nanoseconds in which they fall.
    """
    t = changes_of(views.records, ("base", "length", "flags"))
    kept = t.filter(~t.begins)
    before = kept.filter(kept.used_before)
    after = kept.filter(kept.used_after)
    sides = []
    for rows, side in ((before, "before"), (after, "after")):
        sides.append(
            rows.select(
                *MACHINE, "n", "seq", "wall_ns", "mono_ns", "process",
                base=rows[f"{side}_base"], length=rows[f"{side}_length"],
                type=rows[f"{side}_flags"], there=ibis.literal(side == "after"),
            )
        )  # fmt: skip

    both = ibis.union(*sides)
    where = [*MACHINE, "base", "length"]
    each = both.group_by(*where, "n", "seq", "wall_ns", "mono_ns", "process").agg(
        came=both.there.max(), went=(~both.there).max(), least=both.type.min(), most=both.type.max()
    )
    real = each.filter((each.came != each.went) | (each["least"] != each.most))
    in_order = ibis.window(group_by=where, order_by="n")
    real = real.mutate(first_ns=real.mono_ns.lag(least - 1).over(in_order))
    span = real.mono_ns - real.first_ns
    found = real.group_by(*where).agg(
        changes=real.count().cast("int64"),
        bursts=(span <= within_ns).sum().cast("int64"),
        shortest_ns=span.min(),
        processes=real.process.nunique().cast("int64"),
        process=real.process.argmax(real.n),
        first_seq=real.seq.argmin(real.n),
        last_seq=real.seq.argmax(real.n),
    )
    found = found.filter(found.bursts > 0)

    return found.select(
        "machine", "base", "length", "changes", "bursts", "shortest_ns", "processes", "process",
        "first_seq", "last_seq", "start", "log",
    ).order_by(ibis.desc("changes"), "log", "machine", "start", "base", "length")  # fmt: skip
