"""Facts to rows. The fields are those of `schema.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.audit.rows.caches import CACHE_WRITERS
from memhub.audit.rows.claims import CLAIM_WRITERS
from memhub.audit.rows.faults import FAULT_WRITERS
from memhub.audit.rows.files import FILE_WRITERS
from memhub.audit.rows.hardware import HARDWARE_WRITERS
from memhub.audit.rows.held import HELD_WRITERS
from memhub.audit.rows.kernels import KERNEL_WRITERS
from memhub.audit.rows.memory import MEMORY_WRITERS
from memhub.audit.rows.ranges import RANGE_WRITERS
from memhub.audit.rows.service import SERVICE_WRITERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.core.events import Event
    from memhub.core.service_events import ServiceEvent

    Row = dict[str, Any]

#: Writers by the kind of fact: fact and moment of the record in, row out.
WRITERS: Final[Mapping[type, Callable[[Any, int], Row]]] = {
    **FILE_WRITERS,
    **HELD_WRITERS,
    **MEMORY_WRITERS,
    **CACHE_WRITERS,
    **RANGE_WRITERS,
    **CLAIM_WRITERS,
    **SERVICE_WRITERS,
    **FAULT_WRITERS,
    **HARDWARE_WRITERS,
    **KERNEL_WRITERS,
}


def row_of(event: Event | ServiceEvent, ended_ns: int) -> Row | None:
    """The row of a fact.

    Args:
        event: the fact.
        ended_ns: the moment of the record, monotonic nanoseconds; what began earlier took the
            time between.

    Returns:
        a flat record without its place in the chain; None for a fact that leaves no record.
    """
    writer = WRITERS.get(type(event))

    return None if writer is None else writer(event, ended_ns)
