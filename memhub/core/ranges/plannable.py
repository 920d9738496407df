"""What can be planned for a machine, found out by asking its range driver.

The planner knows registers that each cover an aligned block whose size is a power of two from 4096
bytes on, and that mix as MTRRs do where they overlap. Whether a driver's are such is asked.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Final, NamedTuple

from memhub.abi import (
    FLAG_OF_TYPE,
    MDF_ATTRMASK,
    MDF_FIXBASE,
    MEMRANGE_SET_REMOVE,
    MEMRANGE_SET_UPDATE,
    RangeDesc,
)
from memhub.core.ranges.firmware import settle_firmware
from memhub.core.ranges.range_table import RangeTable
from memhub.core.ranges.slot_extents import used_slots
from memhub.core.requests import SetRange
from memhub.core.spec import UnsaidRegisters
from memhub.errors import DeviceError, DriverFailed
from memhub.planner.mixing import CLASH, TYPES, mix_types
from memhub.planner.wanted import PAGE

if TYPE_CHECKING:
    from memhub.core.drivers.driver import Arch, RangeState
    from memhub.core.spec import MachineSpec

#: Where ranges are tried: 1 GiB, above all that firmware describes and below 4 GiB.
_PLACE: Final = 1 << 30
_BLOCK: Final = 1 << 20
_OWNER: Final = b"plan\0\0\0\0"


class NotPlannable(ValueError):
    """Raised where the planner does not know the rules of a machine's ranges."""


class Hardware(NamedTuple):
    """What a machine has to plan with.

    Attributes:
        types: the types that a register may have.
        width: physical address bits.
        slots: how many registers there are, those in use with them.
        fixed: whether fixed ranges decide below 1 MiB.
        apart: pairs of types whose ranges the driver does not let overlap.
        default: the type of what no range covers, where no register decides it; else None.
    """

    types: tuple[str, ...]
    width: int
    slots: int
    fixed: bool
    apart: frozenset[frozenset[str]] = frozenset()
    default: str | None = None


def read_hardware(spec: MachineSpec, arch: Arch) -> Hardware:
    """Ask a machine's driver what can be planned.

    Args:
        spec: the machine; what it does not say is that of an ordinary one.
        arch: its architecture.

    Raises:
        NotPlannable: it has no ranges, or not such as the planner knows; says which rule differs.
        OptionError: an option of the architecture is wrong.
        DriverFailed: EIO; the driver failed.
    """
    spec = settle_firmware(spec, arch)
    table = RangeTable.attach(spec, arch)
    if table is None or not table.state.slots:
        raise NotPlannable(f"it has no ranges{_hint_for(spec, arch)}")

    trial = _Trial(table)
    types = tuple(it for it in TYPES if trial.grants(it, PAGE))
    if not types:
        raise NotPlannable(_shortest(trial))

    if any(trial.grants(it, 3 * PAGE) for it in types):
        raise NotPlannable(
            "one of its ranges covers any whole pages, so each stretch of a map takes one"
        )

    pairs = [it for it in product(types, repeat=2) if it[0] != it[1]]
    apart = {frozenset(it) for it in pairs if not trial.may_overlap(*it)}
    slots = table.state.slots
    fixed = [row for row in slots if row.mr_flags & MDF_FIXBASE]

    variable = len(slots) - len(fixed)

    return Hardware(
        types, spec.cpu.phys_bits, variable, bool(fixed), frozenset(apart), trial.default
    )


def _hint_for(spec: MachineSpec, arch: Arch) -> str:
    """What a description lacks that has memory only: such a machine has its MTRRs off."""
    if arch.firmware is None or not spec.cpu.mtrr or not isinstance(spec.msrs, UnsaidRegisters):
        return ""

    return (
        f", as its description has memory and no registers, which leaves MTRRs off: a table "
        f"[machines.{spec.name}.mtrr], even an empty one, turns them on; without an architecture "
        f"the hardware alone is planned for"
    )


def _shortest(trial: _Trial) -> str:
    size = PAGE
    while size < _PLACE:
        size *= 2
        if any(trial.grants(it, size) for it in TYPES):
            return f"its shortest range has {size:#x} bytes, and {PAGE:#x} are planned with"

    return "it grants no range"


def _in_plan(it: tuple[str, int]) -> int:
    return TYPES.index(it[0])


class _Trial:
    """A table without its variable ranges, on which ranges are tried."""

    def __init__(self, table: RangeTable) -> None:
        self._driver = table.driver
        state = table.state
        for slot in used_slots(table):
            row = table.state.slots[slot]
            if not row.mr_flags & MDF_FIXBASE:
                plain = RangeDesc(row.mr_base, row.mr_len, row.mr_flags & MDF_ATTRMASK)
                state = self._step(state, MEMRANGE_SET_REMOVE, plain) or state

        self._bare = state
        self.default = None if state.msrs else self._driver.types(state).at(_PLACE)

    def grants(self, type_: str, size: int) -> bool:
        """Whether a range of a type and a size is granted, and gives the type."""
        state = self._put(self._bare, type_, size)

        return state is not None and self._driver.types(state).at(_PLACE) == type_

    def may_overlap(self, outer: str, inner: str) -> bool:
        """Whether a range may lie inside one of another type; they are set as a plan has them.

        Raises:
            NotPlannable: the two together are not what MTRRs make of them.
        """
        both: RangeState | None = self._bare
        for type_, size in sorted([(outer, _BLOCK), (inner, PAGE)], key=_in_plan):
            both = None if both is None else self._put(both, type_, size)

        due = mix_types(outer, inner)
        if both is None or due == CLASH:
            return both is not None

        got = self._driver.types(both).at(_PLACE)
        if got != due:
            raise NotPlannable(f"{inner} inside {outer} is {got}, and {due} is planned with")

        return True

    def _put(self, state: RangeState, type_: str, size: int) -> RangeState | None:
        desc = RangeDesc(_PLACE, size, FLAG_OF_TYPE[type_], _OWNER)

        return self._step(state, MEMRANGE_SET_UPDATE, desc)

    def _step(self, state: RangeState, arg: int, desc: RangeDesc) -> RangeState | None:
        try:
            return self._driver.plan_set(state, SetRange(0, arg, desc)).after
        except DriverFailed:
            raise
        except DeviceError:
            return None
