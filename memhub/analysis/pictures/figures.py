"""All pictures of a log, or those of one view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.analysis.pictures.contention_chart import contention_chart
from memhub.analysis.pictures.latency_chart import latency_chart
from memhub.analysis.pictures.memory_map import memory_map
from memhub.analysis.pictures.moments import find_moments
from memhub.analysis.pictures.occupancy_chart import occupancy_chart
from memhub.analysis.pictures.timeline import timeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.analysis.pictures.figure import Figure
    from memhub.analysis.pictures.history import History

#: What can be drawn, in the order of the page.
VIEWS: Final = ("timeline", "map", "occupancy", "contention", "latency")


def draw(history: History, view: str | None = None) -> list[Figure]:
    """The pictures of a log, in the order of the page.

    Args:
        history: what is drawn.
        view: one of VIEWS; all if None.
    """
    if not history.machines:
        return []

    views = VIEWS if view is None else (view,)

    return [figure for it in views for figure in _of_view(history, it) if figure is not None]


def _of_view(history: History, view: str) -> Iterator[Figure | None]:
    machines = [*enumerate(history.machines)]
    if view == "timeline":
        yield from (timeline(history, it, f"timeline-{place}") for place, it in machines)
    elif view == "map":
        moments = find_moments(history)
        yield from (memory_map(history, it, moments, f"map-{place}") for place, it in machines)
    elif view == "occupancy":
        yield from (occupancy_chart(history, it, f"occupancy-{place}") for place, it in machines)
    elif view == "contention":
        yield contention_chart(history, "contention")
    elif view == "latency":
        yield latency_chart(history, "latency")
