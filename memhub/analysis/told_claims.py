"""Claims that a machine begins with, or that came back as it went back to a snapshot.

No record takes such a claim: the records behind the machine's table tell it. A claim may so have
several lives, which are counted: one since it was taken, and one since each such record.
"""

from __future__ import annotations

from typing import Any, Final

from memhub.analysis.columns import MACHINE

Table = Any

#: What a claim is known by, without its life.
CLAIM: Final = (*MACHINE, "fence")


def told_claims(records: Table) -> Table:
    """One row for each such claim, with the place and time of the record with the table."""
    t = records.filter(records.held_claims.notnull() & records.start.notnull())
    rows = t.select(
        *MACHINE, "wall_ns", "mono_ns", n=t.held_n, seq=t.seq - t.n + t.held_n,
        item=t.held_claims.unnest(),
    )  # fmt: skip
    names = ("fence", "kind", "process", "process_id", "base", "length", "expires_ns", "slots")
    parts = {name: rows["item"][name] for name in names}

    return rows.select(*MACHINE, "n", "seq", "wall_ns", "mono_ns", **parts)


def returns_of(records: Table) -> Table:
    """The records with which machines went back."""
    t = records

    return t.filter((t.event == "device.restore") & t.start.notnull() & ~t.begins)


def with_life(rows: Table, told: Table) -> Table:
    """Add `life`: how many of the records that tell a claim are not behind a row.

    Args:
        rows: with the columns of CLAIM, and `n`.
        told: the claims that are told; few, so that this costs little.
    """
    heads = told.group_by(*CLAIM).agg(heads=told.n.collect())
    both = rows.left_join(heads, list(CLAIM))
    both = both.drop(*[name for name in both.columns if name.endswith("_right")])
    n = both.n
    passed = both.heads.filter(lambda head: head <= n).length()

    return both.mutate(life=passed.fill_null(0).cast("int64")).drop("heads")
