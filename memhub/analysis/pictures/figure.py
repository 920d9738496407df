"""One picture and what is behind its marks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from memhub.escape import escape_controls

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from memhub.analysis.pictures.time_axis import TimeAxis

#: A record: the identity of its log, and its place there.
Key = tuple[str, int]

#: The most records that one mark leads to.
MOST_RECORDS: Final = 12


@dataclass(frozen=True, slots=True)
class Mark:
    """One mark of a picture.

    Attributes:
        id: its name in the picture.
        say: what it shows, in a line.
        records: those behind it.
        more: how many further ones are behind it.
        people: names of processes and owners that it is about.
        machine: the machine that it is about.
    """

    id: str
    say: str
    records: tuple[Key, ...]
    more: int = 0
    people: tuple[str, ...] = ()
    machine: str = ""

    def row(self, **members: Any) -> dict[str, Any]:  # noqa: ANN401 - values of a chart's row
        """The mark as a row of a chart's data."""
        return {
            "mark": self.id,
            "say": self.say,
            "people": list(self.people),
            "machine": self.machine,
            **members,
        }


@dataclass(frozen=True, slots=True)
class Figure:
    """One picture.

    Attributes:
        name: no other has it; fit for a file and an id of HTML.
        view: what it shows: one of VIEWS.
        machine: the label of the machine that it is about; empty for all.
        title: above it.
        chart: an Altair chart without a width.
        data: its rows by name.
        marks: its marks, in the order of time.
        told: what is drawn and what is summed up, in sentences.
        axis: the time axis, if it has one.
    """

    name: str
    view: str
    machine: str
    title: str
    chart: Any
    data: dict[str, list[dict[str, Any]]]
    marks: tuple[Mark, ...]
    told: tuple[str, ...] = ()
    axis: TimeAxis | None = None


@dataclass(slots=True)
class Marks:
    """Names marks one after another and keeps them.

    Attributes:
        machine: the machine that all are about.
        made: the marks so far.
    """

    machine: str = ""
    made: list[tuple[int, Mark]] = field(default_factory=list)

    def add(
        self,
        at: int,
        say: str,
        records: Iterable[Key | None],
        people: Iterable[str | None] = (),
        more: int = 0,
    ) -> Mark:
        """Make a mark.

        Args:
            at: where it stands in the order of marks.
            say: what it shows; foreign text in it is escaped.
            records: those behind it; None is left out.
            people: names that it is about; None is left out.
            more: how many further records are behind it.
        """
        keys = tuple(dict.fromkeys(it for it in records if it is not None))
        mark = Mark(
            f"m{len(self.made)}",
            escape_controls(say),
            keys[:MOST_RECORDS],
            more + max(0, len(keys) - MOST_RECORDS),
            tuple(dict.fromkeys(escape_controls(it) for it in people if it)),
            self.machine,
        )
        self.made.append((at, mark))

        return mark

    @property
    def in_order(self) -> tuple[Mark, ...]:
        """All marks, by their order."""
        return tuple(mark for _, mark in sorted(self.made, key=lambda it: it[0]))


def sentence(drawn: int, rest: int, what: str, how: str) -> list[str]:
    """What is said where some things are summed up; nothing where all are drawn."""
    if not rest:
        return []

    return [f"{drawn:,} of {drawn + rest:,} {what} are drawn one by one; {how}."]


def joined(parts: Sequence[str]) -> str:
    """Parts of a line that are not empty."""
    return ", ".join(it for it in parts if it)
