"""The hazards of a machine: those that it met, and those that are open now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.core.caches.device import tell_undrained
from memhub.core.caches.work import Work

if TYPE_CHECKING:
    from memhub.core.caches.hazards import Hazard
    from memhub.core.caches.state import Caches


def hazards_of(caches: Caches | None) -> list[Hazard]:
    """The hazards of a machine, the first met first.

    Buffers that are not drained now are hazards too (`undrained-buffers`), until a fence. A
    coherent machine, whose caches are None, has none.
    """
    if caches is None:
        return []

    work = Work(caches, recorded=False)
    for buffers in caches.buffers.values():
        tell_undrained(work, next(iter(buffers.values())).who, "has made no fence since the store")

    found = dict(caches.hazards)
    for key, (before, hazard) in work.hazards.items():  # which no record has met
        found[key] = hazard._replace(seen=None) if before is None else before

    return list(found.values())
