"""Another kernel than FreeBSD on a machine: its state beside the machine's, and how that changes.

The registers of CPU 0 are the machine's, so that effective types follow them; the slots of its
table are what FreeBSD's driver would read there.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from memhub.abi import LP64, MDF_ACTIVE, MDF_FIRMWARE
from memhub.core.drivers.driver import RangeState
from memhub.core.drivers.served_kernel import FREEBSD, KernelMachine
from memhub.core.ranges.range_table import RangeTable, TableState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memhub.abi import RangeDesc
    from memhub.core.drivers.driver import Arch
    from memhub.core.drivers.served_kernel import (
        KernelCall,
        KernelRange,
        KernelRanges,
        KernelState,
        Registers,
        ServedKernel,
    )
    from memhub.core.files import Caller
    from memhub.core.instant import Instant
    from memhub.core.spec import MachineSpec
    from memhub.errors import DeviceError

#: The label of what the kernel has written.
_OWNER: Final = b"kernel\0\0"
_X86_VENDORS: Final = frozenset({"Intel", "AMD", "Hygon", "Centaur", "Cyrix", "Zhaoxin"})


@dataclass(slots=True)
class Served:
    """The kernel of a machine.

    Attributes:
        kernel: its rules.
        machine: what it booted on.
        state: its present state; only `Machine.apply` and `unapply` change it.
        booted: its state after boot.
        first: the state that the machine began with: after boot, or where a log ended.
        boot_log: level and text of what it printed at boot.
    """

    kernel: ServedKernel = field(repr=False, compare=False)
    machine: KernelMachine = field(repr=False)
    state: KernelState
    booted: KernelState = field(compare=False, repr=False)
    first: KernelState = field(compare=False, repr=False)
    boot_log: tuple[tuple[str, str], ...] = field(compare=False, repr=False)

    def ranges(self) -> KernelRanges | None:
        """The ranges that the kernel has now; None where the machine's slots are those."""
        return self.kernel.ranges(self.machine, self.state)

    def ranges_at(self, address: int) -> Sequence[KernelRange] | None:
        """Those of them that decide the type of an address; None where the slots do."""
        decides, ranges = self.kernel.range_decides, self.ranges()
        if ranges is None:
            return None

        return [it for it in ranges.used if decides(self.machine, self.state, it, address)]

    def meant_by(self, call: KernelCall) -> tuple[int, int] | None:
        """Base and length of the range that a call means by its number; None for none."""
        register = self.kernel.register_of(call)
        ranges = None if register is None else self.ranges()
        used = () if ranges is None else ranges.used

        return next(((it.base, it.length) for it in used if it.register == register), None)

    def why_dead(self) -> str:
        """Why the kernel answers nothing more, and how to go on; empty while it lives."""
        return self.kernel.why_dead(self.state)


class KernelCalled(NamedTuple):
    """A call was answered by another kernel than FreeBSD.

    Attributes:
        machine, arch: the machine's name, and its architecture's.
        caller: who called through an open file; None for a driver, or the machine itself.
        at: when; it was asked for at `began_ns`, monotonic nanoseconds.
        call: the call.
        value: the answer, as `KernelAnswer` has it.
        error: why it was refused.
        log: what the kernel printed.
        kernels: the kernel's state before and after.
        states: the range state before and after; None without ranges.
        generation: the table's generation after it.
        meant: base and length of the range that the call means by its number, as it was before.
    """

    machine: str
    arch: str
    caller: Caller | None
    at: Instant
    began_ns: int
    call: KernelCall
    value: Any
    error: DeviceError | None
    log: tuple[tuple[str, str], ...]
    kernels: tuple[KernelState, KernelState]
    states: tuple[RangeState, RangeState] | None
    generation: int
    meant: tuple[int, int] | None = None

    @property
    def changes(self) -> bool:
        """Whether anything became different."""
        return self.kernels[0] is not self.kernels[1]


def boot_served(spec: MachineSpec, arch: Arch, table: RangeTable | None) -> Served | None:
    """Boot the kernel that a machine names; None for FreeBSD.

    Args:
        spec: the machine.
        arch: its architecture.
        table: its ranges, which begin with the registers that the kernel leaves.

    Raises:
        ValueError: there is no such kernel, or it does not run on the machine.
        OptionError: one of its options is wrong.
    """
    name = spec.kernel_name
    if name == FREEBSD:
        return None

    kernel: ServedKernel = arch.find_kernel(name)
    machine = KernelMachine(
        cpu=spec.cpu,
        bits=64 if arch.model is LP64 else 32,
        x86=_is_x86(arch),
        msrs=dict(spec.msrs),
        ram=tuple((it.base, it.base + it.length) for it in spec.memory if it.kind == "ram"),
        options=spec.kernel_options,
    )
    booted = kernel.boot(machine)
    if table is not None:
        table.begin_at(TableState(range_state(table, booted.state.msrs), 0))

    state = booted.state

    return Served(kernel, machine, state, state, state, booted.log)


def go_on_at(served: Served, start: TableState) -> None:
    """Begin with another state than that after boot.

    Raises:
        ValueError: it has none for such a kernel.
    """
    if start.kernel is None:
        raise ValueError("what it is to begin with has no state of its kernel")

    served.state = served.first = start.kernel


def why_no_ranges(spec: MachineSpec, arch: Arch, served: Served | None) -> str:
    """Why a machine without a table has no range operations, in words."""
    name, cpu = spec.name, spec.cpu
    ranges = None if served is None else served.ranges()
    if ranges is not None and ranges.total:
        whose = f"of the {ranges.total} ranges of {name}'s processor"
        return f"no architecture makes memory types {whose}, which {spec.kernel_name} has"

    if arch.driver is not None:
        processor = f"{cpu.vendor}, signature {cpu.signature:#x}{'' if cpu.mtrr else ', no MTRRs'}"
        return f"{name} has no range operations: {arch.name} finds none on its CPU ({processor})"

    return f"{name} has no range operations ({arch.name}: {arch.summary})"


def _is_x86(arch: Arch) -> bool:
    """Whether an architecture's machines are PCs, or its own processor is one that PCs have."""
    return arch.firmware is not None or (arch.cpu is not None and arch.cpu.vendor in _X86_VENDORS)


def range_state(table: RangeTable, msrs: Registers, before: RangeState | None = None) -> RangeState:
    """The range state of some registers: slots as the driver reads them.

    Args:
        table: the machine's ranges.
        msrs: the registers.
        before: the state before, of which what is alike is kept; what differs is labelled as the
            kernel's. None is the present one.
    """
    before = before or table.state
    if msrs == before.msrs or not changed_registers(before.msrs, msrs):
        return before

    read = table.driver.attach(msrs)
    if read is None or len(read.slots) != len(before.slots):
        return RangeState(before.slots, msrs)

    pairs = zip(before.slots, read.slots, strict=True)

    return RangeState(tuple(_label(old, new) for old, new in pairs), msrs)


def _label(old: RangeDesc, new: RangeDesc) -> RangeDesc:
    flags = new.mr_flags & ~MDF_FIRMWARE
    if (old.mr_base, old.mr_len, old.mr_flags & ~MDF_FIRMWARE) == (new.mr_base, new.mr_len, flags):
        return old

    owner = _OWNER if flags & MDF_ACTIVE else bytes(len(_OWNER))

    return replace(new, mr_flags=flags, mr_owner=owner)


def changed_registers(before: Registers, after: Registers) -> dict[int, int]:
    """The registers that have another value; one that is absent reads as zero."""
    numbers = {**before, **after}

    return {it: after.get(it, 0) for it in numbers if before.get(it, 0) != after.get(it, 0)}


class RunsKernel(Protocol):
    """The part of a machine that a call changes; see `Machine`."""

    table: RangeTable | None
    served: Served | None


def apply_call(machine: RunsKernel, it: KernelCalled) -> None:
    """Make what a call changed true."""
    _put(machine, it, 1, it.generation)


def unapply_call(machine: RunsKernel, it: KernelCalled) -> None:
    """Take it back."""
    changed = it.states is not None and it.states[0] is not it.states[1]
    _put(machine, it, 0, it.generation - changed)


def _put(machine: RunsKernel, it: KernelCalled, side: int, generation: int) -> None:
    assert machine.served is not None
    machine.served.state = it.kernels[side]
    if it.states is not None and it.states[0] is not it.states[1]:
        assert machine.table is not None
        now, before = it.states[side], it.states[1 - side]
        pairs = enumerate(zip(now.slots, before.slots, strict=True))
        machine.table.swap(now, generation, [slot for slot, (a, b) in pairs if a != b])
