"""Slots that could be saved: ranges that another makes superfluous, or that two could be one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import ibis

from memhub.abi import MDF_ATTRMASK, MDF_FIXACTIVE, MDF_FIXBASE, MDF_FIXLEN, MDF_UNCACHEABLE
from memhub.analysis.columns import MACHINE
from memhub.analysis.ranges import last_byte
from memhub.analysis.standing import standing_ranges

if TYPE_CHECKING:
    from memhub.analysis.views import Views

Table = Any
Column = Any

_FIXED: Final = MDF_FIXBASE | MDF_FIXLEN | MDF_FIXACTIVE

#: Architectures whose ranges are MTRRs: uncacheable wins over what it overlaps.
_MTRRS: Final = ("i386", "amd64-mtrr")

#: Lengths of which two that lie one behind the other can be one range.
_POWERS: Final = tuple(1 << bit for bit in range(12, 63))


def wasted_slots(views: Views, *, at_n: int | None = None, at_ns: int | None = None) -> Table:
    """Slots whose range could go without changing a type, at the end or at a moment.

    `why` is `duplicate` (another slot has the same range and type), `shadowed` (its bytes lie in
    another range of the same type, or in an uncacheable one of MTRRs), or `mergeable` (it and the
    range behind it have one type and could be one range). Fixed ranges are never wasted.

    Args:
        views: the views.
        at_n: the record after which, by its place in the log.
        at_ns: the moment, wall clock in nanoseconds.
    """
    live = _live(views, at_n, at_ns)
    live = live.mutate(last=last_byte(live), type=live.flags & MDF_ATTRMASK)
    pairs = _pairs(live)
    pairs = pairs.filter(((pairs.flags & _FIXED) == 0) & (pairs.slot != pairs.other_slot))
    same_range = (pairs.base == pairs.other_base) & (pairs.length == pairs.other_length)
    same_type = pairs.type == pairs.other_type
    inside = (pairs.other_base <= pairs.base) & (pairs.last <= pairs.other_last)
    uncacheable = pairs.arch.isin(_MTRRS) & (pairs.other_type == MDF_UNCACHEABLE)
    why = ibis.cases(
        (same_range & same_type & (pairs.slot > pairs.other_slot), "duplicate"),
        (inside & ~same_range & (same_type | uncacheable), "shadowed"),
        (_mergeable(pairs) & same_type, "mergeable"),
        else_=ibis.null("string"),
    )
    found = pairs.mutate(why=why)
    found = found.filter(found.why.notnull())

    return found.select(
        "machine", "why", "slot", "base", "length", "owner", "other_slot", "other_base",
        "other_length", "other_owner", "since_seq", "process", "start", "log",
    ).order_by("log", "machine", "slot", "other_slot")  # fmt: skip


def _live(views: Views, at_n: int | None, at_ns: int | None) -> Table:
    """What stood in the slots of each machine's latest start at a moment."""
    t = views.records
    if at_n is not None:
        t = t.filter(t.n <= at_n)
    elif at_ns is not None:
        t = t.filter(t.wall_ns <= at_ns)

    # one that found every slot empty has no range
    latest = t.filter(t.begins).group_by("log", "machine").agg(start=lambda it: it.start.max())

    rows = t.semi_join(latest, list(MACHINE))

    return standing_ranges(rows, "process", "arch", "since_seq")


def _pairs(live: Table) -> Table:
    """Each range beside each of its machine; a join would make an engine find them twice."""
    names = ("slot", "base", "length", "last", "type", "owner")
    values = {name: live[name] for name in (*names, "flags", "arch", "since_seq", "process")}
    t = live.group_by(*MACHINE).agg(ranges=ibis.struct(values).collect())
    t = t.select(*MACHINE, "ranges", one=t.ranges.unnest())
    t = t.select(*MACHINE, "one", other=t.ranges.unnest())
    others = {f"other_{name}": t.other[name] for name in names}

    return t.select(*MACHINE, **{name: t.one[name] for name in values}, **others)


def _mergeable(pairs: Table) -> Column:
    """Whether the second range lies right behind the first and both make one of twice the size."""
    after = ibis.greatest(pairs.other_base, ibis.literal(1, type="uint64"))
    before = after - ibis.literal(1, type="uint64")
    behind = (pairs.last < pairs.other_base) & (pairs.last == before)
    alike = (pairs.length == pairs.other_length) & pairs.length.isin(_POWERS)
    # twice a length may be beyond 64 bits
    one = ibis.greatest(pairs.length, ibis.literal(1, type="uint64")).cast("decimal(20, 0)")
    aligned = pairs.base.cast("decimal(20, 0)") % (one + one) == 0

    return behind & alike & aligned
