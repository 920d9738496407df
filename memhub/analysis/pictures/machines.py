"""The machines of a log, and the slots that have a row of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import ibis

from memhub.analysis.table_changes import RETURNS, SETTERS, changes_table
from memhub.escape import escape_controls

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from memhub.analysis.pictures.shares import Machine as MachineKey
    from memhub.analysis.views import Views

Table = Any


class Machine(NamedTuple):
    """One machine of a log.

    Attributes:
        log: the identity of its log.
        name: its name.
        label: the name as it is shown, with the log where there are several.
        arch: its architecture.
        records: how many are about it.
        changes: how many of them changed its table.
        refused: how many of them are refused requests.
    """

    log: str
    name: str
    label: str
    arch: str
    records: int
    changes: int
    refused: int

    @property
    def key(self) -> MachineKey:
        """What its rows are found by."""
        return self.log, self.name


class Rows(NamedTuple):
    """Which slots of a machine have a row: `own`; share one: `further`; never change: `still`."""

    own: tuple[int, ...]
    further: tuple[int, ...]
    still: tuple[int, ...]


def find_machines(views: Views) -> list[Machine]:
    """The machines of a log, those with most changes and refusals first."""
    t = views.records
    t = t.filter(t.machine.notnull())
    moved = changes_table(t)
    refused = t.errno.notnull() & (t.event != "wait.end")
    found = t.group_by("log", "machine").agg(
        arch=t.arch.max(), records=t.count(), changes=moved.sum(), refused=refused.sum()
    )
    rows = found.to_pyarrow().to_pylist()
    several = len({row["log"] for row in rows}) > 1
    made = [
        Machine(
            row["log"],
            row["machine"],
            escape_controls(f"{row['machine']} of {row['log']}" if several else row["machine"]),
            row["arch"] or "",
            row["records"],
            row["changes"] or 0,
            row["refused"] or 0,
        )
        for row in rows
    ]

    return sorted(made, key=lambda m: (-m.changes - m.refused, -m.records, m.name, m.log))


def find_rows(
    tenures: Table, held: Table, keys: Sequence[MachineKey], most: int
) -> dict[MachineKey, Rows]:
    """The slots of each machine in which a range stood or which were claimed at any time.

    Args:
        tenures: ranges in slots.
        held: slots held by claims.
        keys: the machines.
        most: slots that have a row of their own; those with most changes.
    """
    moved = tenures.event.isin((*SETTERS, *RETURNS)).cast("int64")
    moved += tenures.until_n.notnull().cast("int64")
    both = ibis.union(
        tenures.select("log", "machine", "slot", moves=moved),
        held.select("log", "machine", "slot", moves=ibis.literal(1, type="int64")),
    )
    counts = both.group_by("log", "machine", "slot").agg(moves=both.moves.sum())
    by_machine: dict[MachineKey, list[tuple[int, int]]] = {key: [] for key in keys}
    for row in counts.to_pyarrow().to_pylist():
        key = row["log"], row["machine"]
        if key in by_machine:
            by_machine[key].append((row["slot"], row["moves"]))

    return {key: _sorted_rows(some, most) for key, some in by_machine.items()}


def _sorted_rows(slots: Iterable[tuple[int, int]], most: int) -> Rows:
    in_order = sorted(slots, key=lambda it: (-it[1], it[0]))
    moved = [slot for slot, moves in in_order if moves]
    still = [slot for slot, moves in in_order if not moves]

    return Rows(tuple(sorted(moved[:most])), tuple(sorted(moved[most:])), tuple(sorted(still)))
