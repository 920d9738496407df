"""The ready-made views over the records: what questions, and people with SQL, start from.

Each is an Ibis expression, so that it runs on every engine that Ibis has. The records of one
machine from its start to its end have the same `log`, `machine` and `start`; processes, claims and
waits have numbers of their own within that.
"""

from __future__ import annotations

import functools
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import ibis

from memhub.abi import MDF_ACTIVE, MDF_BUSY
from memhub.analysis.claim_view import claims_of
from memhub.analysis.columns import MACHINE
from memhub.analysis.table_changes import changes_table, who_set
from memhub.analysis.told_claims import returns_of, told_claims
from memhub.audit.reading.select import NEVER_ACTIVE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: The views.
NAMES: Final = (
    "records", "requests", "changes", "tenures", "holdings", "claims", "waits", "ends",
)  # fmt: skip

#: The parts of a range.
CONTENT: Final = ("base", "length", "flags", "owner")

#: Events that are the answer to a request.
_CLAIM_REQUESTS: Final = ("claim.take", "claim.renew", "claim.release", "claim.wait")

#: `mr_flags` without MDF_BUSY.
_NOT_BUSY: Final = ~MDF_BUSY & 0x7FFFFFFF

Table = Any
Column = Any


def _view(make: Callable[[Views], Table]) -> cached_property[Table]:
    """A view that is made at its first use, and may be kept by the engine under its name."""

    @functools.wraps(make)
    def build(views: Views) -> Table:
        return views.keep(make.__name__, make(views))

    return cached_property(build)


def _keep_nothing(_name: str, expr: Table) -> Table:
    return expr


class Views:
    """The views over one table of records.

    Args:
        records: an Ibis table with the columns of `memhub.analysis.columns`.
        keep: makes a view of the engine of an expression, so that it is compiled once; it takes
            a name and the expression and returns what stands for it.
    """

    def __init__(self, records: Table, keep: Callable[[str, Table], Table] = _keep_nothing) -> None:
        self.records = records
        self.keep = keep

    def all(self) -> dict[str, Table]:
        """Each view by its name."""
        return {name: getattr(self, name) for name in NAMES}

    @_view
    def requests(self) -> Table:
        """One row for each request that a process made, with its answer."""
        t = self.records
        asked = t.event.startswith("request.") | (
            t.event.isin(_CLAIM_REQUESTS) & t.cause.isin(("request", "fence"))
        )

        return t.filter(asked).select(
            *MACHINE, "run", "n", "seq", "time", "wall_ns", "mono_ns", "event", "op", "process",
            "process_id", "pid", "uid", "handle", "device", "owner", "base", "length", "flags",
            "errno", "reason", "holder", "holder_id", "duration_ns", "generation", "fence",
        )  # fmt: skip

    @_view
    def changes(self) -> Table:
        """One row for each slot that a record changed; a start of a machine has all its slots."""
        return changes_of(self.records, CONTENT)

    @_view
    def ends(self) -> Table:
        """Until when each start of a machine is known: its end, or the last record of its hub."""
        t = self.records
        hub = t.filter(~t.event.startswith("log."))
        runs = hub.group_by("log", "run").agg(
            run_mono_ns=hub.mono_ns.max(), run_wall_ns=hub.wall_ns.max(), run_n=hub.n.max()
        )
        found = t.filter(t.start.notnull())
        gone = found.event == "device.detach"
        starts = found.group_by(*MACHINE).agg(
            run=found.run.max(),
            gone_mono_ns=found.mono_ns.max(where=gone),
            gone_wall_ns=found.wall_ns.max(where=gone),
            gone_n=found.n.max(where=gone),
        )
        both = starts.join(runs, ["log", "run"])

        return both.select(
            *MACHINE,
            detached=both.gone_n.notnull(),
            end_n=both.gone_n.fill_null(both.run_n),
            end_mono_ns=both.gone_mono_ns.fill_null(both.run_mono_ns),
            end_wall_ns=both.gone_wall_ns.fill_null(both.run_wall_ns),
        )

    @_view
    def tenures(self) -> Table:
        """One row for each range that stood in a slot: who set it, from when to when.

        `until_n` is null for what stood there at the end; `held_ns` counts up to the end then.
        What the firmware left and what an undo put back has no process.
        """
        t = self.changes
        real = t.filter(~are_same(t))
        by_slot = ibis.window(group_by=(*MACHINE, "slot"), order_by="n")
        after = {
            "until_n": real.n.lead(),
            "until_seq": real.seq.lead(),
            "until_ns": real.wall_ns.lead(),
            "until_mono_ns": real.mono_ns.lead(),
            "ended_by": real.process.lead(),
            "ended_by_id": real.process_id.lead(),
            "ended_op": ibis.coalesce(real["op"], real.event).lead(),
        }
        rows = real.mutate(**{name: it.over(by_slot) for name, it in after.items()})
        rows = rows.filter(rows.used_after)
        rows = rows.join(self.ends, MACHINE)
        until = rows.until_mono_ns.fill_null(rows.end_mono_ns)

        return rows.select(
            *MACHINE, "slot",
            base=rows.after_base, length=rows.after_length, flags=rows.after_flags,
            owner=rows.after_owner,
            process=who_set(rows, rows.process), process_id=who_set(rows, rows.process_id),
            event=rows.event, arch=rows.arch,
            since_n=rows.n, since_seq=rows.seq, since_ns=rows.wall_ns,
            until_n=rows.until_n, until_seq=rows.until_seq, until_ns=rows.until_ns,
            ended_by=rows.ended_by, ended_by_id=rows.ended_by_id, ended_op=rows.ended_op,
            held_ns=_span(rows.mono_ns, until),
        )  # fmt: skip

    @_view
    def holdings(self) -> Table:
        """One row for each slot that a process held by a claim: from when to when, and its end."""
        events = slot_events(self.records)
        by_slot = ibis.window(group_by=(*MACHINE, "slot"), order_by=("n", "takes"))
        events = events.mutate(
            again=(events.takes.lag() & (events.fence.lag() == events.fence)).over(by_slot)
        )
        events = events.filter(~(events.takes & events.again.fill_null(False)))
        after = ("n", "seq", "wall_ns", "mono_ns", "how")
        rows = events.mutate(**{f"until_{it}": events[it].lead().over(by_slot) for it in after})
        rows = rows.filter(rows.takes).join(self.ends, MACHINE)

        return rows.select(
            *MACHINE, "slot", "fence", "process", "process_id",
            since_n=rows.n, since_seq=rows.seq, since_ns=rows.wall_ns,
            until_n=rows.until_n, until_seq=rows.until_seq, until_ns=rows.until_wall_ns,
            until_mono_ns=rows.until_mono_ns, how=rows.until_how, kind=rows.kind,
            held_ns=_span(rows.mono_ns, rows.until_mono_ns.fill_null(rows.end_mono_ns)),
        )  # fmt: skip

    @_view
    def waits(self) -> Table:
        """One row for each wait: who waited, for what, because of whom, how it ended."""
        t = self.records
        begun = t.filter(t.event == "wait.begin")
        begun = begun.select(
            *MACHINE, "wait", "process", "process_id", "op", "owner", "base", "length", "reason",
            "expires_ns", begin_holder=begun.holder, begin_holder_id=begun.holder_id,
            begin_n=begun.n, begin_seq=begun.seq, begin_ns=begun.wall_ns,
            begin_mono_ns=begun.mono_ns,
        )  # fmt: skip
        ended = t.filter(t.event == "wait.end")
        ended = ended.select(
            *MACHINE, "wait", "cause", "errno", end_holder=ended.holder,
            end_holder_id=ended.holder_id, end_n=ended.n, end_seq=ended.seq, end_ns=ended.wall_ns,
            took_ns=ended.duration_ns,
        )  # fmt: skip
        both = begun.left_join(ended, [*MACHINE, "wait"])
        both = both.drop(*[it for it in both.columns if it.endswith("_right")])
        both = both.left_join(self.ends, MACHINE)
        lasted = _span(both.begin_mono_ns, both.end_mono_ns)

        return both.select(
            *MACHINE, "wait", "process", "process_id", "op", "owner", "base", "length", "reason",
            "expires_ns", "begin_n", "begin_seq", "begin_ns", "end_n", "end_seq", "end_ns",
            "errno",
            cause=both.cause.fill_null("waiting"),
            holder=ibis.coalesce(both.end_holder, both.begin_holder),
            holder_id=ibis.coalesce(both.end_holder_id, both.begin_holder_id),
            waited_ns=both.took_ns.fill_null(lasted),
        )  # fmt: skip

    @_view
    def claims(self) -> Table:
        """One row for each claim: who held which bytes, from when to when, and how it ended."""
        return claims_of(self.records, self.holdings, self.ends)


def changes_of(records: Table, content: Sequence[str]) -> Table:
    """The view `changes` with some of a range's parts; each that is left out saves time.

    Args:
        records: the records.
        content: names of CONTENT; `length` and `flags` are always needed.
    """
    who = ["n", "seq", "time", "wall_ns", "mono_ns", "event", "begins", "op", "arch", "process",
           "process_id"]  # fmt: skip
    before, after = ([f"{side}_{name}" for name in content] for side in ("before", "after"))
    # one pass: each further one reads all the lists again
    t = records.filter(changes_table(records) | records.begins)
    # a table that begins or comes back had none before; too short a list goes on with nulls
    none = {name: ibis.literal([], type=t[name].type()) for name in before}
    t = t.mutate(
        **{name: ibis.ifelse(t.begins, it, t[name].coalesce(it)) for name, it in none.items()}
    )
    both = _rows(t, [*MACHINE, *who], ["slots", *before, *after])

    return both.mutate(
        before_flags=both.before_flags & _NOT_BUSY,
        after_flags=both.after_flags & _NOT_BUSY,
        used_before=_is_used(both, "before"),
        used_after=_is_used(both, "after"),
    )


def _rows(table: Table, keep: list[str], lists: list[str]) -> Table:
    """One row for each item of some parallel lists; the first becomes `slot`."""
    first, *rest = (table[name] for name in lists)
    zipped = table.select(*keep, item=first.zip(*rest).unnest())
    fields = {name: zipped.item[f"f{place}"] for place, name in enumerate(lists, 1)}

    return zipped.select(*keep, slot=fields.pop("slots"), **fields)


def slot_events(records: Table) -> Table:
    """One row for each slot that a record claims for a process, or frees; `takes` tells which."""
    t = records
    done = t.filter(t.errno.isnull() & t.start.notnull())
    by_set = done.event == "request.set"
    taken = _slot_events(done.filter(by_set), "claimed", True)
    asked = _slot_events(done.filter(done.event == "claim.take"), "slots", True)
    removed = _slot_events(done.filter(by_set), "released", False)
    ended = _slot_events(
        done.filter(done.event.isin(("claim.release", "claim.expire", "claim.break"))),
        "slots",
        False,
    )
    undone = done.filter(done.event == "undo")
    undone = undone.mutate(slots=ibis.coalesce(undone.written, undone.slots))
    back = _slot_events(returns_of(t), "slots", False)

    return ibis.union(
        taken, asked, removed, ended, _slot_events(undone, "slots", False), back, _told_slots(t)
    )


def _slot_events(table: Table, name: str, takes: bool) -> Table:
    """One row for each slot that a record claims or frees."""
    how = ibis.ifelse(
        table.event == "request.set",
        "remove",
        ibis.coalesce(table.cause, table.event.re_replace("^claim[.]", "")),
    )
    kind = ibis.ifelse(table.event == "claim.take", "range", "update")

    return table.select(
        *MACHINE, "n", "seq", "wall_ns", "mono_ns", "process", "process_id", "fence",
        slot=table[name].unnest(), takes=ibis.literal(takes), how=how, kind=kind,
    )  # fmt: skip


def _told_slots(records: Table) -> Table:
    """One row for each slot of a claim that no record of its own takes."""
    rows = told_claims(records)

    return rows.select(
        *MACHINE, "n", "seq", "wall_ns", "mono_ns", "process", "process_id", "fence",
        slot=rows.slots.unnest(), takes=ibis.literal(True), how=ibis.null("string"),
        kind=rows.kind,
    )  # fmt: skip


def _is_used(table: Table, side: str) -> Column:
    """Whether a slot holds a range; where no slot has MDF_ACTIVE, its length tells."""
    active = (table[f"{side}_flags"] & MDF_ACTIVE) != 0
    long = table.arch.isin(NEVER_ACTIVE) & (table[f"{side}_length"] > 0)

    return (active | long).fill_null(False)


def are_same(changes: Table) -> Column:
    """Whether a slot was written again with the range that it had."""
    equal = ~changes.begins
    for name in CONTENT:
        equal &= changes[f"before_{name}"] == changes[f"after_{name}"]

    return equal.fill_null(False)


def _span(since: Column, until: Column) -> Column:
    """Nanoseconds between two moments, never below zero."""
    return ibis.greatest(until - since, 0)
