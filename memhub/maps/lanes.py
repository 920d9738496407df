"""Slots side by side: those that never overlap share a lane."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memhub.maps.address_map import MapSlot


def lanes_of(slots: Iterable[MapSlot]) -> list[list[MapSlot]]:
    """The fewest lanes, each of slots in the order of addresses; larger slots stand further left.

    Args:
        slots: in any order.
    """
    lanes: list[list[MapSlot]] = []
    for it in sorted(slots, key=lambda slot: (slot.base, -slot.end, slot.first)):
        lane = next((some for some in lanes if some[-1].end <= it.base), None)
        if lane is None:
            lanes.append([it])
        else:
            lane.append(it)

    return lanes
