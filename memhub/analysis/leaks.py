"""What was not given back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import ibis

from memhub.analysis.columns import MACHINE
from memhub.analysis.standing import standing_ranges

if TYPE_CHECKING:
    from memhub.analysis.views import Views

Table = Any

#: How a claim may end that its process did not give back.
_NOT_GIVEN_BACK: Final = ("disconnect", "cancelled", "error", "garbage", "expire")


def leaks(views: Views) -> Table:
    """Claims that were not given back, and ranges whose process has gone.

    `how` is `disconnect`, `cancelled`, `error`, `garbage` or `expire` for a claim that ended so,
    `held` for one that was held at the end, and `left` for a range that stays programmed though
    its process has closed its last handle.
    """
    t = views.claims
    gone = t.filter(t.until_n.isnull() | t.how.isin(_NOT_GIVEN_BACK))
    lost = gone.select(
        "machine", "process", "base", "length", "held_ns", "fence", "since_seq", "until_seq",
        "start", "log", "since_n", how=gone.how.fill_null("held"),
        slot=ibis.null("int64"), owner=ibis.null("string"),
    )  # fmt: skip
    left = _left_behind(views)
    both = ibis.union(lost, left.select(*lost.columns))

    return both.select(
        "machine", "how", "process", "owner", "base", "length", "slot", "fence", "held_ns",
        "since_seq", "until_seq", "start", "log", "since_n",
    ).order_by("log", "machine", "start", "since_n", "how", "slot", "fence")  # fmt: skip


def _left_behind(views: Views) -> Table:
    """Ranges that stand in a slot at the end though their process has no handle any more."""
    t = views.requests
    done = t.filter(t.errno.isnull() & t.start.notnull())
    opened = (done.event == "request.open").cast("int64")
    closed = (done.event == "request.close").cast("int64")
    who = [*MACHINE, "process_id"]
    t = views.records
    told = t.filter(t.held_files.notnull() & t.start.notnull())
    both = ibis.union(
        done.select(*who, opened=opened, closed=closed),
        told.select(
            *MACHINE, process_id=told.held_files.unnest(),
            opened=ibis.literal(1, type="int64"), closed=ibis.literal(0, type="int64"),
        ),
    )  # fmt: skip
    files = both.group_by(*who).agg(
        open=(both.opened.sum() - both.closed.sum()).cast("int64"),
        opens=both.opened.sum().cast("int64"),
    )
    gone = files.filter((files.open <= 0) & (files.opens > 0))
    rows = standing_ranges(views).semi_join(gone, who).join(views.ends, list(MACHINE))

    return rows.mutate(
        held_ns=ibis.greatest(rows.end_mono_ns - rows.mono_ns, 0),
        how=ibis.literal("left"),
        fence=ibis.null(views.records.fence.type()),
        until_seq=ibis.null("int64"),
    )
