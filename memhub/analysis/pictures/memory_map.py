"""The memory map of a machine: which range covers which addresses, at a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt

from memhub.analysis.pictures.figure import Figure, Marks, sentence
from memhub.analysis.pictures.layers import Sheet
from memhub.analysis.pictures.map_layers import AddressScale, map_layers
from memhub.analysis.pictures.palette import kind_of, legend_name
from memhub.analysis.pictures.shares import Share
from memhub.analysis.pictures.words import keys_of, name_text, range_text, type_text
from memhub.escape import escape_controls

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from memhub.analysis.pictures.history import History
    from memhub.analysis.pictures.machines import Machine
    from memhub.analysis.pictures.moments import Moments

Row = dict[str, Any]
Extent = tuple[int, int]

#: The most edges of ranges that a map has.
_EDGES: Final = 64


def memory_map(history: History, machine: Machine, moments: Moments, name: str) -> Figure | None:
    """The map of one machine; None where no range ever stood in a slot."""
    key = machine.key
    moved = [_extended(row) for row in history.tenures.get(key, Share()).rows]
    still = _merged(_extended(row) for row in history.still.get(key, Share()).rows)
    if not (moved or still):
        return None

    rows, left_out = _fitting([*still, *moved])
    busy = history.busy.get(key, Share()).rows

    return _Drawing(machine, moments, name, rows, busy).figure(left_out)


class _Drawing:
    def __init__(
        self,
        machine: Machine,
        moments: Moments,
        name: str,
        rows: list[Row],
        busy: Sequence[Row],
    ) -> None:
        self.name, self.machine, self.moments = name, machine, moments
        self.sheet = Sheet(name)
        self.marks = Marks(machine.label)
        self.rows, self.busy = rows, busy
        self.scale = AddressScale([row["extent"] for row in self.rows])
        self.columns = _columns(self.rows)

    def figure(self, left_out: int) -> Figure:
        bars = [self._bar(row) for row in self.rows]
        wide = max(self.columns.values()) + 1
        layers = map_layers(self.sheet, self.scale, wide, bars, self._busy(bars))
        chart = alt.layer(*layers, height=self.scale.height)
        why = "those that stood longest: a map has no room for more addresses"

        return Figure(
            self.name, "map", self.machine.label,
            f"{self.machine.label} ({self.machine.arch}): ranges by address",
            chart, self.sheet.data, self.marks.in_order,
            tuple(sentence(len(self.rows), left_out, "ranges", why)),
        )  # fmt: skip

    def _bar(self, row: Row) -> Row:
        low, high = row["extent"]
        kind = kind_of(row["flags"])
        where = f"slot {row['slot']}" if row["count"] == 1 else f"{row['count']} slots"
        say = (
            f"{where}: {range_text(low, high - low)} {type_text(row['flags'])}, "
            f"owner {name_text(row['owner'])}"
        )
        mark = self.marks.add(
            row["since_ns"], say, keys_of(row, "since_n", "until_n"), (row["owner"], row["process"])
        )
        since, until = self.moments.ticks(row)
        column = self.columns[row["slot"]]

        return mark.row(
            type=legend_name(kind), label=escape_controls(f"{kind.name} {row['owner']} ({where})"),
            low=self.scale.place(low), high=self.scale.place(high), left_edge=column + 0.02,
            right_edge=column + 0.98, since_tick=since, until_tick=until, slot=row["slot"],
        )  # fmt: skip

    def _busy(self, bars: list[Row]) -> list[Row]:
        """The part of each holding in which a range stood in its slot."""
        by_slot: dict[int, list[Row]] = {}
        for bar in bars:
            by_slot.setdefault(bar["slot"], []).append(bar)

        made = []
        for row in self.busy:
            since, until = self.moments.ticks(row)
            for bar in by_slot.get(row["slot"], ()):
                both = max(since, bar["since_tick"]), min(until, bar["until_tick"])
                if both[0] < both[1]:
                    made.append({**bar, "since_tick": both[0], "until_tick": both[1]})

        return made


def _extended(row: Row) -> Row:
    low, length = row["base"], row["length"]

    return {**row, "extent": (low, low + max(length, 1)), "count": 1}


def _merged(rows: Iterable[Row]) -> list[Row]:
    """Ranges that never changed, those that touch and are alike as one."""
    made: list[Row] = []
    for row in sorted(rows, key=lambda it: (it["start"], it["extent"])):
        last = made[-1] if made else None
        if (
            last is not None
            and last["start"] == row["start"]
            and last["extent"][1] == row["extent"][0]
            and kind_of(last["flags"]) == kind_of(row["flags"])
            and last["owner"] == row["owner"]
        ):
            last["extent"] = (last["extent"][0], row["extent"][1])
            last["count"] += 1
        else:
            made.append(dict(row))

    return made


def _fitting(rows: list[Row]) -> tuple[list[Row], int]:
    """The ranges that stood longest, as many as a map has room for, and how many are left out."""
    held: dict[Extent, int] = {}
    for row in rows:
        held[row["extent"]] = held.get(row["extent"], 0) + row["held_ns"]

    edges: set[int] = set()
    chosen: set[Extent] = set()
    for extent in sorted(held, key=lambda it: -held[it]):
        if len(edges | {*extent}) <= _EDGES:
            edges |= {*extent}
            chosen.add(extent)

    kept = [row for row in rows if row["extent"] in chosen]

    return kept, len(rows) - len(kept)


def _columns(rows: list[Row]) -> dict[int, int]:
    """The column of each slot: slots whose ranges never overlap share one."""
    extents: dict[int, set[Extent]] = {}
    for row in rows:
        extents.setdefault(row["slot"], set()).add(row["extent"])

    columns: list[set[Extent]] = []
    found = {}
    for slot, some in extents.items():
        place = next(
            (n for n, taken in enumerate(columns) if not _overlap(some, taken)), len(columns)
        )
        if place == len(columns):
            columns.append(set())

        columns[place] |= some
        found[slot] = place

    return found


def _overlap(some: set[Extent], others: set[Extent]) -> bool:
    return any(a < d and c < b for a, b in some for c, d in others)
