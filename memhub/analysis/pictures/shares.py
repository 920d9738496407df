"""The part of a table that is drawn one by one, and the rest as sums over steps of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ibis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memhub.analysis.pictures.limits import Limits

Table = Any
Row = dict[str, Any]
Machine = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Share:
    """What is drawn of one machine.

    Attributes:
        rows: what is drawn one by one, in the order of time.
        sums: the rest: one row for each group and step, with `amount`, `held_ns`, `first_n`,
            `last_n`, `since_ns` and `until_ns`.
    """

    rows: tuple[Row, ...] = ()
    sums: tuple[Row, ...] = ()

    @property
    def rest(self) -> int:
        """How many things are summed up."""
        return sum(row["amount"] for row in self.sums)


def share(
    table: Table,
    groups: Sequence[str],
    span: tuple[int, int],
    limits: Limits,
    *,
    all_or_none: bool = False,
) -> dict[Machine, Share]:
    """The part of each machine that is drawn: the rows that lasted longest.

    Args:
        table: with `log`, `machine`, `n`, `since_ns`, `until_ns` and `held_ns`.
        groups: columns that sums keep apart.
        span: the first and the last nanosecond of the picture.
        limits: how many rows are drawn, and the steps of the sums.
        all_or_none: whether nothing is drawn one by one where not all is.
    """
    by_machine = ibis.window(group_by=("log", "machine"))
    order = [ibis.desc(table.held_ns), table.n]
    first = ibis.window(group_by=("log", "machine"), order_by=order)
    table = table.mutate(place=ibis.row_number().over(first), all=table.count().over(by_machine))
    # Each machine gives one row at least, which tells how many there are
    some = table.filter(table.place < max(limits.marks, 1)).order_by("since_ns", "n")
    found: dict[Machine, Share] = {}
    more = False
    for key, rows in _by_machine(some).items():
        too_many = rows[0]["all"] > limits.marks
        more |= too_many
        none = not limits.marks or (all_or_none and too_many)
        found[key] = Share(() if none else tuple(rows))

    if not more:
        return found

    rest = table.place >= limits.marks
    if all_or_none:
        rest = table["all"] > limits.marks

    # Signs of points in time need more room than bars
    steps = limits.steps // 2 if all_or_none else limits.steps
    for key, rows in _by_machine(_sums(table.filter(rest), groups, span, steps)).items():
        found[key] = Share(found[key].rows, tuple(rows))

    return found


def _sums(rest: Table, groups: Sequence[str], span: tuple[int, int], steps: int) -> Table:
    low, high = span
    step = (high - low) // steps + 1
    rest = rest.mutate(step=((rest.since_ns - low) // step).cast("int64"))
    sums = rest.group_by("log", "machine", *groups, "step").agg(
        amount=rest.count(),
        held_ns=rest.held_ns.sum().cast("int64"),
        first_n=rest.n.min(),
        last_n=rest.n.max(),
        since_ns=rest.since_ns.min(),
        until_ns=rest.since_ns.max(),
    )

    return sums.order_by("log", "machine", "step", *groups)


def _by_machine(table: Table) -> dict[Machine, list[Row]]:
    found: dict[Machine, list[Row]] = {}
    for row in table.to_pyarrow().to_pylist():
        found.setdefault((row["log"], row["machine"]), []).append(row)

    return found
