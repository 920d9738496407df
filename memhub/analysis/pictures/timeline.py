"""The time line of a machine: ranges in slots by type and owner, BUSY, waits and refusals."""

from __future__ import annotations

from itertools import pairwise
from math import log
from typing import TYPE_CHECKING, Any, Final

import altair as alt

from memhub.analysis.pictures.figure import Figure, Mark, Marks, sentence
from memhub.analysis.pictures.layers import Sheet, moment_line
from memhub.analysis.pictures.palette import (
    KINDS,
    OTHER_ERROR,
    SHAPES,
    error_name,
    kind_of,
    legend_name,
)
from memhub.analysis.pictures.shares import Share
from memhub.analysis.pictures.timeline_layers import STEP, TimelineLayers
from memhub.analysis.pictures.words import (
    keys_of,
    length_text,
    name_text,
    range_text,
    type_text,
)
from memhub.escape import escape_controls

if TYPE_CHECKING:
    from memhub.analysis.pictures.history import History
    from memhub.analysis.pictures.machines import Machine

Row = dict[str, Any]

#: The most rows for waits at the same time.
_LANES: Final = 8

#: The most refusals that share one row; with more each error has its own.
_ONE_ROW: Final = 30

#: The part of the time within which two signs cover one another.
_NEAR: Final = 0.015

#: Who set a range that no process has set.
_NOBODY: Final = {
    "undo": "an undo",
    "device.restore": "a return to a snapshot",
    "kernel.call": "the kernel",
}

_REFUSED: Final = "refused"
_FURTHER: Final = "further slots"


def timeline(history: History, machine: Machine, name: str) -> Figure:
    """The time line of one machine."""
    return _Drawing(history, machine, name).figure()


class _Drawing:
    def __init__(self, history: History, machine: Machine, name: str) -> None:
        key = machine.key
        self.name = name
        self.sheet = Sheet(name)
        self.axis = history.axis
        self.machine = machine
        self.slots = history.slots[key]
        self.still = history.still.get(key, Share())
        self.tenures = history.tenures.get(key, Share())
        self.busy = history.busy.get(key, Share())
        self.waits = history.waits.get(key, Share())
        self.refused = history.refused.get(key, Share())
        self.marks = Marks(machine.label)
        self.apart = self._are_refusals_apart()

    def _are_refusals_apart(self) -> bool:
        """Whether each error has a row of its own: signs would cover one another."""
        rows = self.refused.rows
        if self.refused.rest or len(rows) > _ONE_ROW:
            return True

        near = (self.axis.last_ns - self.axis.first_ns) * _NEAR

        return any(
            b["since_ns"] - a["since_ns"] <= near and a["errno"] != b["errno"]
            for a, b in pairwise(rows)
        )

    def figure(self) -> Figure:
        bars = [self._bar(row) for row in self.tenures.rows]
        held = [self._held(row) for row in self.busy.rows]
        waits, lanes = self._waits()
        sums = [self._sum(row) for row in self.tenures.sums]
        points = [self._refusal(row) for row in self.refused.rows]
        points += [self._refusals(row) for row in self.refused.sums]
        still = [self._still()] if self.slots.still else []
        rows = [f"slot {it}" for it in self.slots.own]
        rows += [_FURTHER] if self.slots.further else []
        rows += [row["row"] for row in still]
        rows += [_lane(it) for it in range(lanes)]
        rows += _refusal_rows(points)
        rows = rows or ["no slots"]
        draw = TimelineLayers(self.sheet, self.axis, rows)
        layers = [
            *draw.ranges(bars),
            *draw.still(still),
            *draw.sums(sums),
            *draw.busy(held),
            *draw.waits(waits),
            *draw.refused(points),
            *draw.pick([*bars, *held, *waits, *sums, *still, *points]),
            moment_line(self.sheet, self.axis),
        ]
        chart = alt.layer(*layers, height=STEP * len(rows))

        return Figure(
            self.name, "timeline", self.machine.label,
            f"{self.machine.label} ({self.machine.arch}): ranges in slots, claims, waits, refusals",
            chart, self.sheet.data, self.marks.in_order, self._told(), self.axis,
        )  # fmt: skip

    def _told(self) -> tuple[str, ...]:
        step = "grey bars sum up the others, the shorter ones, in steps of time"

        return (
            *sentence(len(self.tenures.rows), self.tenures.rest, "ranges", step),
            *sentence(
                len(self.busy.rows), self.busy.rest, "holdings", "the shorter ones are not drawn"
            ),
            *sentence(
                len(self.waits.rows), self.waits.rest, "waits", "the shorter ones are not drawn"
            ),
            *sentence(
                len(self.refused.rows), self.refused.rest, "refusals",
                "each sign stands for all of one error in a step of time",
            ),
        )  # fmt: skip

    def _at(self, row: Row) -> Row:
        since, until = self.axis.place(row["since_ns"]), self.axis.place(row["until_ns"])

        return {"since": since, "until": until}

    def _bar(self, row: Row) -> Row:
        kind = kind_of(row["flags"])
        who = row["process"] or _NOBODY.get(row["event"], "the firmware")
        say = (
            f"slot {row['slot']}: {range_text(row['base'], row['length'])} "
            f"{type_text(row['flags'])}, owner {name_text(row['owner'])}, set by {who}, "
            f"for {length_text(row['held_ns'])}"
        )
        say += ", still there at the end" if row["open"] else f", ended by {row['ended_op']}"
        mark = self.marks.add(
            row["since_ns"], say, keys_of(row, "since_n", "until_n"), (row["owner"], row["process"])
        )
        label = f"{kind.name} {escape_controls(row['owner'])}".strip()

        return mark.row(
            row=f"slot {row['slot']}", type=legend_name(kind), label=label, short=kind.name,
            **self._at(row),
        )  # fmt: skip

    def _still(self) -> Row:
        rows = self.still.rows
        since = min((row["since_ns"] for row in rows), default=self.axis.first_ns)
        until = max((row["until_ns"] for row in rows), default=self.axis.last_ns)
        count = len(self.slots.still)
        kinds = [kind_of(row["flags"]) for row in rows]
        parts = [f"{kinds.count(it)} {it.name}" for it in KINDS if it in kinds]
        say = f"{count} slots whose ranges never changed"
        say += f": {', '.join(parts)}" if not self.still.rest else ""
        mark = self.marks.add(since, say, keys_of(rows[0], "since_n") if rows else ())
        span = {"since_ns": since, "until_ns": until}

        return mark.row(row=f"{count} others", label=say, short="", **self._at(span))

    def _held(self, row: Row) -> Row:
        end = "still held at the end" if row["open"] else f"ended by {row['how']}"
        say = (
            f"slot {row['slot']}: BUSY, claimed by {name_text(row['process'])} (fence "
            f"{row['fence']}) for {length_text(row['held_ns'])}, {end}"
        )
        mark = self.marks.add(
            row["since_ns"], say, keys_of(row, "since_n", "until_n"), (row["process"],)
        )

        return mark.row(row=f"slot {row['slot']}", **self._at(row))

    def _sum(self, row: Row) -> Row:
        where = _FURTHER if row["slot"] < 0 else f"slot {row['slot']}"
        say = (
            f"{where}: {row['amount']} ranges, {length_text(row['held_ns'])} in all, "
            f"records {row['first_n']} to {row['last_n']}"
        )
        keys = keys_of(row, "first_n", "last_n")
        mark = self.marks.add(row["since_ns"], say, keys, more=max(0, row["amount"] - 2))

        return mark.row(row=where, label=f"{row['amount']}", **self._at(row))

    def _waits(self) -> tuple[list[Row], int]:
        free: list[int] = []
        made = []
        for row in self.waits.rows:
            lane = next((it for it, until in enumerate(free) if until <= row["since_ns"]), None)
            if lane is None:
                lane = min(len(free), _LANES - 1)
                free.append(0) if lane == len(free) else None

            free[lane] = max(free[lane], row["until_ns"])
            made.append(self._wait(row, lane))

        return made, len(free)

    def _wait(self, row: Row, lane: int) -> Row:
        who, whom = name_text(row["process"]), name_text(row["holder"])
        say = (
            f"{who} waited {length_text(row['waited_ns'])} for "
            f"{range_text(row['base'], row['length'])} because of {whom}: {row['cause']}"
        )
        mark = self.marks.add(
            row["since_ns"], say, keys_of(row, "begin_n", "end_n"), (row["process"], row["holder"])
        )
        label = escape_controls(f"{who} for {whom}: {row['cause']}")

        return mark.row(row=_lane(lane), label=label, short="", **self._at(row))

    def _refusal(self, row: Row) -> Row:
        say = (
            f"{row['errno']}: {row['op']} by {name_text(row['process'])}, "
            f"{range_text(row['base'], row['length'])}: {row['reason'] or ''}"
        )
        people = row["process"], row["holder"], row["owner"]
        mark = self.marks.add(row["since_ns"], say, keys_of(row, "n"), people)

        return self._sign(mark, row, 1)

    def _refusals(self, row: Row) -> Row:
        say = (
            f"{row['amount']} refusals with {row['errno']}, records {row['first_n']} to "
            f"{row['last_n']}"
        )
        keys = keys_of(row, "first_n", "last_n")
        mark = self.marks.add(row["since_ns"], say, keys, more=max(0, row["amount"] - 2))

        return self._sign(mark, row, row["amount"])

    def _sign(self, mark: Mark, row: Row, amount: int) -> Row:
        error = error_name(row["errno"])
        where = f"{_REFUSED}: {error}" if self.apart else _REFUSED

        return mark.row(row=where, error=error, area=60 + 40 * log(amount), **self._at(row))


def _refusal_rows(points: list[Row]) -> list[str]:
    """The rows of refusals, in the order of the legend."""
    order = [*SHAPES, OTHER_ERROR]
    rows = {row["row"]: order.index(row["error"]) for row in points}

    return sorted(rows, key=lambda name: rows[name])


def _lane(number: int) -> str:
    return "waits" if not number else f"waits {number + 1}"
