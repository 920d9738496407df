"""Who waited for, or was refused because of, whom."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import altair as alt

from memhub.analysis.pictures.figure import Figure, Mark, Marks
from memhub.analysis.pictures.layers import Sheet, picked, spoken
from memhub.analysis.pictures.palette import INK
from memhub.analysis.pictures.words import length_text, name_text
from memhub.escape import escape_controls

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memhub.analysis.pictures.figure import Key
    from memhub.analysis.pictures.history import History

Row = dict[str, Any]
Pair = tuple[str, str]

#: The most names in a row or a column; the rest are one.
_NAMES: Final = 14
_OTHERS: Final = "(others)"

_COUNTS: Final = ("refused", "waited", "granted", "timed_out", "deadlocks", "wait_ns")


def contention_chart(history: History, name: str) -> Figure | None:
    """The contention of all machines that are drawn; None where there was none."""
    if not history.contention:
        return None

    who = _most(history.contention, "process")
    whom = _most(history.contention, "holder")
    cells: dict[Pair, Counter[str]] = {}
    machines: dict[Pair, set[str]] = {}
    keys: dict[Pair, list[Key]] = {}
    labels = {machine.key: machine.label for machine in history.machines}
    for row in history.contention:
        pair = _pair(row, who, whom)
        cells.setdefault(pair, Counter()).update({it: row[it] or 0 for it in _COUNTS})
        machines.setdefault(pair, set()).add(labels[row["log"], row["machine"]])

    for row in history.behind:
        some = keys.setdefault(_pair(row, who, whom), [])
        some += [(row["log"], n) for n in (row["n"], row["end"]) if n is not None]

    marks, sheet = Marks(), Sheet(name)
    rows = [
        _cell(marks, pair, counts, keys.get(pair, []), sorted(machines[pair]))
        for pair, counts in sorted(cells.items())
    ]
    told = [
        f"{left} more {what} are summed up as {_OTHERS}."
        for what, left in (
            ("processes", _left(history.contention, "process", who)),
            ("holders", _left(history.contention, "holder", whom)),
        )
        if left
    ]

    return Figure(
        name, "contention", "", "Who waited for, or was refused because of, whom",
        _chart(sheet, rows), sheet.data, marks.in_order, tuple(told),
    )  # fmt: skip


def _most(rows: Iterable[Row], name: str) -> set[str]:
    """The names that waited, or were waited for, longest."""
    found: Counter[str] = Counter()
    for row in rows:
        found[name_text(row[name])] += (row["wait_ns"] or 0) + row["refused"] + row["waited"]

    return {it for it, _ in found.most_common(_NAMES)}


def _left(rows: Iterable[Row], name: str, kept: set[str]) -> int:
    return len({name_text(row[name]) for row in rows} - kept)


def _pair(row: Row, who: set[str], whom: set[str]) -> Pair:
    process, holder = name_text(row["process"]), name_text(row["holder"])

    return process if process in who else _OTHERS, holder if holder in whom else _OTHERS


def _cell(
    marks: Marks, pair: Pair, counts: Counter[str], keys: list[Key], machines: list[str]
) -> Row:
    process, holder = pair
    ends = [
        f"{counts[it]} {word}"
        for it, word in (
            ("granted", "granted"),
            ("timed_out", "timed out"),
            ("deadlocks", "deadlocks"),
        )
        if counts[it]
    ]
    waits = f"{counts['waited']} {'wait' if counts['waited'] == 1 else 'waits'}"
    say = f"{process} because of {holder}: {counts['refused']} refused, {waits}"
    if counts["waited"]:
        say += f" of {length_text(counts['wait_ns'])} in all ({', '.join(ends) or 'not ended'})"

    say += f", on {', '.join(machines)}"
    all_of = 2 * counts["waited"] + counts["refused"]
    mark: Mark = marks.add(
        len(marks.made), say, keys, pair, max(0, all_of - len(dict.fromkeys(keys)))
    )

    return {
        **mark.row(
            process=escape_controls(process),
            holder=escape_controls(holder),
            wait_ns=counts["wait_ns"],
            first=f"{waits}, {length_text(counts['wait_ns'])}" if counts["waited"] else "no waits",
            second=f"{counts['refused']} refused",
        ),
        "machines": machines,
    }


def _chart(sheet: Sheet, rows: list[Row]) -> alt.LayerChart:
    chart = sheet.chart("cells", rows)
    most = max(row["wait_ns"] for row in rows)
    unit, size = ("s", 10**9) if most >= 10**10 else ("ms", 10**6)
    chart = chart.transform_calculate(waited=f"datum.wait_ns / {size}")
    step = 44
    x = alt.X(
        "holder:N", title="because of", axis=alt.Axis(orient="top", labelAngle=0, labelLimit=150)
    )
    y = alt.Y("process:N", title="who waited or was refused", axis=alt.Axis(minExtent=80))
    # From white to a blue on which black text can still be read
    colour = alt.Color(
        "waited:Q", title=f"waited, {unit} in all",
        scale=alt.Scale(
            domain=[0, most / size or 1], range=["#ffffff", "#56B4E9"], interpolate="rgb"
        ),
        legend=alt.Legend(gradientLength=160, tickCount=3),
    )  # fmt: skip
    about = "which == '' || indexof(datum.machines, which) >= 0"
    common = {"x": x, "y": y, "tooltip": spoken()}
    test = f"({about}) && (who == '' || indexof(datum.people, who) >= 0)"
    dim = alt.OpacityValue(0.15, condition={"test": test, "value": 1})
    rows_high = len({row["process"] for row in rows})
    text = {"fontSize": 11, "color": INK}

    return alt.layer(
        chart.mark_rect(stroke="#6b7178", strokeWidth=1).encode(
            **common, color=colour, opacity=dim
        ),
        chart.mark_text(**text, dy=-7).encode(**common, text=alt.Text("first:N"), opacity=dim),
        chart.mark_text(**text, dy=8).encode(**common, text=alt.Text("second:N"), opacity=dim),
        picked(chart).mark_rect(fill="transparent", stroke=INK, strokeWidth=3.5).encode(x=x, y=y),
        height=step * rows_high,
    )
