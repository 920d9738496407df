"""The range table of one machine: slots, registers, packed images, effective types.

The state is one immutable value and a change swaps it. What is derived from it (the packed
image that MEMRANGE_GET copies, the map of effective types) is kept beside it: a change patches
the image and drops the map.

Source: FreeBSD `sys/dev/mem/memutil.c` (mem_range_attr_get, mem_range_attr_set).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from memhub.abi import MDF_BUSY, DataModel, RangeDesc

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memhub.core.driver import Change, RangeDriver, RangeState
    from memhub.core.types.typemap import TypeMap

_FLAGS_OFFSET = 16
_BUSY_BYTE = 3
_BUSY_BIT = MDF_BUSY >> (8 * _BUSY_BYTE)


#: Bounds that any others widen.
_NOWHERE: Final = (1 << 65, 0)


class RangeTable:
    """One machine's slots and registers, and the driver that rules them.

    Attributes:
        driver: the architecture's driver for this machine.
        state: the present state; replace it through `swap` only.
        generation: counts the swaps.
    """

    def __init__(self, driver: RangeDriver, state: RangeState) -> None:
        self.driver = driver
        self.state = state
        self.generation = 0
        self._images: dict[str, bytes] = {}
        self._types: TypeMap | None = None
        self._after: tuple[Change, RangeState, RangeState] | None = None

    def __len__(self) -> int:
        return len(self.state.slots)

    @property
    def types(self) -> TypeMap:
        """The effective type of every address, for the present state."""
        if self._types is None:
            self._types = self.driver.types(self.state)

        return self._types

    def image(self, model: DataModel) -> bytes:
        """The whole table in the device's binary layout, nobody's slots busy."""
        image = self._images.get(model.name)
        if image is None:
            image = self._images[model.name] = model.pack_table(self.state.slots)

        return image

    def swap(
        self, state: RangeState, changed: Iterable[int], models: tuple[DataModel, ...]
    ) -> None:
        """Make `state` the present one.

        Args:
            state: the whole new state.
            changed: slots that differ from the present one.
            models: the data models whose images are kept.
        """
        self.state = state
        self.generation += 1
        self._types = self._after = None
        rows = list(changed)
        for model in models:
            image = self._images.get(model.name)
            if image is not None:
                self._images[model.name] = _patch(image, model, state, rows)

    def busy_view(self, slots: Iterable[int]) -> RangeState:
        """The state as a driver is to see it when `slots` belong to somebody else."""
        rows = list(self.state.slots)
        for slot in slots:
            row = rows[slot]
            rows[slot] = RangeDesc(row.mr_base, row.mr_len, row.mr_flags | MDF_BUSY, row.mr_owner)

        return self.state.with_slots(tuple(rows))

    def hull(self, change: Change) -> tuple[int, int]:
        """Bounds outside which `change` alters no byte's type."""
        now, after, extent = self.state, self.after(change), self.driver.extent
        first, end = _NOWHERE
        for slot in change.slots:
            for lo, hi in (extent(now, slot), extent(after, slot)):
                if lo < hi:
                    first, end = min(first, lo), max(end, hi)

        return (first, end) if first < end else (0, 0)

    def after(self, change: Change) -> RangeState:
        """The state that `change` makes of the present one; kept, as it is asked for again."""
        kept = self._after
        if kept is None or kept[0] is not change or kept[1] is not self.state:
            kept = self._after = (change, self.state, self.state.apply(change))

        return kept[2]

    def reach(self, change: Change) -> tuple[int, int]:
        """The hull of all that `change` writes, altered or not."""
        after = self.after(change).slots
        written = {slot: after[slot] for slot in change.wrote}

        return self.hull(replace(change, slots={**written, **change.slots}))


def mark_busy(image: bytes, model: DataModel, slots: Iterable[int]) -> bytes:
    """A copy of a packed table with MDF_BUSY set on `slots`."""
    marked = bytearray(image)
    for slot in slots:
        marked[slot * model.desc.size + _FLAGS_OFFSET + _BUSY_BYTE] |= _BUSY_BIT

    return bytes(marked)


def _patch(image: bytes, model: DataModel, state: RangeState, rows: list[int]) -> bytes:
    patched = bytearray(image)
    for slot in rows:
        desc = state.slots[slot]
        model.desc.pack_into(
            patched,
            slot * model.desc.size,
            desc.mr_base,
            desc.mr_len,
            desc.mr_flags,
            desc.mr_owner,
        )

    return bytes(patched)
