"""Stores that reach the bus while an earlier one of their process is in a combining buffer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.core.caches.change import Overtaking
from memhub.core.instant import make_tuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.core.caches.lines import Buffer

#: Overtakings that are remembered.
_OVERTAKINGS_MOST: Final = 64


def add_overtaking(
    known: tuple[Overtaking, ...],
    held: Mapping[int, Buffer],
    span: tuple[int, int],
    process: int,
    order: int,
) -> tuple[Overtaking, ...]:
    """The overtakings after a store has reached the bus; the same ones if it overtakes none.

    Args:
        known: those before, the newest last.
        held: the buffers of the process.
        span: the first byte of the store, and one past its last.
        process: whose store it is.
        order: its number.
    """
    if not any(buffer.stores[0].order < order for buffer in held.values()):
        return known

    base, end = span
    if known and known[-1].process == process and known[-1].end == base:
        before = known[-1]
        if not _is_between(held, before.order, order):
            base, order, known = before.base, min(order, before.order), known[:-1]

    return (*known[1 - _OVERTAKINGS_MOST :], make_tuple(Overtaking, (base, end, process, order)))


def _is_between(held: Mapping[int, Buffer], one: int, other: int) -> bool:
    """Whether buffers hold what was stored between two stores."""
    low, high = min(one, other), max(one, other)

    return low != high and any(
        low <= it.order < high for buffer in held.values() for it in buffer.stores
    )
