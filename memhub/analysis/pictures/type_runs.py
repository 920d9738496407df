"""Which effective types stretches of addresses had, from which moment to which.

The tables of a log are made again from its records, and their types are asked for at each moment
that can be chosen: what changed in between is not seen, as nobody can choose it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memhub.abi import RangeDesc
from memhub.analysis.pictures.moments import NEVER
from memhub.audit.rows import machine_of
from memhub.audit.rows.columns import owner_of
from memhub.core.drivers.driver import RangeState
from memhub.core.effective.typemap import MARK, TYPE_OF_CODE
from memhub.core.neighbours import join_neighbours
from memhub.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from memhub.analysis.pictures.figure import Key
    from memhub.analysis.pictures.moments import Moments
    from memhub.core.drivers.driver import Arch
    from memhub.core.effective.typemap import TypeMap
    from memhub.core.machine import Machine

    Row = dict[str, Any]
    Types = tuple[str, ...]

#: Stretches of types in one interval that are told apart; where there are more, the rest is not
#: looked at.
_STRETCHES: Final = 32

#: The types of a machine that has none.
UNKNOWN: Final[Types] = ()


class TypeRun(NamedTuple):
    """A stretch of addresses that had the same types for some time.

    Attributes:
        low: first byte.
        high: one past the last byte.
        types: every type in it, the most common first.
        since_tick: from which moment on.
        until_tick: from which moment on no longer.
        since: the record that made it so.
        until: the record that ended it; None where none did.
        since_ns: when that was.
        process: who asked for it; None where nobody did.
        runs: how many this one sums up.
    """

    low: int
    high: int
    types: Types
    since_tick: int
    until_tick: int
    since: Key
    until: Key | None
    since_ns: int
    process: str | None
    runs: int = 1


@dataclass(slots=True)
class _Table:
    """A machine's slots and registers while records are read."""

    machine: Machine
    slots: list[RangeDesc]
    msrs: dict[int, int]
    changed: dict[int, tuple[int, int, int, str]] = field(default_factory=dict)

    @classmethod
    def begun_by(cls, row: Row, arches: Mapping[str, Arch]) -> _Table | None:
        """The table that a record begins with; None where there is no such."""
        machine = machine_of(row, arches)
        if machine.table is None:
            machine.close()
            return None

        state = machine.table.state

        return cls(machine, list(state.slots), dict(state.msrs))

    def change(self, row: Row) -> None:
        """Take what a record changed."""
        if "after_base" in row:
            columns = (row[f"after_{name}"] for name in ("base", "length", "flags", "owner"))
            self.changed.update(zip(row["slots"], zip(*columns, strict=True), strict=True))

        if "msrs" in row:
            self.msrs.update(zip(row["msrs"], row["after_msr"], strict=True))

    def types(self) -> TypeMap | None:
        """The effective types; None where the driver fails."""
        table = self.machine.require_table()
        for slot, (base, length, flags, owner) in self.changed.items():
            self.slots[slot] = RangeDesc(base, length, flags, owner_of(owner))

        self.changed.clear()
        try:
            return table.driver.types(RangeState(tuple(self.slots), dict(self.msrs)))
        except DeviceError:
            return None


def find_type_runs(
    rows: Iterable[Row], moments: Moments, edges: Sequence[int], arches: Mapping[str, Arch]
) -> list[TypeRun]:
    """The types between some edges over time.

    Args:
        rows: the records that begin or change the machine's table, in order.
        moments: those that can be chosen.
        edges: addresses, ascending.
        arches: architectures by name.

    Returns:
        the runs in the order of their beginnings; neighbours that are alike are one.

    Raises:
        KeyError: an architecture is not installed.
    """
    runs = _Runs(edges)
    table: _Table | None = None
    tick, last = 0, None
    try:
        for full in rows:
            row = {name: value for name, value in full.items() if value is not None}
            at = max(tick, moments.first_from((row["wall_ns"], row["log"], row["n"])))
            if at > tick and last is not None:
                runs.look(table, tick, last)

            if row.get("begins") or row["event"] == "device.restore":
                if table is not None:
                    table.machine.close()

                table = _Table.begun_by(row, arches)
            elif table is not None:
                table.change(row)

            tick, last = at, row

        if last is not None and tick < len(moments.kept):
            runs.look(table, tick, last)
    finally:
        if table is not None:
            table.machine.close()

    return sorted(_stacked(runs.ended()), key=lambda it: (it.since_tick, it.low))


class _Runs:
    """The present types of each interval, and the runs that have ended."""

    def __init__(self, edges: Sequence[int]) -> None:
        self._intervals = list(pairwise(edges))
        self._open: list[TypeRun | None] = [None] * len(self._intervals)
        self._done: list[TypeRun] = []

    def look(self, table: _Table | None, tick: int, row: Row) -> None:
        """Take the types at a moment, after a record."""
        types = None if table is None else table.types()
        key = row["log"], row["n"]
        for place, (low, high) in enumerate(self._intervals):
            found = UNKNOWN if types is None else types_within(types, low, high)
            run = self._open[place]
            if run is not None and run.types == found:
                continue

            self._end(place, tick, key)
            if found != UNKNOWN:
                self._open[place] = TypeRun(
                    low, high, found, tick, NEVER, key, None, row["wall_ns"], row.get("process")
                )

    def ended(self) -> list[TypeRun]:
        """All runs, also those that have not ended."""
        return [*self._done, *(it for it in self._open if it is not None)]

    def _end(self, place: int, tick: int, key: Key) -> None:
        run, self._open[place] = self._open[place], None
        if run is not None and run.since_tick < tick:
            self._done.append(run._replace(until_tick=tick, until=key))


def types_within(types: TypeMap, low: int, high: int) -> Types:
    """The types between two addresses, the most common first."""
    shares: dict[str, int] = {}
    for _ in range(_STRETCHES):
        code, border = types.stretch(low)
        border = min(border, high)
        name = TYPE_OF_CODE[code & ~MARK]
        shares[name] = shares.get(name, 0) + border - low
        low = border
        if low >= high:
            break

    return tuple(sorted(shares, key=lambda name: -shares[name]))


def _stacked(runs: Iterable[TypeRun]) -> Iterator[TypeRun]:
    """Runs that lie one behind another and are otherwise alike as one."""
    ordered = sorted(runs, key=lambda it: (it.since_tick, it.until_tick, it.types, it.low))

    return join_neighbours(ordered, _join_stacked)


def _join_stacked(last: TypeRun, it: TypeRun) -> TypeRun | None:
    is_alike = (last.high, last.types, last.since_tick, last.until_tick) == (
        it.low, it.types, it.since_tick, it.until_tick,
    )  # fmt: skip

    return last._replace(high=it.high) if is_alike else None


def reduce_runs(
    runs: Sequence[TypeRun], most: int, ticks: int
) -> tuple[list[TypeRun], list[TypeRun]]:
    """The runs that are drawn one by one, and the others summed up.

    Drawn are those that there are at the end, those that were there at most moments, and others
    beside which nothing is to be summed up.

    Args:
        runs: all of a machine.
        most: how many are chosen.
        ticks: how many moments there are.

    Returns:
        the runs, and sums: for a stretch of addresses, the further runs that follow each other.
    """
    if len(runs) <= most:
        return [*runs], []

    ordered = sorted(
        runs, key=lambda it: (it.until is not None, it.since_tick - min(it.until_tick, ticks))
    )
    kept, rest = ordered[:most], ordered[most:]
    rest.sort(key=lambda it: (it.low, it.high, it.since_tick))
    sums: list[TypeRun] = []
    for _, some in groupby(rest, lambda it: (it.low, it.high)):
        sums += _following(some)

    alone = [it for it in sums if it.runs == 1]
    kept = sorted((*kept, *alone), key=lambda it: (it.since_tick, it.low))

    return kept, [it for it in sums if it.runs > 1]


def _following(runs: Iterable[TypeRun]) -> Iterator[TypeRun]:
    """Runs of one stretch, those that follow each other without a gap as one."""
    return join_neighbours(runs, _join_following)


def _join_following(last: TypeRun, it: TypeRun) -> TypeRun | None:
    if last.until_tick != it.since_tick:
        return None

    return last._replace(
        until_tick=it.until_tick,
        until=it.until,
        types=tuple(dict.fromkeys((*last.types, *it.types))),
        runs=last.runs + 1,
    )
