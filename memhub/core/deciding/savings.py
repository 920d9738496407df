"""Which ranges of a full table could be fewer, while every address keeps its type.

A way to save is tried on the driver before it is told: the ranges are removed, others are put in
their place, the types are compared, and the request that was refused is asked again.
"""

from __future__ import annotations

from itertools import chain, islice, pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from memhub.abi import (
    FLAG_OF_TYPE,
    MDF_ACTIVE,
    MDF_ATTRMASK,
    MDF_BOGUS,
    MDF_FIXACTIVE,
    MEMRANGE_SET_REMOVE,
    MEMRANGE_SET_UPDATE,
    PAGE_SIZE,
    TYPE_OF_FLAG,
    RangeDesc,
)
from memhub.core.deciding.conflicts import check_plan_types
from memhub.core.effective.typemap import TypeMap
from memhub.core.requests import SetRange
from memhub.errors import DeviceError, DriverFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from memhub.core.drivers.driver import RangeState
    from memhub.core.files import Principal
    from memhub.core.machine import Machine
    from memhub.planner.fewest import Register
    from memhub.planner.kept import KeptMap

#: Stretches of one type that are looked at, at most.
_STRETCHES_MAX: Final = 512
#: Slots of a table that is searched for more than neighbours, at most.
SEARCHED_MAX: Final = 32
#: Ways that are tried times slots of the table, at most, and ways that are tried in any table.
_TRIED_SLOTS_MAX: Final = 1 << 14
_TRIED_LEAST: Final = 4
_FIXED_END: Final = 1 << 20


class Saving(NamedTuple):
    """Ranges that can be fewer.

    Attributes:
        removed: the slots to remove.
        put: what to set then, in order; fewer than were removed.
    """

    removed: tuple[int, ...]
    put: tuple[RangeDesc, ...]


class Savings:
    """The search for one request that was refused because no slot is free.

    Args:
        machine: the machine; no slot of its table is free.
        process: who asked.
        request: the request.
        slots: the slots that could hold it.
    """

    def __init__(
        self, machine: Machine, process: Principal, request: SetRange, slots: Sequence[int]
    ) -> None:
        table = machine.require_table()
        self._machine = machine
        self._process = process
        self._driver = table.driver
        self._state = table.state
        self._types = table.types
        self._request = request
        self._slots = slots
        # Masks with holes may make more stretches than can be listed and compared.
        self._listed = type(table.types) is TypeMap

    def find(self, process: Principal | None, slots: Sequence[int]) -> tuple[Saving | None, bool]:
        """A way to save one of these slots, the one that changes the least first.

        Args:
            process: who would do it: what others hold keeps its types at each step; None for all
                who hold some of the slots.
            slots: the slots that may be removed.

        Returns:
            the way, or None; and whether it is proved that there is none.

        Raises:
            DriverFailed: EIO; the driver failed.
        """
        few = len(self._slots) <= SEARCHED_MAX
        if not self._listed:
            slots = [it for it in slots if not self._state.slots[it].mr_flags & MDF_BOGUS]

        idle = self._idle(slots) if self._listed else self._covered(slots)
        most = max(_TRIED_LEAST, _TRIED_SLOTS_MAX // len(self._slots))
        tried = islice(chain(idle if few else (), self._pairs(slots)), most)
        found = next((it for it in tried if self._works(process, it)), None)

        if found is not None or not few or not self._listed:
            return found, False

        return self._find_planned(process, slots)

    def _find_planned(
        self, process: Principal | None, slots: Sequence[int]
    ) -> tuple[Saving | None, bool]:
        """A way by the exact planner; see `find`."""
        kept = self._kept_map()
        if kept is None:
            return None, False

        free, put = self._plan(kept, slots)
        if len(put) >= len(free):
            return None, True

        for slot in free:
            fewer, instead = self._plan(kept, [it for it in free if it != slot])
            if len(instead) < len(fewer):
                free, put = fewer, instead

        saving = Saving(tuple(free), tuple(self._desc_of(it, free[0]) for it in put))

        return (saving if self._works(process, saving) else None), False

    # Candidates

    def _idle(self, slots: Iterable[int]) -> Iterator[Saving]:
        for slot in slots:
            yield Saving((slot,), ())

    def _covered(self, slots: Sequence[int]) -> Iterator[Saving]:
        """Ranges inside another of the same type, which decide nothing whatever else there is."""
        rows = self._state.slots
        for slot in slots:
            own = rows[slot]
            around = (rows[it] for it in slots if it != slot)
            if any(
                it.mr_base <= own.mr_base
                and own.mr_end <= it.mr_end
                and _attributes(it) == _attributes(own)
                for it in around
            ):
                yield Saving((slot,), ())

    def _pairs(self, slots: Iterable[int]) -> Iterator[Saving]:
        """Two neighbours of one type; the driver refuses what is not one range for it."""
        rows = self._state.slots
        ordered = sorted(slots, key=lambda it: (rows[it].mr_base, rows[it].mr_len))
        for one, other in pairwise(ordered):
            low, high = rows[one], rows[other]
            if low.mr_end == high.mr_base and _attributes(low) == _attributes(high):
                length = low.mr_len + high.mr_len
                both = RangeDesc(low.mr_base, length, _attributes(low), low.mr_owner)
                yield Saving(tuple(sorted((one, other))), (both,))

    def _plan(self, kept: KeptMap, slots: Iterable[int]) -> tuple[list[int], list[Register]]:
        """The fewest registers in the place of some slots.

        Returns:
            the slots that would be removed, and what would be put in their place.
        """
        from memhub.planner.fewest import NoPlan, plan_registers  # here: few tables are full

        replaced = set(slots)
        held = [self._register(it) for it in self._slots if it not in replaced]
        own = {it: self._register(it) for it in sorted(replaced)}
        types = {it.type for it in own.values()} | {"UC"}
        try:
            plan = plan_registers(kept.with_held(held), default="UC", types=types)
        except NoPlan:
            return [], []

        put = list(plan.registers)
        removed = []
        for slot, register in own.items():
            if register in put:
                put.remove(register)
            else:
                removed.append(slot)

        return removed, put

    # The map

    def _kept_map(self) -> KeptMap | None:
        """The map to keep; None where the registers do not give it by the rules of MTRRs."""
        from memhub.planner.kept import KeptMap

        if any(_attributes(self._state.slots[it]) not in TYPE_OF_FLAG for it in self._slots):
            return None

        bare = self._remove(self._state, self._slots)
        if bare is None or self._takes_any_size(bare):
            return None

        have, free = _stretches(self._types), _stretches(self._driver.types(bare))
        if have is None or free is None:
            return None

        fixed = any(row.mr_flags & MDF_FIXACTIVE for row in self._state.slots)
        width = self._machine.spec.cpu.phys_bits
        kept = KeptMap(width, have, free, _FIXED_END if fixed else 0)
        registers = [self._register(it) for it in self._slots]

        return kept if kept.plain and kept.explained_by(registers) else None

    def _takes_any_size(self, bare: RangeState) -> bool:
        """Whether a range may be something else than a power of two, which is what is planned."""
        row = self._state.slots[self._slots[0]]
        odd = RangeDesc(row.mr_base, 3 * PAGE_SIZE, _attributes(row), row.mr_owner)

        return self._step(None, bare, MEMRANGE_SET_UPDATE, odd) is not None

    def _register(self, slot: int) -> Register:
        from memhub.planner.fewest import Register

        row = self._state.slots[slot]

        return Register(row.mr_base, row.mr_len, TYPE_OF_FLAG[_attributes(row)])

    def _desc_of(self, it: Register, slot: int) -> RangeDesc:
        owner = self._state.slots[slot].mr_owner

        return RangeDesc(it.base, it.size, FLAG_OF_TYPE[it.type], owner)

    # Trying

    def _works(self, process: Principal | None, saving: Saving) -> bool:
        """Whether it can be done, keeps every type, and lets the request pass."""
        state: RangeState | None = self._state
        steps = [(MEMRANGE_SET_REMOVE, self._state.slots[it]) for it in saving.removed]
        steps += [(MEMRANGE_SET_UPDATE, it) for it in saving.put]
        for arg, desc in steps:
            assert state is not None
            state = self._step(process, state, arg, desc, saving.removed)
            if state is None:
                return False

        assert state is not None
        if self._listed and not self._keeps_types(state):
            return False

        desc = self._request.desc

        return self._step(self._process, state, MEMRANGE_SET_UPDATE, desc) is not None

    def _keeps_types(self, state: RangeState) -> bool:
        """Whether a state gives each address the type that it has.

        Where that cannot be compared, it follows from what was tried: the hardware looks at which
        ranges cover an address, and neighbours of one type cover together what their sum does.
        """
        types = self._driver.types(state)
        assert isinstance(self._types, TypeMap)

        return type(types) is TypeMap and self._types.first_difference(types) is None

    def _remove(self, state: RangeState, slots: Iterable[int]) -> RangeState | None:
        """A state without some slots, whoever holds them; None if the driver keeps one."""
        for slot in slots:
            after = self._step(None, state, MEMRANGE_SET_REMOVE, self._state.slots[slot], (slot,))
            if after is None:
                return None

            state = after

        return state

    def _step(
        self,
        process: Principal | None,
        state: RangeState,
        arg: int,
        desc: RangeDesc,
        writable: Sequence[int] | None = None,
    ) -> RangeState | None:
        """The state after one request, or None if it is refused or writes another slot."""
        request = SetRange(self._request.handle, arg, desc)
        try:
            plan = self._driver.plan_set(state, request)
            if process is not None:
                check_plan_types(self._machine, process, plan)
        except DriverFailed:
            raise
        except DeviceError:
            return None

        wrote = plan.change.wrote

        return plan.after if writable is None or set(wrote) <= set(writable) else None


def _attributes(row: RangeDesc) -> int:
    return row.mr_flags & MDF_ATTRMASK


def is_plain(row: RangeDesc) -> bool:
    """Whether a slot holds a range of a type that has a name."""
    return bool(row.mr_flags & MDF_ACTIVE) and _attributes(row) in TYPE_OF_FLAG


def _stretches(types: TypeMap) -> list[tuple[int, str]] | None:
    """First byte and type of each stretch; None where they are too many."""
    found = [(it.base, it.type) for it in islice(types.segments(), _STRETCHES_MAX + 1)]

    return found if len(found) <= _STRETCHES_MAX else None
