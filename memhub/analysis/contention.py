"""Who was in whose way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import ibis

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
    waits = views.waits
    ended = {
        name: (waits.cause == cause).cast("int64")
        for name, cause in (
            ("granted", "granted"),
            ("timed_out", "timeout"),
            ("deadlocks", "deadlock"),
        )
    }
    waited = waits.select(
        "log", "machine", "process", "holder", n=waits.begin_n, seq=waits.begin_seq,
        refused=none, waited=one, **ended, wait_ns=waits.waited_ns,
    )  # fmt: skip
    both = ibis.union(rows, waited)
    names = ("refused", "waited", "granted", "timed_out", "deadlocks", "wait_ns")
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
