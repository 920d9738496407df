"""What stands in slots at the end, or at a moment: the last change of each slot."""

from __future__ import annotations

from typing import Any

import ibis

from memhub.analysis.columns import MACHINE
from memhub.analysis.table_changes import who_set
from memhub.analysis.views import CONTENT, are_same, changes_of

Table = Any


def standing_ranges(records: Table, *also: str) -> Table:
    """One row for each range that stands in a slot, as in the view `tenures`, of every start.

    It takes a third of the time of that view, which has to know what came before and behind.

    Args:
        records: the records up to the moment, of the starts that are asked about.
        also: further columns of that view, and `mono_ns` of the change; each costs time.
    """
    t = changes_of(records, CONTENT)
    real = t.filter(~are_same(t))
    values = {
        "base": real.after_base, "length": real.after_length, "flags": real.after_flags,
        "owner": real.after_owner, "used": real.used_after,
    }  # fmt: skip
    further = {
        "process": who_set(real, real.process), "process_id": who_set(real, real.process_id),
        "arch": real.arch, "since_n": real.n, "since_seq": real.seq, "mono_ns": real.mono_ns,
    }  # fmt: skip
    values |= {name: further[name] for name in also}
    last = real.group_by(*MACHINE, "slot").agg(it=ibis.struct(values).argmax(real.n))
    rows = last.select(*MACHINE, "slot", **{name: last["it"][name] for name in values})

    return rows.filter(rows.used).drop("used")
