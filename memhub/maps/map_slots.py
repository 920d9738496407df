"""The slots of a machine, as an address map shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.abi import MDF_FIXBASE
from memhub.core.neighbours import join_neighbours
from memhub.core.ranges.slot_extents import extent_of
from memhub.maps.address_map import MapSlot
from memhub.maps.signs import type_of_flags

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from memhub.core.drivers.served_kernel import KernelRange
    from memhub.core.machine import Machine


def active_slots(
    machine: Machine, held: Iterable[tuple[int, int, str, int | None]]
) -> Iterator[MapSlot]:
    """The slots of a machine's table that decide types.

    Args:
        machine: the machine.
        held: each stretch or slot that a process holds: bounds, who, and the slot.
    """
    table = machine.table
    if table is None:
        return

    holders: dict[int, list[str]] = {}
    for _, _, who, slot in held:
        if slot is not None:
            holders.setdefault(slot, []).append(who)

    for slot, desc in enumerate(table.state.slots):
        extent = extent_of(table, slot)
        if extent:
            yield MapSlot(
                slot,
                slot,
                extent.start,
                extent.stop,
                type_of_flags(desc.mr_flags),
                desc.owner,
                bool(desc.mr_flags & MDF_FIXBASE),
                tuple(dict.fromkeys(holders.get(slot, ()))),
            )


def register_slot(it: KernelRange) -> MapSlot:
    """A range of another kernel than FreeBSD, by the number that it has there."""
    end = it.base + it.length

    return MapSlot(it.register, it.register, it.base, end, it.type, it.owner, it.fixed)


def merge_slots(slots: Iterable[MapSlot]) -> Iterator[MapSlot]:
    """The slots, fixed ones that lie one behind another and are alike as one."""
    return join_neighbours(slots, _join_fixed)


def _join_fixed(last: MapSlot, it: MapSlot) -> MapSlot | None:
    goes_on = (
        it.fixed
        and last.fixed
        and (last.last + 1, last.end) == (it.first, it.base)
        and (last.type, last.owner, last.busy) == (it.type, it.owner, it.busy)
    )

    return last._replace(last=it.last, end=it.end) if goes_on else None
