"""Who is compared: architectures with their mem(4), and kernels of plugins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Protocol

from memhub.abi import (
    MDF_ACTIVE,
    MDF_FIXACTIVE,
    MEMRANGE_SET_REMOVE,
    MEMRANGE_SET_UPDATE,
    RangeDesc,
    owner_bytes,
)
from memhub.compare.outcome import STRETCHES_MAX, Stretch
from memhub.core.ranges.range_table import RangeTable
from memhub.core.requests import SetRange
from memhub.core.spec_rules import suggest
from memhub.errors import DeviceError
from memhub.machines import pc
from memhub.plugin.comparing import UNSAID, RangeAsk, RangeTold
from memhub.plugin.kernels import KernelMachine, KernelProfile
from memhub.x86.mtrr_types import types_from_mtrrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from memhub.arches import Registry
    from memhub.compare.outcome import Map
    from memhub.compare.script import Request
    from memhub.core.drivers.driver import Arch, RangeState
    from memhub.core.effective.typemap import TypeMap
    from memhub.core.spec import MachineSpec
    from memhub.kernels import KernelBook

#: RAM of the machine that is taken where nobody says one.
ORDINARY_RAM: Final = 2 << 30
#: What makes a 32-bit kernel of one of a plugin.
_SMALL: Final = ":32"
#: The architecture whose machine gives the registers of all that have MTRRs.
_ARCH: Final = "amd64-mtrr"


class UnknownKernel(ValueError):
    """Raised for a name that is no kernel's."""


class Asked(Protocol):
    """One kernel on its machine."""

    def ask(self, it: Request) -> RangeTold:
        """Answer a request."""

    def types(self) -> Map:
        """The effective map."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """One kernel that is to be asked.

    Attributes:
        name: its name.
        arch: the architecture whose mem(4) is asked; None for a kernel of a plugin.
        profile: that kernel; None for an architecture.
        bits: of its longs, for a kernel of a plugin.
    """

    name: str
    arch: Arch | None
    profile: KernelProfile | None = None
    bits: int = 64

    def start(self, spec: MachineSpec) -> Asked:
        """Boot it on a machine.

        Raises:
            DeviceError: the driver of the architecture failed.
        """
        if self.arch is not None:
            return _Mem4(_own_spec(spec, self.arch), self.arch)

        assert self.profile is not None

        return _Kernel(self.profile, spec, self.bits)


def ordinary_machine() -> MachineSpec:
    """The machine that is taken where nobody says one."""
    return pc(arch=_ARCH, ram=ORDINARY_RAM)


def choose_kernels(
    names: Iterable[str], arches: Registry, kernels: KernelBook
) -> tuple[Chosen, ...]:
    """Find kernels by name.

    Args:
        names: architectures, kernels of plugins, patterns as `openbsd-*`, a beginning that one
            kernel alone has, or `all`; with `:32` behind it a kernel of a plugin is of 32 bits.
        arches: the architectures.
        kernels: the kernels of plugins.

    Raises:
        UnknownKernel: nothing has such a name.
    """
    known = {it: Chosen(it, arch) for it, arch in sorted(arches.items()) if arch.driver}
    for name, profile in sorted(kernels.kernels.items()):
        if profile.compared is not None:
            known[name] = Chosen(name, None, profile)

    found: dict[str, Chosen] = {}
    for name in names:
        small = name.endswith(_SMALL)
        plain = name.removesuffix(_SMALL)
        for it in _matching(plain, known):
            chosen = replace(known[it], name=it + _SMALL, bits=32) if small else known[it]
            if small and chosen.arch is not None:
                raise UnknownKernel(f"{name}: an architecture has the bits that it has")

            found[chosen.name] = chosen

    if not found:
        raise UnknownKernel(f"no kernel is named; there are {', '.join(known)}")

    return tuple(found.values())


def _matching(name: str, known: Mapping[str, Chosen]) -> list[str]:
    if name in known:
        return [name]

    if name == "all":
        return list(known)

    some = [it for it in known if fnmatchcase(it, name)]
    begun = [it for it in known if name and it.startswith(name)]
    if not some and len(begun) == 1:
        some = begun

    if not some:
        hint = suggest(name, known) or f" (there are {', '.join(known)})"
        raise UnknownKernel(f"there is no kernel {name!r}{hint}")

    return some


def _own_spec(spec: MachineSpec, arch: Arch) -> MachineSpec:
    """The machine for an architecture; one that has a processor of its own gets that, bare."""
    if arch.firmware is None:
        return pc(arch=arch.name)

    return replace(spec, arch=arch.name, options={})


class _Mem4:
    """An architecture's range ioctls, asked by one process.

    Args:
        spec: the machine.
        arch: its architecture.
    """

    def __init__(self, spec: MachineSpec, arch: Arch) -> None:
        self._table = RangeTable.attach(spec, arch)
        self._errno = arch.no_ranges.name
        self._end = 1 << spec.cpu.phys_bits

    def types(self) -> Map:
        if self._table is None:
            return (Stretch(0, self._end, "undefined"),)

        return _stretches(self._table.types)

    def ask(self, it: Request) -> RangeTold:
        if self._table is None:
            return RangeTold(self._errno, "this machine has no range operations")

        if not self._table.state.slots:
            return RangeTold("ENXIO", self._table.driver.no_slots())

        if it.by_owner:
            return self._clear_owner(self._table.state, it.owner)

        desc = RangeDesc(it.base, it.length, it.flags, owner_bytes(it.owner))
        if it.register is not None:
            rows = [row for row in self._table.state.slots if not row.mr_flags & MDF_FIXACTIVE]
            if it.register >= len(rows) or not rows[it.register].mr_flags & MDF_ACTIVE:
                return RangeTold(UNSAID, f"no range is in variable slot {it.register}")

            desc = rows[it.register]

        return self._set(MEMRANGE_SET_REMOVE if it.clear else MEMRANGE_SET_UPDATE, desc)

    def _clear_owner(self, state: RangeState, owner: str) -> RangeTold:
        """What memcontrol(8) does: a request for each; the first error counts."""
        told = RangeTold(None)
        for row in state.slots:
            flags = row.mr_flags & (MDF_ACTIVE | MDF_FIXACTIVE)
            if row.owner == owner and flags == MDF_ACTIVE:
                answer = self._set(MEMRANGE_SET_REMOVE, row)
                told = told if told.errno is not None else answer

        return told

    def _set(self, arg: int, desc: RangeDesc) -> RangeTold:
        table = self._table
        assert table is not None
        try:
            plan = table.driver.plan_set(table.state, SetRange(0, arg, desc))
        except DeviceError as error:
            return RangeTold(error.code.name, error.reason)

        changed = {*plan.change.slots, *plan.change.wrote}
        table.swap(plan.after, table.generation + 1, changed)

        return RangeTold(None)


class _Kernel:
    """A kernel of a plugin, asked by one process.

    Args:
        profile: the kernel.
        spec: the machine.
        bits: of its longs.
    """

    def __init__(self, profile: KernelProfile, spec: MachineSpec, bits: int) -> None:
        assert profile.compared is not None
        self._cpu = spec.cpu
        self._kernel = profile.compared(
            KernelMachine(cpu=spec.cpu, bits=bits, msrs=dict(spec.msrs))
        )

    def types(self) -> Map:
        msrs = self._kernel.msrs

        return _stretches(types_from_mtrrs(msrs, self._cpu.phys_bits, tom2=self._cpu.tom2))

    def ask(self, it: Request) -> RangeTold:
        if it.by_owner:
            return RangeTold(UNSAID, "ranges have no owner's label")

        return self._kernel.ask(
            RangeAsk(it.clear, it.base, it.length, it.type, it.register, it.line)
        )


def _stretches(types: TypeMap) -> Map:
    """The stretches of a map; what is beyond the limit is one of type `many`."""
    found = [
        Stretch(it.base, it.end, it.type) for it in islice(types.segments(), STRETCHES_MAX + 1)
    ]
    if len(found) > STRETCHES_MAX:
        found[-1] = Stretch(found[-1].base, types.end, "many")

    return tuple(found)


def describe_machine(spec: MachineSpec, msrs: Mapping[int, Any]) -> str:
    """A machine in words."""
    count = msrs.get(0xFE, 0) & 0xFF

    return f"{spec.cpu.vendor}, {spec.cpu.phys_bits} address bits, {count} variable ranges"


def chosen_names(chosen: Sequence[Chosen]) -> tuple[str, ...]:
    """The names of kernels."""
    return tuple(it.name for it in chosen)
