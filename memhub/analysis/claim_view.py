"""The view `claims`: which bytes a process held, from when to when, and how that ended.

A claim that an UPDATE took ends with the last of its slots. A claim of addresses ends with a
record that names its fence, or with a release of all its bytes by its process. The record of a
release names the oldest claim that it ended; others are found by their bytes. A claim that a
machine had as it went back to a snapshot begins anew there.
"""

from __future__ import annotations

from typing import Any, Final

import ibis

from memhub.analysis.columns import MACHINE
from memhub.analysis.ranges import last_byte
from memhub.analysis.told_claims import CLAIM, returns_of, told_claims, with_life

Table = Any

#: What a life of a claim is known by.
KEY: Final = (*CLAIM, "life")


def claims_of(records: Table, holdings: Table, ends: Table) -> Table:
    """The view, of three others."""
    told = told_claims(records)
    taken = taken_claims(records, told)
    named = ended_by_name(records, told)
    rows = _joined(taken, named, KEY)
    rows = _joined(rows, _ended_with_slots(holdings, told), KEY)
    rows = _joined(rows, ended_by_release(records, taken, named), KEY)
    lost = ibis.ifelse(rows.kind == "update", rows.slots_n, rows.release_n)
    rows = rows.mutate(until_n=ibis.coalesce(rows.named_n, lost))
    by_name = rows.named_n.notnull()
    by_slots = rows.kind == "update"
    until = {
        name: ibis.ifelse(
            by_name,
            rows[f"named_{name}"],
            ibis.ifelse(by_slots, rows[f"slots_{name}"], rows[f"release_{name}"]),
        )
        for name in ("seq", "wall_ns", "mono_ns", "how")
    }
    rows = rows.mutate(**{f"until_{name}": it for name, it in until.items()})
    rows = _ended_by_return(rows, told, records).join(ends, MACHINE)
    ended_ns = rows.until_mono_ns.fill_null(rows.end_mono_ns)

    return rows.select(
        *CLAIM, "kind", "process", "process_id", "base", "length", "since_n", "since_seq",
        "since_ns", "expires_ns", "until_n", "until_seq", until_ns=rows.until_wall_ns,
        how=rows.until_how, by=rows.named_by,
        held_ns=ibis.greatest(ended_ns - rows.since_mono_ns, 0),
    )  # fmt: skip


def _joined(left: Table, right: Table, key: tuple[str, ...]) -> Table:
    rows = left.left_join(right, list(key))

    return rows.drop(*[name for name in rows.columns if name.endswith("_right")])


def taken_claims(t: Table, told: Table) -> Table:
    """One row for each life of each claim: what was claimed, by whom, since when."""
    done = t.filter(t.errno.isnull() & t.start.notnull() & t.fence.notnull())
    by_set = (done.event == "request.set") & (done.claimed.length() > 0)
    rows = done.filter(by_set | (done.event == "claim.take"))
    kind = ibis.ifelse(rows.event == "claim.take", "range", "update")
    names = [*CLAIM, "n", "seq", "wall_ns", "mono_ns", "process", "process_id", "base", "length",
             "expires_ns", "kind"]  # fmt: skip
    rows = ibis.union(rows.mutate(kind=kind).select(*names), told.select(*names))
    rows = with_life(rows, told)
    again = rows.n.rank().over(ibis.window(group_by=KEY, order_by="n"))
    rows = rows.mutate(again=again).filter(lambda it: it.again == 0)

    return rows.select(
        *KEY, "process", "process_id", "base", "length", "expires_ns", "kind",
        since_n=rows.n, since_seq=rows.seq, since_ns=rows.wall_ns, since_mono_ns=rows.mono_ns,
    )  # fmt: skip


def ended_by_name(t: Table, told: Table) -> Table:
    """Ends of claims whose records name them: all but releases that were asked for."""
    lost = t.event.isin(("claim.expire", "claim.break"))
    released = (t.event == "claim.release") & t.cause.notin(("request", "fence"))
    ended = t.filter((lost | released) & t.errno.isnull() & t.start.notnull())
    ended = with_life(
        ended.select(*CLAIM, "n", "seq", "wall_ns", "mono_ns", "cause", "holder"), told
    )

    return ended.select(
        *KEY, named_n=ended.n, named_seq=ended.seq, named_wall_ns=ended.wall_ns,
        named_mono_ns=ended.mono_ns, named_how=ended.cause, named_by=ended.holder,
    )  # fmt: skip


def _ended_with_slots(held: Table, told: Table) -> Table:
    """The end of each claim's last slot, where all have ended."""
    held = with_life(held.mutate(n=held.since_n), told)
    found = held.group_by(*KEY).agg(
        left=held.until_n.isnull().sum(),
        slots_n=held.until_n.max(),
        slots_seq=held.until_seq.argmax(held.until_n),
        slots_wall_ns=held.until_ns.argmax(held.until_n),
        slots_mono_ns=held.until_mono_ns.argmax(held.until_n),
        slots_how=held.how.argmax(held.until_n),
    )

    return found.filter(found.left == 0).drop("left")


def _ended_by_return(rows: Table, told: Table, records: Table) -> Table:
    """End what goes on in another life as the machine went back, where it had not ended before."""
    lives = with_life(told, told)
    causes = returns_of(records).select(*MACHINE, "n", "cause")
    lives = lives.join(causes, [*MACHINE, "n"])
    following = lives.select(
        *CLAIM, life=lives.life - 1, back_n=lives.n, back_seq=lives.seq,
        back_wall_ns=lives.wall_ns, back_mono_ns=lives.mono_ns, back_how=lives.cause,
    )  # fmt: skip
    both = _joined(rows, following, KEY)
    cut = both.back_n.notnull() & (both.until_n.isnull() | (both.until_n >= both.back_n))
    ends = {
        f"until_{name}": ibis.ifelse(cut, both[f"back_{name}"], both[f"until_{name}"])
        for name in ("n", "seq", "wall_ns", "mono_ns", "how")
    }
    by = ibis.ifelse(cut, ibis.null("string"), both.named_by)

    return both.mutate(**ends, named_by=by)


def ended_by_release(t: Table, taken: Table, named: Table) -> Table:
    """The first release of all bytes of a claim of addresses by its process.

    One with the cause `fence` ended the claim of its own fence, and no other.
    """
    asked = (t.event == "claim.release") & t.cause.isin(("request", "fence")) & t.errno.isnull()
    done = t.filter(asked & t.start.notnull())
    done = done.select(
        *MACHINE, "process_id", release_n=done.n, release_seq=done.seq,
        release_wall_ns=done.wall_ns, release_mono_ns=done.mono_ns, release_how=done.cause,
        release_base=done.base, release_last=last_byte(done), release_fence=done.fence,
    )  # fmt: skip
    rows = taken.filter(taken.kind == "range").anti_join(named, list(KEY))
    rows = rows.mutate(last=last_byte(rows))
    both = rows.inner_join(
        done,
        [
            *(rows[name] == done[name] for name in (*MACHINE, "process_id")),
            rows.since_n < done.release_n,
            done.release_base <= rows.base,
            rows.last <= done.release_last,
            (done.release_how == "request") | (done.release_fence == rows.fence),
        ],
    )
    first = both.release_n.min()
    names = ("release_seq", "release_wall_ns", "release_mono_ns", "release_how")

    return both.group_by(*KEY).agg(
        release_n=first, **{name: both[name].argmin(both.release_n) for name in names}
    )
