"""What pictures are made of: the machines of a log, and the parts of its views that are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import ibis

from memhub.analysis import occupancy
from memhub.analysis.pictures.limits import Limits
from memhub.analysis.pictures.shares import Share, share
from memhub.analysis.pictures.time_axis import TimeAxis
from memhub.escape import escape_controls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from memhub.analysis import Analysis
    from memhub.analysis.pictures.shares import Machine as MachineKey

Table = Any

#: Events that change a table.
_CHANGES = ("request.set", "undo")


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


class Slot(NamedTuple):
    """A slot of a machine in which a range stood at any time."""

    slot: int
    moves: int


@dataclass(frozen=True, slots=True)
class History:
    """A log as pictures need it. Each mapping has what is drawn of a machine.

    Attributes:
        axis: the time that it covers.
        machines: those that have pictures of their own, in order of their names.
        left_out: the others.
        records: how many there are.
        slots: the slots with their own row, those beyond the limit, and those that never changed.
        tenures: ranges in slots, with `row`: the slot, or -1 beyond the limit.
        still: ranges that never changed.
        busy: slots that a process held by a claim, likewise.
        waits: waits of processes.
        refused: refused requests.
        used: how many slots were in use, step by step.
        requests: every request with its duration.
        lengths: the median and the 99th percentile (`most`) of requests of each operation.
        contention: the answer to the question of that name.
        behind: records behind each pair of the contention.
    """

    axis: TimeAxis
    machines: tuple[Machine, ...]
    left_out: tuple[Machine, ...]
    records: int
    slots: Mapping[MachineKey, Rows]
    tenures: Mapping[MachineKey, Share]
    still: Mapping[MachineKey, Share]
    busy: Mapping[MachineKey, Share]
    waits: Mapping[MachineKey, Share]
    refused: Mapping[MachineKey, Share]
    used: Mapping[MachineKey, Share]
    requests: Mapping[MachineKey, Share]
    lengths: tuple[dict[str, Any], ...]
    contention: tuple[dict[str, Any], ...]
    behind: tuple[dict[str, Any], ...]


class Rows(NamedTuple):
    """Which slots of a machine have a row: `own`; share one: `further`; never change: `still`."""

    own: tuple[int, ...]
    further: tuple[int, ...]
    still: tuple[int, ...]


def read_history(
    log: Analysis, limits: Limits | None = None, machines: Sequence[str] = ()
) -> History:
    """Ask a log for what pictures need.

    Args:
        log: open for questions.
        limits: how much is drawn one by one.
        machines: names of those that are drawn; those with most records if there are none.
    """
    return _Reader(log, limits or Limits()).read(machines)


class _Reader:
    def __init__(self, log: Analysis, limits: Limits) -> None:
        self.log = log
        self.views = log.views
        self.limits = limits
        self.span = (0, 0)

    def read(self, names: Sequence[str]) -> History:
        hub = self.views.records.filter(~self.views.records.event.startswith("log."))
        whole = hub.agg(first=hub.wall_ns.min(), last=hub.wall_ns.max(), count=hub.count())
        (it,) = whole.to_pyarrow().to_pylist()
        self.span = (it["first"] or 0, it["last"] or 0)
        found = self._machines()
        drawn = [m for m in found if m.name in names] if names else found[: self.limits.machines]
        left = tuple(m for m in found if m not in drawn)
        drawn = sorted(drawn, key=lambda m: (m.name, m.log))
        keys = [m.key for m in drawn]
        tenures = self._kept("tenures", self._span_of(self.views.tenures))
        held = self._kept("holdings", self._span_of(self.views.holdings))
        slots = self._slots(tenures, held, keys)

        return History(
            axis=TimeAxis(*self.span),
            machines=tuple(drawn),
            left_out=left,
            records=it["count"],
            slots=slots,
            tenures=self._in_rows(tenures, slots),
            still=self._share(self._only(tenures, {k: it.still for k, it in slots.items()}), []),
            busy=self._in_rows(held, slots),
            waits=self._share(self._waits(keys), []),
            refused=self._share(self._refused(keys), ["errno"], all_or_none=True),
            used=self._used(keys),
            requests=self._share(self._requests(keys), ["op", "failed", "tenth"]),
            lengths=tuple(self._lengths(keys)),
            contention=tuple(self._contention(keys)),
            behind=tuple(self._behind(keys)),
        )

    def _machines(self) -> list[Machine]:
        t = self.views.records
        t = t.filter(t.machine.notnull())
        moved = t.event.isin(_CHANGES) & t.errno.isnull()
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

    def _kept(self, name: str, expr: Table) -> Table:
        """An answer that several questions start from, computed once."""
        name = ibis.util.gen_name(f"drawn_{name}")

        return expr.get_backend().create_table(name, expr, temp=True)

    def _span_of(self, view: Table) -> Table:
        """A view with a moment at which each row ends, and with `n`."""
        ended = self.views.ends.select("log", "machine", "start", "end_wall_ns")
        both = view.join(ended, ["log", "machine", "start"])
        until = both.until_ns.fill_null(both.end_wall_ns)

        return both.mutate(
            n=both.since_n, open=both.until_n.isnull(),
            until_ns=ibis.greatest(until, both.since_ns),
        ).drop("end_wall_ns")  # fmt: skip

    def _slots(
        self, tenures: Table, held: Table, keys: Sequence[MachineKey]
    ) -> dict[MachineKey, Rows]:
        moved = tenures.event.isin(_CHANGES).cast("int64") + tenures.until_n.notnull().cast("int64")
        both = ibis.union(
            tenures.select("log", "machine", "slot", moves=moved),
            held.select("log", "machine", "slot", moves=ibis.literal(1, type="int64")),
        )
        counts = both.group_by("log", "machine", "slot").agg(moves=both.moves.sum())
        by_machine: dict[MachineKey, list[Slot]] = {key: [] for key in keys}
        for row in counts.to_pyarrow().to_pylist():
            key = row["log"], row["machine"]
            if key in by_machine:
                by_machine[key].append(Slot(row["slot"], row["moves"]))

        return {key: self._rows(some) for key, some in by_machine.items()}

    def _rows(self, slots: list[Slot]) -> Rows:
        moved = sorted((it for it in slots if it.moves), key=lambda it: (-it.moves, it.slot))
        own, further = moved[: self.limits.rows], moved[self.limits.rows :]
        still = [it for it in slots if not it.moves]

        return Rows(*(tuple(sorted(it.slot for it in some)) for some in (own, further, still)))

    def _in_rows(self, table: Table, slots: Mapping[MachineKey, Rows]) -> dict[MachineKey, Share]:
        """What stood in slots with a row of their own; the other slots are summed up."""
        own = self._share(self._only(table, {k: it.own for k, it in slots.items()}), ["slot"])
        none = self._share(
            self._only(table, {k: it.further for k, it in slots.items()}), [], nothing=True
        )
        both = {}
        for key in own.keys() | none.keys():
            mine, further = own.get(key, Share()), none.get(key, Share())
            both[key] = Share(mine.rows, (*mine.sums, *({**it, "slot": -1} for it in further.sums)))

        return both

    def _only(self, table: Table, slots: Mapping[MachineKey, Sequence[int]]) -> Table:
        wanted = ibis.literal(False)
        for (log, machine), some in slots.items():
            if some:
                here = (table.log == log) & (table.machine == machine)
                wanted |= here & table.slot.isin(list(some))

        return table.filter(wanted)

    def _share(
        self,
        table: Table,
        groups: Sequence[str],
        *,
        nothing: bool = False,
        all_or_none: bool = False,
    ) -> dict[MachineKey, Share]:
        limits = Limits(marks=0) if nothing else self.limits

        return share(table, groups, self.span, limits, all_or_none=all_or_none)

    def _of(self, table: Table, keys: Sequence[MachineKey]) -> Table:
        wanted = ibis.literal(False)
        for log, machine in keys:
            wanted |= (table.log == log) & (table.machine == machine)

        return table.filter(wanted)

    def _waits(self, keys: Sequence[MachineKey]) -> Table:
        t = self._of(self.views.waits, keys)
        until = t.end_ns.fill_null(t.begin_ns + t.waited_ns)

        return t.mutate(
            n=t.begin_n, since_ns=t.begin_ns, held_ns=t.waited_ns,
            until_ns=ibis.greatest(until, t.begin_ns), since_n=t.begin_n, until_n=t.end_n,
        )  # fmt: skip

    def _refused(self, keys: Sequence[MachineKey]) -> Table:
        t = self._of(self.views.requests, keys)
        t = t.filter(t.errno.notnull())

        return t.mutate(
            since_ns=t.wall_ns, until_ns=t.wall_ns, held_ns=t.duration_ns.fill_null(0)
        ).mutate(op=ibis.coalesce(t["op"], t.event))

    def _requests(self, keys: Sequence[MachineKey]) -> Table:
        t = self._of(self.views.requests, keys)
        t = t.filter(t.duration_ns.notnull() & (t.duration_ns >= 0))
        tenth = ibis.ifelse(t.duration_ns > 0, (t.duration_ns.log10() * 10).floor(), -1)

        return t.mutate(
            since_ns=t.wall_ns, until_ns=t.wall_ns, held_ns=t.duration_ns,
            op=ibis.coalesce(t["op"], t.event), failed=t.errno.notnull(),
            tenth=tenth.cast("int64"),
        )  # fmt: skip

    def _lengths(self, keys: Sequence[MachineKey]) -> list[dict[str, Any]]:
        t = self._requests(keys)
        found = t.group_by("op").agg(
            median=t.held_ns.quantile(0.5).cast("float64"),
            most=t.held_ns.quantile(0.99).cast("float64"),
        )

        return list(found.order_by("op").to_pyarrow().to_pylist())

    def _used(self, keys: Sequence[MachineKey]) -> dict[MachineKey, Share]:
        t = self._of(occupancy.over_time(self.views), keys)
        t = t.mutate(since_ns=t.wall_ns, until_ns=t.wall_ns, held_ns=t.lasted_ns)

        return self._share(t, ["used", "slots"], all_or_none=True)

    def _contention(self, keys: Sequence[MachineKey]) -> list[dict[str, Any]]:
        rows = self._of(self.log.contention().expr, keys).to_pyarrow().to_pylist()

        return [dict(row) for row in rows]

    def _behind(self, keys: Sequence[MachineKey]) -> list[dict[str, Any]]:
        """A few records of each pair: the longest waits, then refusals."""
        waits = self.views.waits.select(
            "log", "machine", "process", "holder",
            n=self.views.waits.begin_n, end=self.views.waits.end_n, took=self.views.waits.waited_ns,
        )  # fmt: skip
        t = self.views.requests
        busy = t.filter(t.errno.isin(("EBUSY", "EDEADLK", "ETIMEDOUT")) & t.start.notnull())
        none = ibis.null("int64")
        busy = busy.select("log", "machine", "process", "holder", "n", end=none, took=none)
        both = self._of(ibis.union(waits, busy), keys)
        pair = ibis.window(
            group_by=("log", "machine", "process", "holder"), order_by=[ibis.desc("took"), "n"]
        )
        both = both.mutate(place=ibis.row_number().over(pair))

        return list(both.filter(both.place < 6).order_by("n").to_pyarrow().to_pylist())
