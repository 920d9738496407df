"""What was not given back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import ibis

from memhub.analysis.claim_view import KEY, ended_by_name, ended_by_release, taken_claims
from memhub.analysis.columns import MACHINE
from memhub.analysis.standing import standing_ranges
from memhub.analysis.told_claims import told_claims, with_life
from memhub.analysis.views import slot_events

if TYPE_CHECKING:
    from memhub.analysis.views import Views

Table = Any
Column = Any

#: How a claim may end that its process did not give back.
_NOT_GIVEN_BACK: Final = ("disconnect", "cancelled", "error", "garbage", "expire")


def leaks(views: Views) -> Table:
    """Claims that were not given back, and ranges whose process has gone.

    `how` is `disconnect`, `cancelled`, `error`, `garbage` or `expire` for a claim that ended so,
    `held` for one that was held at the end, and `left` for a range that stays programmed though
    its process has closed its last handle.
    """
    lost = ibis.union(_lost(views), _held(views))
    left = _left_behind(views)
    both = ibis.union(lost, left.select(*lost.columns))

    return both.select(
        "machine", "how", "process", "owner", "base", "length", "slot", "fence", "held_ns",
        "since_seq", "until_seq", "start", "log", "since_n",
    ).order_by("log", "machine", "start", "since_n", "how", "slot", "fence")  # fmt: skip


def _claims(rows: Table, how: Column, until_seq: Column, until: Column) -> Table:
    return rows.select(
        "machine", "process", "base", "length", "fence", "since_seq", "start", "log", "since_n",
        how=how, until_seq=until_seq, held_ns=ibis.greatest(until - rows.since_mono_ns, 0),
        slot=ibis.null("int64"), owner=ibis.null("string"),
    )  # fmt: skip


def _lost(views: Views) -> Table:
    """Claims that ended otherwise than by their process."""
    told = told_claims(views.records)
    ended = ended_by_name(views.records, told)
    ended = ended.filter(ended.named_how.isin(_NOT_GIVEN_BACK))
    rows = taken_claims(views.records, told).inner_join(ended, list(KEY))

    return _claims(rows, rows.named_how, rows.named_seq, rows.named_mono_ns)


def _held(views: Views) -> Table:
    """Claims that were held at the end: no later record ends them or frees their last slot."""
    t = views.records
    told = told_claims(t)
    taken, ended = taken_claims(t, told), ended_by_name(t, told)
    goes_on = with_life(told, told).mutate(life=lambda it: it.life - 1)
    open_ = taken.anti_join(ended, list(KEY)).anti_join(goes_on, list(KEY))
    events = slot_events(t)
    last = events.group_by(*MACHINE, "slot").agg(
        it=ibis.struct({"fence": events.fence, "n": events.n, "takes": events.takes}).argmax(
            events.n * 2 + events.takes.cast("int64")
        )
    )
    last = last.select(
        *MACHINE, fence=last["it"]["fence"], n=last["it"]["n"], on=last["it"]["takes"]
    )
    slots = with_life(last.filter(last.on), told)
    released = ended_by_release(t, taken, ended)
    rows = ibis.union(
        open_.filter(open_.kind == "update").semi_join(slots, list(KEY)),
        open_.filter(open_.kind == "range").anti_join(released, list(KEY)),
    ).join(views.ends, list(MACHINE))

    return _claims(rows, ibis.literal("held"), ibis.null("int64"), rows.end_mono_ns)


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
    also = ("process", "process_id", "since_n", "since_seq", "mono_ns")
    rows = standing_ranges(views.records, *also).semi_join(gone, who)
    rows = rows.join(views.ends, list(MACHINE))

    return rows.mutate(
        held_ns=ibis.greatest(rows.end_mono_ns - rows.mono_ns, 0),
        how=ibis.literal("left"),
        fence=ibis.null(views.records.fence.type()),
        until_seq=ibis.null("int64"),
    )
