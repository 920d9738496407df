"""What a machine is made of, before it runs: plain values that configuration fills in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from memhub.core.cache_limits import CacheLimits
from memhub.core.drivers.driver import UNSAID_CPU, Cpu
from memhub.core.drivers.served_kernel import FREEBSD
from memhub.core.kernel import KernelLayout

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What lies behind a stretch of physical addresses. `reserved` and `unusable` have nothing
#: behind them (open bus); `acpi` and `nvs` are RAM that firmware uses.
#: `device` is the memory of a declared device, and is not described but made of it.
RegionKind = Literal["ram", "rom", "reserved", "acpi", "nvs", "unusable", "device"]
#: What a write to write-protected memory does.
WpWrites = Literal["fault", "drop", "allow"]

#: Whether devices find what CPUs have in their caches, and reach those when they write.
BusKind = Literal["snooping", "blind"]

#: What is known of the state in which firmware left a machine: that it is described, or that
#: nobody said anything, so that it is an `ordinary` one of the architecture.
Firmware = Literal["described", "ordinary"]

#: The name of a machine that nobody gave one.
UNNAMED: Final = "machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """One stretch of the memory map, e820 style.

    Attributes:
        base: first physical byte.
        length: bytes.
        kind: what lies there.
        data: the first bytes of its content; the rest is zero (0xff in ROM).
    """

    base: int
    length: int
    kind: RegionKind = "ram"
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a stretch of physical memory holds at the start; `memhub.images` makes it of files.

    Attributes:
        base: first physical byte.
        data: the bytes.
        zeros: how many zero bytes follow them.
        source: where it comes from, for messages; not compared.
        loose: whether zeros count only where memory is kept, as those of a raw file, which has
            zeros where a machine has holes; not compared.
    """

    base: int
    data: bytes = field(default=b"", repr=False)
    zeros: int = 0
    source: str = field(default="", compare=False)
    loose: bool = field(default=False, compare=False)

    @property
    def end(self) -> int:
        """One past the last byte."""
        return self.base + len(self.data) + self.zeros

    @property
    def kept_end(self) -> int:
        """One past the last byte that something has to keep."""
        return self.end - self.zeros if self.loose else self.end

    def __str__(self) -> str:
        span = f"{self.base:#x}/{self.end - self.base:#x}"

        return f"{self.source}: {span}" if self.source else f"content {span}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelMapping:
    """One mapping of kernel virtual addresses, in whole pages.

    Attributes:
        virtual: first kernel virtual address.
        physical: the physical address it maps to.
        length: bytes.
        writable: whether a write through it is allowed (EFAULT else). Where the machine has map
            entries, these decide, and this is the right that the page tables give.
    """

    virtual: int
    physical: int
    length: int
    writable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelEntry:
    """One entry of the kernel's own map of its address space, in whole pages.

    Attributes:
        virtual: first kernel virtual address.
        length: bytes.
        readable: whether a read is allowed.
        writable: whether a write is allowed.
    """

    virtual: int
    length: int
    readable: bool = True
    writable: bool = True


#: Seconds that a declared device has for the answer to one access.
ANSWER_LIMIT: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSpec:
    """One device in the address space of a machine.

    Attributes:
        name: what it is called; `Hub.device` finds it by this name.
        kind: the name of an installed kind of device.
        base: first physical byte; None takes the address that is usual for its kind.
        options: the options of its kind.
        limit: seconds that it has for the answer to one access.
    """

    name: str
    kind: str
    base: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    limit: float = ANSWER_LIMIT


class UnsaidRegisters(dict[int, int]):
    """No registers, as nobody said any; `{}` says that each is zero."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSpec:
    """One machine, described.

    Attributes:
        name: what clients put before the colon in `NAME:/dev/mem`.
        arch: name of an installed architecture.
        cpu: the processor; where it is not given, that of the architecture.
        msrs: registers that firmware left, by number; absent ones are zero. Where neither these
            nor a memory map are given, both are those of an ordinary PC (`firmware.py`), if the
            architecture is a PC's.
        options: the architecture's own options, checked by its driver, and `release` (and
            `pae`), which choose its kernel.
        memory: the memory map; regions do not overlap. Outside it is open bus.
        contents: what RAM and ROM hold at the start, beside the `data` of regions; none overlaps
            another.
        kmem: the kernel's mappings beside the direct map, if the architecture has one.
        kmem_entries: the kernel's map entries; None takes one for each of `kmem`, with its right.
        kernel: which kernel runs: the name of one that is installed, as `linux-6.18`. None or
            `freebsd` is FreeBSD with the layout of its release; a KernelLayout is FreeBSD, and
            says where its addresses lie.
        kernel_options: the options of another kernel than FreeBSD, which it checks.
        symbols: kernel symbols by name, for `kvm_nlist`.
        securelevel: above 0, opening for write fails with EPERM.
        wp_writes: what a write to write-protected memory does.
        upages: pages of the per-process u-area (classic i386 layout).
        commit_latency: seconds a commit takes; None takes the architecture's.
        coherent: whether all CPUs and the bus see one memory; else attributes act as mem(4) says.
        bus: where memory is not coherent, whether the bus snoops the caches.
        caches: where memory is not coherent, how large caches are, and the seed of their order.
        devices: the devices in its address space; `memhub plugins` lists their kinds.
        firmware: `ordinary` once a hub has filled in registers and memory that nobody
            described; the log has it.
    """

    name: str = UNNAMED
    arch: str
    cpu: Cpu = UNSAID_CPU
    msrs: Mapping[int, int] = field(default_factory=UnsaidRegisters)
    options: Mapping[str, Any] = field(default_factory=dict)
    memory: tuple[Region, ...] = ()
    contents: tuple[Content, ...] = ()
    kmem: tuple[KernelMapping, ...] = ()
    kmem_entries: tuple[KernelEntry, ...] | None = None
    kernel: KernelLayout | str | None = None
    kernel_options: Mapping[str, Any] = field(default_factory=dict)
    symbols: Mapping[str, int] = field(default_factory=dict)
    securelevel: int = -1
    wp_writes: WpWrites = "fault"
    upages: int = 2
    commit_latency: float | None = None
    coherent: bool = True
    bus: BusKind = "snooping"
    caches: CacheLimits = field(default_factory=CacheLimits)
    devices: tuple[DeviceSpec, ...] = ()
    firmware: Firmware = "described"

    @property
    def kernel_name(self) -> str:
        """The name of its kernel."""
        return self.kernel if isinstance(self.kernel, str) else FREEBSD

    @property
    def layout(self) -> KernelLayout | None:
        """Where FreeBSD's addresses lie, where that is said."""
        return self.kernel if isinstance(self.kernel, KernelLayout) else None
