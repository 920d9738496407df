"""Slots side by side: those that never overlap share a lane."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from memhub.maps.address_map import MapSlot, Piece
    from memhub.maps.scale import PieceScale

    _Placed = TypeVar("_Placed", MapSlot, "SlotBox")


class SlotBox(NamedTuple):
    """What stands in one box: a slot, or several that are too small to stand alone.

    Attributes:
        base: first byte of the box; of small slots, that of the piece that they lie in.
        end: one past the last byte.
        first: the number of the first slot.
        slots: the slots.
    """

    base: int
    end: int
    first: int
    slots: tuple[MapSlot, ...]


def box_slots(
    slots: Iterable[MapSlot], pieces: Sequence[Piece], scale: PieceScale, least: float
) -> list[SlotBox]:
    """Boxes that are high enough for a label.

    A slot that is smaller than a label has the box of the piece that it lies in, which sums up more
    than the slot; with it, all others of that kind in the piece.

    Args:
        slots: in any order.
        pieces: what is drawn one by one, in order.
        scale: where addresses are.
        least: pixels that a label needs.
    """
    bases = [it.base for it in pieces]
    found: list[SlotBox] = []
    small: dict[tuple[int, int], list[MapSlot]] = {}
    for it in slots:
        if scale.place(it.end) - scale.place(it.base) >= least:
            found.append(SlotBox(it.base, it.end, it.first, (it,)))
            continue

        low = pieces[max(bisect_right(bases, it.base) - 1, 0)]
        high = pieces[max(bisect_right(bases, it.end - 1) - 1, 0)]
        small.setdefault((low.base, high.end), []).append(it)

    for (base, end), some in small.items():
        found.append(SlotBox(base, end, some[0].first, tuple(some)))

    return found


def lanes_of(slots: Iterable[_Placed]) -> list[list[_Placed]]:
    """The fewest lanes, each of slots in the order of addresses; larger slots stand further left.

    Args:
        slots: in any order.
    """
    lanes: list[list[_Placed]] = []
    for it in sorted(slots, key=lambda slot: (slot.base, -slot.end, slot.first)):
        lane = next((some for some in lanes if some[-1].end <= it.base), None)
        if lane is None:
            lanes.append([it])
        else:
            lane.append(it)

    return lanes
