"""How long requests took, by operation."""

from __future__ import annotations

from math import log10
from typing import TYPE_CHECKING, Any, Final

import altair as alt

from memhub.analysis.pictures.figure import Figure, Marks, sentence
from memhub.analysis.pictures.layers import Sheet, picked, row_axis, spoken, strong
from memhub.analysis.pictures.palette import BLUE, INK, VERMILION
from memhub.analysis.pictures.shares import Share
from memhub.analysis.pictures.words import keys_of, length_text, name_text
from memhub.escape import escape_controls

if TYPE_CHECKING:
    from memhub.analysis.pictures.history import History
    from memhub.analysis.pictures.machines import Machine

Row = dict[str, Any]

#: Pixels of an operation's row.
_STEP: Final = 34

_TICKS: Final = "The long tick is the median of an operation, the short one its 99th percentile."

_GRANTED: Final = "granted"
_REFUSED: Final = "refused"


def latency_chart(history: History, name: str) -> Figure | None:
    """The durations of the requests of all machines that are drawn; None without requests."""
    marks, sheet = Marks(), Sheet(name)
    rows: list[Row] = []
    drawn = rest = 0
    for machine in history.machines:
        part = history.requests.get(machine.key, Share())
        drawn, rest = drawn + len(part.rows), rest + part.rest
        rows += [_request(row, machine, marks) for row in part.rows]
        rows += [_some(row, machine, marks) for row in _by_length(part.sums)]

    if not rows:
        return None

    told = [_TICKS]
    told += sentence(
        drawn, rest, "requests",
        "larger signs sum up the others, the shorter ones, by operation and length",
    )  # fmt: skip

    return Figure(
        name, "latency", "", "How long requests took, by operation",
        _chart(sheet, rows, _ticks(history)), sheet.data, marks.in_order, tuple(told),
    )  # fmt: skip


def _ticks(history: History) -> list[Row]:
    """The median and the 99th percentile of each operation."""
    return [
        {"op": escape_controls(row["op"]), "at": _place(row[name]), "long": name == "median"}
        for row in history.lengths
        for name in ("median", "most")
    ]


def _place(ns: float) -> float:
    """Where a length of time is: tens of nanoseconds and less are on the left edge."""
    return max(1.0, log10(max(ns, 1)))


def _by_length(sums: tuple[Row, ...]) -> list[Row]:
    """Sums of all steps of time together, as this picture has no time."""
    found: dict[tuple[Any, ...], Row] = {}
    for row in sums:
        key = row["op"], row["failed"], row["tenth"]
        it = found.setdefault(key, {**row, "amount": 0, "held_ns": 0})
        it["amount"] += row["amount"]
        it["held_ns"] += row["held_ns"]
        it["first_n"] = min(it["first_n"], row["first_n"])
        it["last_n"] = max(it["last_n"], row["last_n"])

    return list(found.values())


def _request(row: Row, machine: Machine, marks: Marks) -> Row:
    marks.machine = machine.label
    end = f", {row['errno']}" if row["failed"] else ""
    say = (
        f"{row['op']} by {name_text(row['process'])} on {machine.label}: "
        f"{length_text(row['held_ns'])}{end}"
    )
    mark = marks.add(row["held_ns"], say, keys_of(row, "n"), (row["process"], row["owner"]))

    return _placed(mark.row(), row, 1)


def _some(row: Row, machine: Machine, marks: Marks) -> Row:
    marks.machine = machine.label
    mean = row["held_ns"] / row["amount"]
    end = _REFUSED if row["failed"] else _GRANTED
    say = (
        f"{row['amount']} of {row['op']} on {machine.label}, {end}: {length_text(mean)} on average"
    )
    mark = marks.add(
        round(mean), say, keys_of(row, "first_n", "last_n"), more=max(0, row["amount"] - 2)
    )

    return _placed(mark.row(), {**row, "held_ns": mean}, row["amount"])


def _placed(made: Row, row: Row, amount: int) -> Row:
    """The mark with its place."""
    return {
        **made,
        "op": escape_controls(row["op"]),
        "length": _place(row["held_ns"]),
        "end": _REFUSED if row["failed"] else _GRANTED,
        "area": 46 + 60 * log10(amount),
    }


def _chart(sheet: Sheet, rows: list[Row], ticks: list[Row]) -> alt.LayerChart:
    names = sorted({row["op"] for row in rows})
    low = min(row["length"] for row in rows)
    high = max(row["length"] for row in rows)
    labels = (
        "['0', '10 ns', '100 ns', '1 us', '10 us', '100 us', '1 ms', '10 ms', '100 ms', '1 s', "
        "'10 s', '100 s', '1000 s', '10000 s', '1e5 s', '1e6 s', '1e7 s', '1e8 s', '1e9 s', "
        "'1e10 s']"
    )
    first = int(low)
    values = list(range(first, int(high) + 2))
    at_zero = "datum.value <= 1 ? '<= 10 ns' : "
    x = alt.X(
        "length:Q", title="duration, by powers of ten",
        scale=alt.Scale(domain=[first - 0.15, max(high + 0.15, first + 1)], nice=False, zero=False),
        axis=alt.Axis(values=values, labelExpr=f"{at_zero}{labels}[datum.value]", grid=True),
    )  # fmt: skip
    y = alt.Y("op:N", title=None, scale=alt.Scale(domain=names, padding=0), axis=row_axis())
    ends = [it for it in (_GRANTED, _REFUSED) if any(row["end"] == it for row in rows)]
    colours = {_GRANTED: BLUE, _REFUSED: VERMILION}
    shapes = {_GRANTED: "circle", _REFUSED: "M-0.8,-0.8L0.8,0.8M-0.8,0.8L0.8,-0.8"}
    end_scale = {
        "shape": alt.Scale(domain=ends, range=[shapes[it] for it in ends]),
        "stroke": alt.Scale(domain=ends, range=[colours[it] for it in ends]),
    }
    apart = alt.YOffset("jitter:Q", scale=alt.Scale(domain=[-1, 1], range=[7, _STEP - 7]))
    chart = sheet.chart("requests", [_apart(row, place) for place, row in enumerate(rows)])
    points = chart.mark_point(strokeWidth=2, fill="transparent").encode(
        shape=alt.Shape("end:N", title=None, scale=end_scale["shape"]),
        stroke=alt.Stroke("end:N", title=None, scale=end_scale["stroke"]),
        size=alt.Size("area:Q", scale=None, legend=None),
        opacity=strong(0.9),
        tooltip=spoken(),
    )
    ring = picked(chart).mark_point(size=320, color=INK, strokeWidth=2.5)

    tick = sheet.chart("ticks", ticks).mark_tick(color=INK, thickness=3)
    lengths = {
        size: tick.transform_filter(f"datum.long == {flag}").mark_tick(
            color=INK, thickness=3, size=size
        )
        for size, flag in ((_STEP - 6, "true"), (_STEP // 3, "false"))
    }

    return alt.layer(
        *(it.encode(x=alt.X("at:Q"), y=y) for it in lengths.values()),
        points.encode(x=x, y=y, yOffset=apart),
        ring.encode(x=x, y=y, yOffset=apart),
        height=_STEP * len(names),
    )


def _apart(row: Row, place: int) -> Row:
    """The mark, set a little above or below others of its operation, so that each is seen."""
    return {**row, "jitter": (place * 0.618) % 1 * 2 - 1}
