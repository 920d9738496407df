"""What was taken from somebody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ibis

from memhub.analysis.columns import MACHINE
from memhub.analysis.table_changes import SETTERS, who_set

if TYPE_CHECKING:
    from memhub.analysis.views import Views

Table = Any


def hijacks(views: Views) -> Table:
    """Claims that were broken, and ranges that another process than their own changed.

    `by` is null where the hub broke the claim itself. A process that has the same name, and leaves
    the owner's label as it was, counts as the same.
    """
    t = views.records
    broken = t.filter((t.event == "claim.break") & t.errno.isnull() & t.start.notnull())
    breaks = broken.select(
        "machine", "base", "length", "time", "seq", "start", "log", "n",
        what=ibis.literal("break"), slot=ibis.null("int64"), victim=broken.process,
        by=broken.holder, owner=ibis.null("string"), reason=broken.reason,
    )  # fmt: skip
    both = ibis.union(breaks, _overwritten(views).select(*breaks.columns))

    return both.select(
        "machine", "what", "victim", "by", "base", "length", "slot", "owner", "seq", "time",
        "reason", "start", "log", "n",
    ).order_by("log", "machine", "start", "n", "slot")  # fmt: skip


def _overwritten(views: Views) -> Table:
    t = views.changes
    by_slot = ibis.window(group_by=(*MACHINE, "slot"), order_by="n")
    setter, setter_id = who_set(t, t.process), who_set(t, t.process_id)
    rows = t.mutate(victim=setter.lag().over(by_slot), victim_id=setter_id.lag().over(by_slot))
    relabelled = rows.before_owner != rows.after_owner
    other = (rows.victim_id != rows.process_id) & ((rows.victim != rows.process) | relabelled)
    same = ibis.literal(True)
    for name in ("base", "length", "flags", "owner"):
        same &= rows[f"before_{name}"] == rows[f"after_{name}"]

    changed = rows.filter(rows.event.isin(SETTERS) & rows.used_before & other & ~same)

    return changed.select(
        "machine", "time", "seq", "start", "log", "n", "slot", "victim",
        what=ibis.ifelse(changed.used_after, "overwrite", "remove"), by=changed.process,
        base=changed.before_base, length=changed.before_length, owner=changed.before_owner,
        reason=ibis.null("string"),
    )  # fmt: skip
