"""Who was in whose way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import ibis

from memhub.analysis.columns import MACHINE

if TYPE_CHECKING:
    from memhub.analysis.views import Views

Table = Any

#: Answers that say that somebody else is in the way.
_BUSY: Final = ("EBUSY", "EDEADLK", "ETIMEDOUT")


def contention(views: Views) -> Table:
    """Who was refused or waited because of whom: how often, and how long.

    A wait that timed out is one refusal, that of its request.
    """
    refused = views.requests
    refused = refused.filter(refused.errno.isin(_BUSY) & refused.start.notnull())
    none = ibis.literal(0, type="int64")
    one = ibis.literal(1, type="int64")
    rows = refused.select(
        "log", "machine", "process", "holder", "n", "seq",
        refused=one, waited=none, granted=none, timed_out=none, deadlocks=none, wait_ns=none,
    )  # fmt: skip
    names = ("refused", "waited", "granted", "timed_out", "deadlocks", "wait_ns")
    both = ibis.union(rows, _ended(views).select(*rows.columns), _open(views).select(*rows.columns))
    found = both.group_by("machine", "process", "holder", "log").agg(
        **{name: both[name].sum().cast("int64") for name in names},
        longest_ns=both.wait_ns.max(),
        last_seq=both.seq.argmax(both.n),
    )

    return found.select(
        "machine", "process", "holder", "refused", "waited", "granted", "timed_out", "deadlocks",
        "wait_ns", "longest_ns", "last_seq", "log",
    ).order_by(
        ibis.desc("wait_ns"), ibis.desc("refused"), "log", "machine", "process", "holder"
    )  # fmt: skip


def _ended(views: Views) -> Table:
    """Waits that ended; the record of the end has all that is asked for."""
    t = views.records
    ended = t.filter((t.event == "wait.end") & t.start.notnull())
    ways = {"granted": "granted", "timed_out": "timeout", "deadlocks": "deadlock"}

    return ended.mutate(
        refused=ibis.literal(0, type="int64"),
        waited=ibis.literal(1, type="int64"),
        wait_ns=ended.duration_ns,
        **{name: (ended.cause == cause).cast("int64") for name, cause in ways.items()},
    )


def _open(views: Views) -> Table:
    """Waits that had not ended at the end of the log."""
    t = views.records
    key = [*MACHINE, "wait"]
    begun = t.filter((t.event == "wait.begin") & t.start.notnull())
    open_ = begun.anti_join(t.filter(t.event == "wait.end"), key).join(views.ends, list(MACHINE))
    none = ibis.literal(0, type="int64")

    return open_.mutate(
        refused=none, waited=ibis.literal(1, type="int64"), granted=none, timed_out=none,
        deadlocks=none, wait_ns=ibis.greatest(open_.end_mono_ns - open_.mono_ns, 0),
    )  # fmt: skip
