"""What an architecture implements: FreeBSD's `struct mem_range_ops`, made pure.

A driver never changes state. Each operation takes a RangeState and returns the Change that the
operation would make, or raises a DeviceError; the machine then swaps the state at one instant,
so a refused MEMRANGE_SET cannot half apply. `mem_range_ops` has no `get`: reading the table is
neutral code.

Source: FreeBSD `sys/sys/memrange.h` (struct mem_range_ops), `sys/dev/mem/memutil.c`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final

from memhub.abi import LP64, MDF_ACTIVE, MDF_SETTABLE, DataModel, Errno, RangeDesc
from memhub.arguments import take_integers
from memhub.core.kernel import DEFAULT_RULES, Kernel

if TYPE_CHECKING:
    from memhub.core.effective.typemap import TypeMap
    from memhub.core.kernel import KernelLayout, Releases, TransferRules


#: No register at all: each reads as zero.
NO_REGISTERS: Final[Mapping[int, int]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """What a driver can ask of the processor.

    Attributes:
        vendor: `Intel`, `AMD`, `Centaur`, `PowerPC`, `ARM`, …
        signature: the CPUID signature (leaf 1, EAX); its bits 8-11 are the family nibble.
        phys_bits: physical address width in bits (CPUID leaf 0x80000008), 32 to 52.
        mtrr: the CPUID feature bit for MTRRs.
        tom2: AMD: end of the memory from 4 GiB on that is write-back where no range says
            otherwise (TOP_MEM2, with the force bit of SYSCFG); 0 for none.
        count: how many of it the machine has; number 0 answers requests.

    Raises:
        TypeError: `phys_bits` or `count` is not an integer.
        ValueError: `phys_bits` is not a width that a CPU has, or there is no CPU, or more than
            1024.
    """

    vendor: str = "Intel"
    signature: int = 0x6F0
    phys_bits: int = 36
    mtrr: bool = True
    tom2: int = 0
    count: int = 4

    def __post_init__(self) -> None:
        take_integers(self, ("phys_bits", "count"))
        if not 32 <= self.phys_bits <= 52:
            raise ValueError(f"phys_bits {self.phys_bits} is not between 32 and 52")

        if not 1 <= self.count <= 1024:
            raise ValueError(f"count {self.count} is not between 1 and 1024")


#: The processor of a machine of which nobody says it, told from an equal one by identity: the
#: architecture may have another (`Arch.cpu`).
UNSAID_CPU: Final = Cpu()


@dataclass(frozen=True, slots=True)
class RangeState:
    """Everything that range operations read and write, as one value.

    Attributes:
        slots: the descriptors, in slot order.
        msrs: model-specific registers by number; never changed in place.
        settled: the driver's own mark that storing and re-reading every register would
            change nothing, so that a change need only look at what it touches. False where
            nobody has proved it, and no part of equality.
    """

    slots: tuple[RangeDesc, ...]
    msrs: Mapping[int, int] = field(default_factory=dict)
    settled: bool = field(default=False, compare=False)

    def with_slots(self, slots: tuple[RangeDesc, ...]) -> RangeState:
        """The same state with MDF_BUSY set or cleared on some descriptors, nothing else changed."""
        return RangeState(slots, self.msrs, self.settled)

    def apply(self, change: Change) -> RangeState:
        """The state after `change`."""
        slots = list(self.slots)
        for slot, desc in change.slots.items():
            slots[slot] = desc

        msrs = {**self.msrs, **change.msrs} if change.msrs else self.msrs

        return RangeState(tuple(slots), msrs, change.settled)


@dataclass(frozen=True, slots=True)
class Change:
    """What one operation would change.

    Attributes:
        wrote: the slots that the request itself writes; these are what a claim takes. A slot
            may be written and keep its value.
        slots: the new descriptor of every slot that the operation leaves different, whether the
            request wrote it or the driver's re-reading of the registers did.
        msrs: the new value of every register that the operation leaves different.
        settled: the mark of the state that follows.
    """

    wrote: tuple[int, ...]
    slots: Mapping[int, RangeDesc] = field(default_factory=dict)
    msrs: Mapping[int, int] = field(default_factory=dict)
    settled: bool = False


class RangeDriver(ABC):
    """One machine's range driver: immutable, made for one CPU.

    Slots that another process has claimed, or that a commit is writing, reach `update` and
    `remove` with MDF_BUSY set; a driver tests that bit where its kernel does and answers
    RangeBusy. The machine refuses a Change that writes such a slot in any case, so a driver
    without the test is still safe.

    Every answer is checked (`asked_driver.py`). One that breaks a rule refuses the request with
    EIO, and so does any exception that is not the DeviceError of a refusal. A refusal is passed on
    as one of memhub's own classes; a long reason and many obstacles are cut.

    Attributes:
        rereads: a change of a state that is not `settled` re-reads every register, so that slots
            may change which `wrote` does not name. Others may change only what they name.
        stops_at_free: `update` looks no further than the first free slot, as some kernels do; a
            hole then lets one range into two slots, and hides what conflicts.
        no_slots: why there are no slots, for the ENXIO of a machine that has none.
    """

    rereads: ClassVar[bool] = False
    stops_at_free: bool = False
    no_slots: ClassVar[str] = "the hardware has none"

    @abstractmethod
    def attach(self, msrs: Mapping[int, int]) -> RangeState:
        """Read what firmware left, as `mem_range_ops.init` does.

        Args:
            msrs: registers by number; a register that is absent reads as zero.

        Returns:
            the first state; no slots means that every range ioctl answers ENXIO.

        Raises:
            NotSupported: this driver does not serve this CPU.
        """

    @abstractmethod
    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        """MEMRANGE_SET with MEMRANGE_SET_UPDATE.

        Raises:
            DeviceError: the operation is refused; its obstacles say by what.
        """

    @abstractmethod
    def remove(self, state: RangeState, desc: RangeDesc) -> Change:
        """MEMRANGE_SET with MEMRANGE_SET_REMOVE.

        Raises:
            DeviceError: the operation is refused; its obstacles say by what.
        """

    @abstractmethod
    def restore(
        self,
        state: RangeState,
        slots: Mapping[int, RangeDesc],
        earlier: Mapping[int, int] = NO_REGISTERS,
    ) -> Change:
        """Put earlier descriptors back into their slots, registers with them (undo on close).

        Args:
            state: the present state.
            slots: slot index to the descriptor that it held before.
            earlier: the registers as they were then, for what no descriptor holds (a type that
                mem(4) has no name for).
        """

    @abstractmethod
    def types(self, state: RangeState) -> TypeMap:
        """The effective memory type of every address under `state`."""

    def extent(self, state: RangeState, slot: int) -> tuple[int, int]:
        """Bounds `[first, end)` outside which a slot decides no byte's type.

        The default is the active descriptor's own range, and nothing for an inactive one.
        """
        desc = state.slots[slot]

        return (desc.mr_base, desc.mr_end) if desc.mr_flags & MDF_ACTIVE else (0, 0)

    # Sick hardware (docs/faults.md); what is here serves a driver without registers, and one whose
    # `restore` writes the registers of each descriptor that it puts back.

    def store_on_cpu(self, state: RangeState) -> Mapping[int, int]:
        """The registers that become different where a CPU stores the whole table.

        Every CPU does so at each successful MEMRANGE_SET (FreeBSD `x86_mrstoreone`).

        Args:
            state: the table, and the registers of the CPU.
        """
        return self.restore(state, dict(enumerate(state.slots))).msrs

    def fetch_from_cpu(self, state: RangeState) -> Mapping[int, RangeDesc]:
        """The slots that become different where the registers are read (`x86_mrfetch`)."""
        return {}

    def reinit_cpu(self, state: RangeState, attached: Mapping[int, int]) -> Mapping[int, int]:
        """What `mem_range_ops.reinit` leaves different on a CPU, as at a resume.

        Args:
            state: the table, and the registers of the CPU.
            attached: the registers that the driver attached to.
        """
        return self.store_on_cpu(state)

    def power_on_cpu(self, attached: Mapping[int, int]) -> Mapping[int, int]:
        """The registers of a CPU after power-on; those that are absent read as zero.

        Args:
            attached: the registers that the driver attached to.
        """
        return {}

    def slot_registers(self, state: RangeState, slot: int) -> Iterable[tuple[int, int]]:
        """The registers that hold a slot and their bits that do; a mask register is the last."""
        return ()

    def why_fault(self, state: RangeState, number: int, value: int) -> str:
        """Why a CPU does not take a value of a register; empty where it does, as by default."""
        return ""

    def compare_cpus(self, mine: Mapping[int, int], other: Mapping[int, int]) -> Mapping[int, str]:
        """The registers in which two CPUs differ so that it matters, each with its kind in words.

        Args:
            mine: the registers of one.
            other: those of the other.
        """
        numbers = sorted({**mine, **other})

        return {it: "register" for it in numbers if mine.get(it, 0) != other.get(it, 0)}


#: Makes the driver of one machine from its CPU and its options; raises OptionError.
DriverFactory = Callable[[Cpu, Mapping[str, Any]], RangeDriver]

#: Finds another kernel than FreeBSD by name, a `ServedKernel`; ValueError where there is none.
KernelFinder = Callable[[str], Any]


def no_kernel(name: str) -> Any:  # noqa: ANN401 - never returns
    """Find no kernel: that of an architecture which was not loaded with the others."""
    raise ValueError(f"kernel {name!r} cannot be found: its architecture has no loader of kernels")


#: Makes the registers that an ordinary firmware leaves, from the CPU and the stretches of RAM, each
#: its first byte and its end.
FirmwareFactory = Callable[[Cpu, Iterable[tuple[int, int]]], Mapping[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arch:
    """One architecture, as a plugin registers it.

    Attributes:
        name: what configuration calls it.
        summary: one line for `memhub arches`.
        model: the kernel's data model, which decides layouts and ioctl numbers.
        kernel: where kernel addresses lie, for an architecture without releases.
        driver: makes the range driver, or None where there are no range operations.
        options: the keys of `[machine.options]` that the driver takes.
        attributes: the `MDF_*` attributes that a client can ask for, at most.
        untyped: those of them that a range may have without an effect on the memory type.
        slots: how many slots there are, in words, for `memhub arches`.
        transfer: how transfers decide, for an architecture without releases.
        releases: the kernels that the option `release` chooses from; they replace `kernel` and
            `transfer`.
        no_ranges: what range ioctls answer without a driver (FreeBSD arm64 itself answers
            ENODEV or ENOTTY, depending on its version).
        commit_latency: seconds from the start of a commit to its effect.
        firmware: makes the registers that the firmware of an ordinary PC leaves, for a machine of
            which nobody says anything; None where machines are no PCs.
        cpu: the processor of a machine of which nobody says it, where the driver does not serve
            `Cpu()`; None for that one.
        quirks: rules of the conformance kit that it breaks since the kernel that it is of does,
            by their names (`memhub.rig.arch_check.finding.QUIRKS`); the kit does not report them.
        find_kernel: finds another kernel than FreeBSD by name; the loader says it.
        plugin: the plugin and the distribution that it comes from, in words; the loader says it.
    """

    name: str
    summary: str
    kernel: KernelLayout | None = None
    model: DataModel = LP64
    driver: DriverFactory | None = None
    options: frozenset[str] = frozenset()
    attributes: int = MDF_SETTABLE
    untyped: int = 0
    slots: str = "none"
    transfer: TransferRules = DEFAULT_RULES
    releases: Releases | None = None
    no_ranges: Errno = Errno.EOPNOTSUPP
    commit_latency: float = 0.0
    firmware: FirmwareFactory | None = None
    cpu: Cpu | None = None
    quirks: frozenset[str] = frozenset()
    find_kernel: KernelFinder = field(default=no_kernel, compare=False, repr=False)
    plugin: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.name or not self.name.replace("-", "").replace("_", "").isalnum():
            raise ValueError(f"architecture name {self.name!r} is not letters, digits, - and _")

        if (self.kernel is None) == (self.releases is None):
            raise ValueError(f"architecture {self.name} needs either a kernel or releases")

    @property
    def machine_options(self) -> frozenset[str]:
        """The keys that a machine may set: the driver's, and those that choose a kernel."""
        return self.options | (self.releases.options if self.releases else frozenset())

    def kernel_of(self, options: Mapping[str, Any]) -> Kernel:
        """The kernel of a machine with these options.

        Raises:
            OptionError: an option names a kernel that there is not.
        """
        if self.releases is not None:
            return self.releases.kernel_of(options)

        assert self.kernel is not None

        return Kernel(self.kernel, self.transfer)
