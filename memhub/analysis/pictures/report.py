"""The report on a log: every picture, and the records behind the marks."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from memhub.analysis.pictures.figures import draw
from memhub.analysis.pictures.history import History
from memhub.analysis.pictures.limits import Limits
from memhub.analysis.pictures.moments import find_moments
from memhub.analysis.pictures.page import Contents
from memhub.analysis.pictures.records import read_shown
from memhub.analysis.pictures.time_axis import readable_time
from memhub.analysis.pictures.words import length_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memhub.analysis import Analysis
    from memhub.analysis.pictures.figure import Figure, Key

#: The most names that marks can be filtered by.
_PEOPLE = 200


def collect(
    log: Analysis, title: str, limits: Limits | None = None, machines: Sequence[str] = ()
) -> Contents:
    """What the page on a log holds.

    Args:
        log: open for questions.
        title: what it is called.
        limits: how much is drawn one by one.
        machines: names of those that are drawn; those with most changes if there are none.
    """
    limits = limits or Limits()
    history = History(log, limits, machines)
    figures = draw(history)
    keys = _first_keys(figures, limits.records)
    wanted = len({key for figure in figures for mark in figure.marks for key in mark.records})
    notes = [*log.notes, *_left_out(history)]
    if wanted > len(keys):
        notes.append(f"{len(keys):,} of the {wanted:,} records behind marks are in this page.")

    return Contents(
        title=title,
        facts=_facts(history),
        notes=notes,
        figures=figures,
        records=read_shown(log, keys),
        moments=find_moments(history).facts(history) if figures else (),
        people=_people(figures),
        ends=history.axis.ends,
    )


def _facts(history: History) -> dict[str, str]:
    axis = history.axis
    if not history.records:
        return {"Records": "none about a machine"}

    lasted = axis.last_ns - axis.first_ns
    refused = sum(it.refused for it in (*history.machines, *history.left_out))
    changes = sum(it.changes for it in (*history.machines, *history.left_out))

    return {
        "Records": f"{history.records:,}, of which {changes:,} changed a table and {refused:,} "
        "were refused",
        "From": readable_time(axis.first_ns),
        "To": f"{readable_time(axis.last_ns)}, {length_text(lasted)} later",
        "Machines": ", ".join(f"{it.label} ({it.arch})" for it in history.machines) or "none",
    }


def _left_out(history: History) -> list[str]:
    left = history.left_out
    if not left:
        return []

    records = sum(it.records for it in left)
    shown = ", ".join(it.label for it in left[:20]) + (", …" if len(left) > 20 else "")

    whole = len(history.machines) + len(left)
    told = f"{len(history.machines)} of {whole} machines are drawn; {records:,} records are about"

    return [f"{told} the others: {shown}."]


def _first_keys(figures: Sequence[Figure], most: int) -> list[Key]:
    """Records behind marks, of each picture in turn, so that none is without."""
    by_figure = [
        dict.fromkeys(key for mark in figure.marks for key in mark.records) for figure in figures
    ]
    found: dict[Key, None] = {}
    for some in zip_longest(*by_figure):
        for key in some:
            if key is not None and len(found) < most:
                found[key] = None

    return list(found)


def _people(figures: Sequence[Figure]) -> list[str]:
    names = {name for figure in figures for mark in figure.marks for name in mark.people}

    return sorted(names)[:_PEOPLE]
