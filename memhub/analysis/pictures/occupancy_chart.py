"""How many slots of a machine were in use over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt

from memhub.analysis.pictures.figure import Figure, Marks, sentence
from memhub.analysis.pictures.layers import LEFT, Sheet, moment_line, picked, spoken
from memhub.analysis.pictures.palette import BLUE, INK, QUIET
from memhub.analysis.pictures.words import keys_of

if TYPE_CHECKING:
    from memhub.analysis.pictures.history import History
    from memhub.analysis.pictures.machines import Machine

Row = dict[str, Any]


def occupancy_chart(history: History, machine: Machine, name: str) -> Figure | None:
    """The slots in use of one machine; None where it has none."""
    part = history.used.get(machine.key)
    if part is None or not (part.rows or part.sums):
        return None

    axis, marks, sheet = history.axis, Marks(machine.label), Sheet(name)
    rows = [_point(row, marks, axis.place(row["since_ns"])) for row in part.rows]
    rows += [_point(row, marks, axis.place(row["since_ns"])) for row in part.sums]
    rows.sort(key=lambda it: (it["since"], it["order"]))
    slots = max(row["slots"] for row in (*part.rows, *part.sums))
    least = min(row["used"] for row in rows)
    low = max(0, least - max(1, slots - least))
    end = {**rows[-1], "since": axis.place(axis.last_ns)}
    title = "slots in use" + (f", the axis begins at {low}" if low else "")
    y = alt.Y(
        "used:Q", title=None,
        scale=alt.Scale(domain=[low, slots + (slots - low) * 0.3], nice=False, zero=False),
        axis=alt.Axis(format="d", tickMinStep=1, tickCount=min(slots - low, 6), minExtent=LEFT),
    )  # fmt: skip
    x = axis.channel()
    steps = sheet.chart("steps", [*rows, end]).mark_line(
        interpolate="step-after", color=BLUE, strokeWidth=2.5, clip=True
    )
    points = sheet.chart("points", rows)
    limit = sheet.chart("limit", [{"slots": slots, "text": f"{slots} slots"}])
    chart = alt.layer(
        limit.mark_rule(color=INK, strokeDash=[6, 4]).encode(y=alt.Y("slots:Q")),
        limit.mark_text(align="right", baseline="bottom", dy=-3, dx=-6, color=QUIET, fontSize=11)
        .encode(x=alt.value("width"), y=alt.Y("slots:Q"), text=alt.Text("text:N")),
        steps.encode(x=x, y=y, order=alt.Order("order:Q")),
        points.mark_point(filled=True, size=36, color=BLUE, opacity=1, clip=True)
        .encode(x=x, y=y, tooltip=spoken()),
        picked(points).mark_point(size=320, color=INK, strokeWidth=2.5, clip=True)
        .encode(x=x, y=y),
        moment_line(sheet, axis),
        height=130,
    )  # fmt: skip

    return Figure(
        name, "occupancy", machine.label, f"{machine.label} ({machine.arch}): {title}",
        chart, sheet.data, marks.in_order,
        tuple(sentence(len(part.rows), part.rest, "changes",
                       "a point stands for all with one number of slots in a step of time")),
        axis,
    )  # fmt: skip


def _point(row: Row, marks: Marks, at: float) -> Row:
    if "amount" in row:
        say = (
            f"{row['used']} of {row['slots']} slots in use after {row['amount']} changes, records "
            f"{row['first_n']} to {row['last_n']}"
        )
        keys = keys_of(row, "first_n", "last_n")
        mark = marks.add(row["since_ns"], say, keys, more=max(0, row["amount"] - 2))

        return mark.row(since=at, used=row["used"], order=row["first_n"])

    say = f"{row['used']} of {row['slots']} slots in use after record {row['n']}"
    mark = marks.add(row["since_ns"], say, keys_of(row, "n"))

    return mark.row(since=at, used=row["used"], order=row["n"])
