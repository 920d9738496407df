"""A range driver that is a plain list: slots in memory, no register behind them to read back.

FreeBSD's K6 and PowerPC drivers share this shape, and it is where a new architecture without
range registers can start.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Final

from memhub.abi import RangeDesc
from memhub.core.drivers import range_refusals as refusals
from memhub.core.drivers.driver import NO_REGISTERS, Change, RangeDriver, RangeState
from memhub.core.effective.typemap import TypeMap
from memhub.errors import InvalidRange, RangeExists

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What a slot without a range holds.
EMPTY: Final = RangeDesc(0, 0)


class SoftwareRangeDriver(RangeDriver):
    """Slots that hold what they are given; one whose `mr_len` is 0 is free.

    The walk is the kernels': the first free slot is taken before a later duplicate is seen, and
    REMOVE of base 0 and length 0 finds a free slot and succeeds. MDF_BUSY is not tested, as no
    such kernel tests it; the machine's own rule holds. A subclass with an `update` of its own has a
    walk of its own: it says itself if that stops at the first free slot.

    Args:
        slots: how many slots there are.
        address_bits: `update` refuses ranges that end above 2**address_bits; `cpu.phys_bits`.
    """

    stops_at_free = True

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "update" in vars(cls) and "stops_at_free" not in vars(cls):
            cls.stops_at_free = False

    def __init__(self, slots: int, address_bits: int = 64) -> None:
        self._empty = (EMPTY,) * slots
        self._address_bits = address_bits

    @abstractmethod
    def stored(self, desc: RangeDesc) -> RangeDesc:
        """The descriptor that an UPDATE leaves in its slot.

        Raises:
            DeviceError: the request is not one that the hardware can hold.
        """

    @abstractmethod
    def type_of(self, desc: RangeDesc) -> str | None:
        """The memory type inside a slot's range (`UC`, `WC`, …), or None for the default."""

    def attach(self, msrs: Mapping[int, int]) -> RangeState:
        """Every slot is free; the registers are kept as they are."""
        return RangeState(self._empty, msrs)

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        """Put the range into the first free slot.

        Raises:
            RangeExists: a slot before the first free one holds the same base and length.
            NoSpace: no slot is free.
            InvalidRange: it ends above the addresses.
            DeviceError: `stored` refuses the request.
        """
        new = self.stored(desc)
        if desc.mr_end > 1 << self._address_bits:
            raise InvalidRange(f"{desc.mr_end:#x} is above the {self._address_bits} address bits")

        for slot, row in enumerate(state.slots):
            if not row.mr_len:
                return _make_change(state, {slot: new})

            if row.mr_base == desc.mr_base and row.mr_len == desc.mr_len:
                raise RangeExists(
                    f"{refusals.describe(slot, row)} already holds this range: remove it first",
                    obstacles=(refusals.obstacle("overlap", slot, row),),
                )

        raise refusals.full(desc, enumerate(state.slots))

    def remove(self, state: RangeState, desc: RangeDesc) -> Change:
        """Clear the first slot with the same base and length.

        Raises:
            NoSuchRange: there is none.
        """
        for slot, row in enumerate(state.slots):
            if row.mr_base == desc.mr_base and row.mr_len == desc.mr_len:
                return _make_change(state, {slot: EMPTY})

        raise refusals.absent(desc, enumerate(state.slots))

    def restore(
        self,
        state: RangeState,
        slots: Mapping[int, RangeDesc],
        earlier: Mapping[int, int] = NO_REGISTERS,
    ) -> Change:
        """Put the descriptors back as they are given."""
        return _make_change(state, slots)

    def types(self, state: RangeState) -> TypeMap:
        """Each range's type over default write-back; of overlapping slots the first decides."""
        rows = [
            (
                row.mr_base,
                row.mr_end,
                self.type_of(row) or "WB",
                refusals.describe(slot, row),
            )
            for slot, row in enumerate(state.slots)
            if row.mr_len
        ]

        return TypeMap.from_ranges("WB", rows)

    def extent(self, state: RangeState, slot: int) -> tuple[int, int]:
        """The slot's own range, ACTIVE or not, and nothing for a free slot."""
        row = state.slots[slot]

        return (row.mr_base, row.mr_end) if row.mr_len else (0, 0)


def _make_change(state: RangeState, slots: Mapping[int, RangeDesc]) -> Change:
    different = {slot: desc for slot, desc in slots.items() if state.slots[slot] != desc}

    return Change(tuple(slots), different)
