"""The memory map of a machine: effective types, and which range covers what, at a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import altair as alt

from memhub.analysis.pictures.figure import Figure, Marks, sentence
from memhub.analysis.pictures.layers import Sheet
from memhub.analysis.pictures.map_layers import SLOTS_BEGIN, TYPES_END, AddressScale, map_layers
from memhub.analysis.pictures.palette import kind_of, kind_of_types, legend_name
from memhub.analysis.pictures.shares import Share
from memhub.analysis.pictures.type_runs import find_type_runs, reduce_runs
from memhub.analysis.pictures.words import keys_of, name_text, range_text, type_text
from memhub.arches import load_arches
from memhub.escape import escape_controls

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from memhub.analysis.pictures.history import History
    from memhub.analysis.pictures.machines import Machine
    from memhub.analysis.pictures.moments import Moments
    from memhub.analysis.pictures.type_runs import TypeRun

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

    bits = history.address_bits(key)
    rows, left_out = _fitting([*still, *moved], None if bits is None else (0, 1 << bits))
    drawing = _Drawing(machine, moments, name, rows, history.busy.get(key, Share()).rows)
    told = [] if bits is None else drawing.add_types(history, 1 << bits)

    return drawing.figure(left_out, told)


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
        self.extents = [row["extent"] for row in self.rows]
        self.types: list[Row] = []
        self.columns = _columns(self.rows)

    def add_types(self, history: History, end: int) -> list[str]:
        """Draw the effective types of all addresses; what is to be said of them."""
        edges = sorted({0, end, *(edge for extent in self.extents for edge in extent)})
        rows = history.type_changes(self.machine.key)
        try:
            runs = find_type_runs(rows, self.moments, edges, load_arches())
        except KeyError:
            return [f"Effective types are not drawn: {self.machine.arch} is not installed."]

        self.extents.append((0, end))
        kept, sums = reduce_runs(runs, history.limits.marks, len(self.moments.kept))
        scale = AddressScale(self.extents)
        self.types = [self._run(it, scale, summed=False) for it in kept]
        self.types += [self._run(it, scale, summed=True) for it in sums]
        how = "the others follow one another too fast, and are grey with all their types"
        told = sentence(len(kept), len(runs) - len(kept), "stretches of one effective type", how)
        if len(self.moments.kept) < len(self.moments.all):
            some, every = len(self.moments.kept), len(self.moments.all)
            told.append(f"Types are those at {some:,} of {every:,} changes.")

        return told

    def _run(self, it: TypeRun, scale: AddressScale, *, summed: bool) -> Row:
        kind = kind_of_types(it.types if not summed else ())
        where = range_text(it.low, it.high - it.low)
        words = f"{it.runs} changes: {', '.join(it.types)}" if summed else _type_words(it.types)
        mark = self.marks.add(
            it.since_ns, f"effective type of {where}: {words}", (it.since, it.until),
            (it.process,), 2 * (it.runs - 1),
        )  # fmt: skip

        return mark.row(
            type=legend_name(kind), label=words, low=scale.place(it.low),
            high=scale.place(it.high), left_edge=0.0, right_edge=TYPES_END,
            since_tick=it.since_tick, until_tick=it.until_tick,
        )  # fmt: skip

    def figure(self, left_out: int, told: list[str]) -> Figure:
        self.scale = AddressScale(self.extents)
        bars = [self._bar(row) for row in self.rows]
        wide = max(self.columns.values()) + 1
        layers = map_layers(self.sheet, self.scale, wide, bars, self._busy(bars), self.types)
        chart = alt.layer(*layers, height=self.scale.height)
        why = "those that stood longest: a map has no room for more addresses"

        return Figure(
            self.name, "map", self.machine.label,
            f"{self.machine.label} ({self.machine.arch}): effective types, and ranges by address",
            chart, self.sheet.data, self.marks.in_order,
            (*sentence(len(self.rows), left_out, "ranges", why), *told),
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
            low=self.scale.place(low), high=self.scale.place(high), left_edge=SLOTS_BEGIN + column,
            right_edge=SLOTS_BEGIN + column + 0.96, since_tick=since, until_tick=until,
            slot=row["slot"],
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


def _type_words(types: Sequence[str]) -> str:
    """A type with its word, or all of several."""
    return legend_name(kind_of_types(types)) if len(types) == 1 else ", ".join(types)


def _fitting(rows: list[Row], space: Extent | None) -> tuple[list[Row], int]:
    """The ranges that stood longest, as many as a map has room for, and how many are left out.

    Args:
        rows: all ranges.
        space: the whole address space, where it is drawn.
    """
    held: dict[Extent, int] = {}
    for row in rows:
        held[row["extent"]] = held.get(row["extent"], 0) + row["held_ns"]

    edges: set[int] = set(space or ())
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
