"""What pictures are made of: the machines of a log, and the parts of its views that are drawn."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import ibis

from memhub.analysis import occupancy
from memhub.analysis.answer import Answer
from memhub.analysis.pictures.limits import Limits
from memhub.analysis.pictures.machines import Machine, Rows, find_machines, find_rows
from memhub.analysis.pictures.shares import Share, share
from memhub.analysis.pictures.time_axis import TimeAxis
from memhub.analysis.table_changes import changes_table
from memhub.audit.rows.description import spec_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from memhub.analysis import Analysis
    from memhub.analysis.pictures.shares import Machine as MachineKey

Table = Any
Shares = dict[tuple[str, str], Share]

#: The columns that a table is made again from.
_TYPE_COLUMNS: Final = (
    "log", "machine", "arch", "n", "wall_ns", "event", "begins", "process", "config", "generation",
    "slots", "after_base", "after_length", "after_flags", "after_owner", "msrs", "after_msr",
)  # fmt: skip

#: Records that are in memory at a time.
_BATCH: Final = 2000

#: The most ranges that never changed which a machine's map has.
_STILL: Final = 2000


class History:
    """A log as pictures need it. What is asked of it is kept, and asked at its first use.

    Args:
        log: open for questions, as long as pictures are drawn.
        limits: how much is drawn one by one.
        machines: names of those that are drawn; those with most changes if there are none.

    Attributes:
        limits: how much is drawn one by one.
        axis: the time that it covers.
        machines: those that have pictures of their own, in order of their names.
        left_out: the others.
        records: how many there are.
    """

    def __init__(
        self, log: Analysis, limits: Limits | None = None, machines: Sequence[str] = ()
    ) -> None:
        self._log = log
        self._views = log.views
        self.limits = limits or Limits()
        hub = self._views.records.filter(~self._views.records.event.startswith("log."))
        whole = hub.agg(first=hub.wall_ns.min(), last=hub.wall_ns.max(), count=hub.count())
        (it,) = whole.to_pyarrow().to_pylist()
        self.axis = TimeAxis(it["first"] or 0, it["last"] or 0)
        self.records: int = it["count"]
        found = find_machines(self._views)
        drawn = found[: self.limits.machines]
        if machines:
            drawn = [m for m in found if m.name in machines]

        self.left_out: tuple[Machine, ...] = tuple(m for m in found if m not in drawn)
        self.machines: tuple[Machine, ...] = tuple(sorted(drawn, key=lambda m: (m.name, m.log)))
        self._keys = [m.key for m in self.machines]

    @cached_property
    def slots(self) -> Mapping[MachineKey, Rows]:
        """The slots with their own row, those beyond the limit, and those that never changed."""
        return find_rows(self._tenures, self._held, self._keys, self.limits.rows)

    @cached_property
    def tenures(self) -> Shares:
        """Ranges in slots; `slot` is -1 beyond the limit of rows."""
        return self._in_rows(self._tenures)

    @cached_property
    def still(self) -> Shares:
        """Ranges that never changed."""
        some = self._only(self._tenures, {k: it.still for k, it in self.slots.items()})

        return self._share(some, [], most=_STILL)

    @cached_property
    def busy(self) -> Shares:
        """Slots that a process held by a claim; `slot` is -1 beyond the limit of rows."""
        return self._in_rows(self._held)

    @cached_property
    def waits(self) -> Shares:
        """Waits of processes."""
        t = self._of(self._views.waits)
        until = t.end_ns.fill_null(t.begin_ns + t.waited_ns)
        t = t.mutate(
            n=t.begin_n, since_ns=t.begin_ns, held_ns=t.waited_ns,
            until_ns=ibis.greatest(until, t.begin_ns),
        )  # fmt: skip

        return self._share(t, [])

    @cached_property
    def refused(self) -> Shares:
        """Refused requests."""
        t = self._of(self._views.requests)
        t = t.filter(t.errno.notnull())
        t = t.mutate(
            since_ns=t.wall_ns, until_ns=t.wall_ns, held_ns=t.duration_ns.fill_null(0),
            op=ibis.coalesce(t["op"], t.event),
        )  # fmt: skip

        return self._share(t, ["errno"], all_or_none=True)

    @cached_property
    def used(self) -> Shares:
        """How many slots were in use, step by step."""
        t = self._of(occupancy.over_time(self._views))
        t = t.mutate(since_ns=t.wall_ns, until_ns=t.wall_ns, held_ns=t.lasted_ns)

        return self._share(t, ["used", "slots"], all_or_none=True)

    @cached_property
    def requests(self) -> Shares:
        """Every request with its duration."""
        return self._share(self._requests, ["op", "failed", "tenth"])

    @cached_property
    def lengths(self) -> list[dict[str, Any]]:
        """The median and the 99th percentile (`most`) of requests of each operation."""
        t = self._requests
        found = t.group_by("op").agg(
            median=t.held_ns.quantile(0.5).cast("float64"),
            most=t.held_ns.quantile(0.99).cast("float64"),
        )

        return list(found.order_by("op").to_pyarrow().to_pylist())

    @cached_property
    def contention(self) -> list[dict[str, Any]]:
        """The answer to the question of that name."""
        return list(self._of(self._log.contention().expr).to_pyarrow().to_pylist())

    @cached_property
    def behind(self) -> list[dict[str, Any]]:
        """A few records of each pair of the contention: the longest waits, then refusals."""
        waits = self._views.waits
        waits = waits.select(
            "log", "machine", "process", "holder",
            n=waits.begin_n, end=waits.end_n, took=waits.waited_ns,
        )  # fmt: skip
        t = self._views.requests
        busy = t.filter(t.errno.isin(("EBUSY", "EDEADLK", "ETIMEDOUT")) & t.start.notnull())
        none = ibis.null("int64")
        busy = busy.select("log", "machine", "process", "holder", "n", end=none, took=none)
        both = self._of(ibis.union(waits, busy))
        pair = ibis.window(
            group_by=("log", "machine", "process", "holder"), order_by=[ibis.desc("took"), "n"]
        )
        both = both.mutate(place=ibis.row_number().over(pair))

        return list(both.filter(both.place < 6).order_by("n").to_pyarrow().to_pylist())

    @cached_property
    def jumps(self) -> list[dict[str, Any]]:
        """Where a machine began or went back to a snapshot, or registers changed beside ranges.

        The first as many as marks are drawn.
        """
        t = self._of(self._views.records)
        jumps = t.begins | (t.event == "device.restore") | _changes_registers(t)
        t = t.filter(jumps & t.start.notnull())
        t = t.select(
            "log", "machine", "start", since_n=t.n, since_ns=t.wall_ns, until_n=ibis.null("int64")
        )

        return list(t.order_by("since_n").limit(self.limits.marks).to_pyarrow().to_pylist())

    def type_changes(self, key: MachineKey) -> Iterator[dict[str, Any]]:
        """The records that begin or change the slots or registers of a machine, in order."""
        t = self._views.records
        t = t.filter((t.log == key[0]) & (t.machine == key[1]))
        t = t.filter(t.begins | changes_table(t) | _changes_registers(t))
        for batch in Answer(t.select(*_TYPE_COLUMNS).order_by("n")).to_batches(_BATCH):
            yield from batch.to_pylist()

    def address_bits(self, key: MachineKey) -> int | None:
        """How many address bits a machine has; None where the log does not tell."""
        t = self._views.records
        t = t.filter((t.log == key[0]) & (t.machine == key[1]) & t.config.notnull())
        found = t.order_by("n").limit(1).select("config").to_pyarrow().to_pylist()
        if not found:
            return None

        bits: int = spec_of("", "", found[0]["config"], {}).cpu.phys_bits

        return bits

    @cached_property
    def _tenures(self) -> Table:
        return self._kept("drawn_tenures", self._views.tenures)

    @cached_property
    def _held(self) -> Table:
        return self._kept("drawn_holdings", self._views.holdings)

    def _kept(self, name: str, view: Table) -> Table:
        """A view with a moment at which each row ends, and with `n`; computed once."""
        ended = self._views.ends.select("log", "machine", "start", "end_wall_ns")
        both = view.join(ended, ["log", "machine", "start"])
        until = both.until_ns.fill_null(both.end_wall_ns)
        both = both.mutate(
            n=both.since_n, open=both.until_n.isnull(),
            until_ns=ibis.greatest(until, both.since_ns),
        ).drop("end_wall_ns")  # fmt: skip

        return self._log.keep_table(name, lambda: both)

    @cached_property
    def _requests(self) -> Table:
        t = self._of(self._views.requests)
        t = t.filter(t.duration_ns.notnull() & (t.duration_ns >= 0))
        tenth = ibis.ifelse(t.duration_ns > 0, (t.duration_ns.log10() * 10).floor(), -1)

        return t.mutate(
            since_ns=t.wall_ns, until_ns=t.wall_ns, held_ns=t.duration_ns,
            op=ibis.coalesce(t["op"], t.event), failed=t.errno.notnull(),
            tenth=tenth.cast("int64"),
        )  # fmt: skip

    def _in_rows(self, table: Table) -> Shares:
        """What stood in slots with a row of their own; the other slots are summed up."""
        own = self._share(self._only(table, {k: it.own for k, it in self.slots.items()}), ["slot"])
        further = {k: it.further for k, it in self.slots.items()}
        none: Shares = {}
        if any(further.values()):
            none = self._share(self._only(table, further), [], most=0)

        both = {}
        for key in own.keys() | none.keys():
            mine, others = own.get(key, Share()), none.get(key, Share())
            both[key] = Share(mine.rows, (*mine.sums, *({**it, "slot": -1} for it in others.sums)))

        return both

    def _only(self, table: Table, slots: Mapping[MachineKey, Sequence[int]]) -> Table:
        wanted = ibis.literal(False)
        for (log, machine), some in slots.items():
            if some:
                here = (table.log == log) & (table.machine == machine)
                wanted |= here & table.slot.isin(list(some))

        return table.filter(wanted)

    def _of(self, table: Table) -> Table:
        """The rows about machines that are drawn."""
        wanted = ibis.literal(False)
        for log, machine in self._keys:
            wanted |= (table.log == log) & (table.machine == machine)

        return table.filter(wanted)

    def _share(
        self,
        table: Table,
        groups: Sequence[str],
        *,
        most: int | None = None,
        all_or_none: bool = False,
    ) -> Shares:
        span = self.axis.first_ns, self.axis.last_ns
        limits = self.limits if most is None else Limits(marks=most)

        return share(table, groups, span, limits, all_or_none=all_or_none)


def _changes_registers(records: Table) -> Table:
    """Whether a record has registers that sick hardware or another kernel changed."""
    by = records.event.startswith("hardware.") | (records.event == "kernel.call")

    return by & records.msrs.notnull()
