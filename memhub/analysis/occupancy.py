"""How many slots were in use, and how long ranges and claims were held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import ibis

from memhub.analysis.columns import MACHINE
from memhub.analysis.views import changes_of

if TYPE_CHECKING:
    from memhub.analysis.views import Views

Table = Any

#: Nanoseconds of a microsecond.
_US: Final = 1000


def over_time(views: Views) -> Table:
    """How many slots of each machine were in use, at every record that changed it."""
    return _steps(views, "seq", "time", "wall_ns").select(
        "machine", "time", "seq", "used", "slots", "start", "log", "wall_ns", "n", "lasted_ns",
    ).order_by("log", "machine", "start", "n")  # fmt: skip


def of_machines(views: Views) -> Table:
    """How many slots each machine has, and how many were in use: least, mean, most, at the end."""
    t = _steps(views)
    t = t.mutate(lasted_us=t.lasted_ns // _US)
    found = t.group_by("machine", "start", "log").agg(
        slots=t.slots.max(),
        least=t.used.min(),
        weighted=(t.used * t.lasted_us).sum().cast("int64"),
        whole=t.lasted_us.sum().cast("int64"),
        most=t.used.max(),
        last=t.used.max(where=t.next_ns.isnull()),
        full_ns=t.lasted_ns.sum(where=t.used == t.slots).fill_null(0).cast("int64"),
        watched_ns=t.lasted_ns.sum().cast("int64"),
        changes=(t.count() - 1).cast("int64"),
    )
    mean = found.weighted.cast("float64") / found.whole.nullif(0)

    return found.select(
        "machine", "slots", "least", "most", "last", "changes", "full_ns", "watched_ns",
        "start", "log", mean=mean.fill_null(found["last"].cast("float64")).round(3),
    ).relocate("mean", after="least").order_by("log", "machine", "start")  # fmt: skip


def _steps(views: Views, *also: str) -> Table:
    """One row for each record that changed slots, in no order; the last has no `next_ns`.

    Args:
        views: the views.
        also: further columns of the records; each costs time.
    """
    t = changes_of(views.records, ("length", "flags"))
    changed = t.used_after.cast("int64") - t.used_before.cast("int64")
    steps = t.group_by(*MACHINE, "n").agg(
        change=changed.sum().cast("int64"),
        count=t.begins.cast("int64").sum().cast("int64"),
        # the same in all rows of a record
        **{name: t[name].max() for name in ("mono_ns", *also)},
    )
    so_far = ibis.cumulative_window(group_by=MACHINE, order_by="n")
    in_order = ibis.window(group_by=MACHINE, order_by="n")
    steps = steps.mutate(
        used=steps.change.sum().over(so_far).cast("int64"),
        slots=steps["count"].max().over(so_far).cast("int64"),
        next_ns=steps.mono_ns.lead().over(in_order),
    ).join(views.ends, MACHINE)
    lasted = steps.next_ns.fill_null(steps.end_mono_ns) - steps.mono_ns

    return steps.mutate(lasted_ns=ibis.greatest(lasted, 0))


def of_owners(views: Views) -> Table:
    """How many ranges carried each owner's label, and for how long."""
    return _sum_held(views.tenures, "owner", "ranges")


def of_processes(views: Views) -> Table:
    """How many slots each process held by claims, and for how long."""
    return _sum_held(views.holdings, "process", "holdings")


def _sum_held(rows: Table, who: str, what: str) -> Table:
    """How many rows each holder has, and how long they lasted.

    Args:
        rows: `tenures` or `holdings`.
        who: the column that names the holder.
        what: what the number of rows is called.
    """
    found = rows.group_by("machine", who, "log").agg(
        **{what: rows.count().cast("int64")},
        held_ns=rows.held_ns.sum().cast("int64"),
        longest_ns=rows.held_ns.max(),
        still=rows.until_n.isnull().sum().cast("int64"),
    )

    return found.select(
        "machine", who, what, "held_ns", "longest_ns", "still", "log"
    ).order_by("log", "machine", ibis.desc("held_ns"), who)  # fmt: skip
