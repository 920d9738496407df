"""The range table of one machine: slots, registers, packed images, effective types.

The state is one immutable value and a fact swaps it. What is derived from it (the packed images
that MEMRANGE_GET copies, the map of effective types) is kept beside it: a swap patches the
images and drops the map.

Source: FreeBSD `sys/dev/mem/memutil.c` (mem_range_attr_get, mem_range_attr_set).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from memhub.abi import MDF_BUSY, DataModel, RangeDesc
from memhub.core.asking.asked_driver import AskedDriver

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memhub.core.drivers.driver import Arch, Change, RangeState
    from memhub.core.drivers.served_kernel import KernelState
    from memhub.core.effective.typemap import TypeMap
    from memhub.core.spec import MachineSpec

_FLAGS_OFFSET: Final = 16
_BUSY_BYTE: Final = 3
_BUSY_BIT: Final = MDF_BUSY >> (8 * _BUSY_BYTE)


class TableState(NamedTuple):
    """A state to begin with.

    Attributes:
        state: the slots and registers.
        generation: how often they had changed.
        kernel: the state of the machine's kernel, where that is another than FreeBSD.
    """

    state: RangeState
    generation: int
    kernel: KernelState | None = None


@dataclass(slots=True)
class RangeTable:
    """One machine's slots and registers, and the driver that rules them.

    Attributes:
        driver: the architecture's driver for this machine.
        state: the present state; replace it through `swap` only.
        generation: rises with each change of the state.
        first: what it began with.
        derived: something that follows from the state is kept, and needs a `refresh`.
    """

    driver: AskedDriver = field(compare=False)
    state: RangeState
    generation: int = 0
    first: TableState | None = field(default=None, compare=False, repr=False)
    derived: bool = field(default=False, compare=False)
    _images: dict[str, tuple[DataModel, bytes]] = field(
        default_factory=dict, compare=False, repr=False
    )
    _types: TypeMap | None = field(default=None, compare=False, repr=False)
    _protected: bool | None = field(default=None, compare=False, repr=False)

    @classmethod
    def attach(cls, spec: MachineSpec, arch: Arch) -> RangeTable | None:
        """Read what firmware left, as `mem_range_ops.init` does.

        Args:
            spec: the machine.
            arch: its architecture.

        Returns:
            the table; None where there are no range operations, because the architecture has
            none or its driver does not serve this CPU.

        Raises:
            DriverFailed: EIO; the driver failed.
        """
        driver = AskedDriver.make(spec, arch)
        state = None if driver is None else driver.attach(spec.msrs)

        if driver is None or state is None:
            return None

        return cls(driver, state, first=TableState(state, 0))

    def begin_at(self, start: TableState) -> None:
        """Begin with another state than the one that firmware left.

        Raises:
            ValueError: it has another number of slots.
        """
        slots, due = len(start.state.slots), len(self.state.slots)
        if slots != due:
            raise ValueError(f"the state has {slots} slots, and the machine has {due}")

        self.start_as(start.state, start.generation)

    def start_as(self, state: RangeState, generation: int) -> None:
        """Begin with a state, also one of another number of slots."""
        self.state, self.generation = state, generation
        self.first = TableState(state, generation)
        self._images.clear()
        self.refresh(())

    def __getstate__(self) -> tuple[AskedDriver, RangeState, int, TableState | None]:
        # what is derived is made anew
        return self.driver, self.state, self.generation, self.first

    def __setstate__(self, kept: tuple[AskedDriver, RangeState, int, TableState | None]) -> None:
        self.driver, self.state, self.generation, self.first = kept
        self.derived, self._images, self._types, self._protected = False, {}, None, None

    def __len__(self) -> int:
        return len(self.state.slots)

    @property
    def types(self) -> TypeMap:
        """The effective type of every address, for the present state."""
        if self._types is None:
            self._types = self.driver.types(self.state)
            self.derived = True

        return self._types

    def image(self, model: DataModel) -> bytes:
        """The whole table in the device's binary layout, nobody's slots busy."""
        kept = self._images.get(model.name)
        if kept is None:
            kept = self._images[model.name] = (model, model.pack_table(self.state.slots))
            self.derived = True

        return kept[1]

    def protection(self) -> TypeMap | None:
        """Where memory is write-protected, or None where it is nowhere."""
        if self._protected is None:
            self._protected = self.types.has("WP")

        return self.types if self._protected else None

    def swap(self, state: RangeState, generation: int, changed: Iterable[int]) -> None:
        """Make `state` the present one.

        Args:
            state: the whole new state.
            generation: its generation.
            changed: slots that differ from the present one.
        """
        self.state, self.generation = state, generation
        self.refresh(changed)

    def refresh(self, changed: Iterable[int]) -> None:
        """Bring what is derived up to the state, which differs in these slots."""
        self._types = self._protected = None
        for name, (model, image) in self._images.items():
            self._images[name] = (model, _patch_image(image, model, self.state, changed))


def with_busy(state: RangeState, slots: Iterable[int]) -> RangeState:
    """The state as a driver is to see it when `slots` belong to somebody else."""
    rows = list(state.slots)
    for slot in slots:
        row = rows[slot]
        rows[slot] = RangeDesc(row.mr_base, row.mr_len, row.mr_flags | MDF_BUSY, row.mr_owner)

    return state.with_slots(tuple(rows))


def without_busy(change: Change, state: RangeState, shown: Iterable[int]) -> Change:
    """Take out of a change the BUSY marks that a driver was shown on some slots of `state`."""
    marked = {slot for slot in shown if slot in change.slots}
    if not marked:
        return change

    clean = {
        slot: replace(
            desc, mr_flags=desc.mr_flags & ~MDF_BUSY | state.slots[slot].mr_flags & MDF_BUSY
        )
        if slot in marked
        else desc
        for slot, desc in change.slots.items()
    }

    return replace(change, slots=clean)


def mark_busy(image: bytes, model: DataModel, slots: Iterable[int]) -> bytes:
    """A copy of a packed table with MDF_BUSY set on `slots`."""
    marked = bytearray(image)
    for slot in slots:
        marked[slot * model.desc.size + _FLAGS_OFFSET + _BUSY_BYTE] |= _BUSY_BIT

    return bytes(marked)


def _patch_image(image: bytes, model: DataModel, state: RangeState, slots: Iterable[int]) -> bytes:
    patched, layout = bytearray(image), model.desc
    for slot in slots:
        row = state.slots[slot]
        layout.pack_into(
            patched, slot * layout.size, row.mr_base, row.mr_len, row.mr_flags, row.mr_owner
        )

    return bytes(patched)
