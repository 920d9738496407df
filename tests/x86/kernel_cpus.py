"""FreeBSD's MTRR driver on several CPUs, written once more, one register write after the other.

It knows nothing of memhub's tables, plans or states. What is wrong with the hardware is wrong in
`wrmsr`, in which CPUs take part in a rendezvous, and in what firmware does.

Source: `sys/x86/x86/x86_mem.c`; `sys/x86/acpica/acpi_wakeup.c` for the resume.
"""

from __future__ import annotations

from dataclasses import dataclass, field

FIXED = [0x250, 0x258, 0x259, *range(0x268, 0x270)]
BORDERS = (
    [(n * 0x10000, 0x10000) for n in range(8)]
    + [(0x80000 + n * 0x4000, 0x4000) for n in range(16)]
    + [(0xC0000 + n * 0x1000, 0x1000) for n in range(64)]
)
#: MDF_* by type byte.
FLAG = {0: 1, 1: 2, 4: 4, 5: 16, 6: 8}
BYTE = {flag: byte for byte, flag in FLAG.items()}
UNKNOWN, ATTRIBUTES = 32, 0xFFFFFF
FIX, FIRMWARE, ACTIVE, BOGUS, FORCE = 0x23000000, 1 << 26, 1 << 27, 1 << 28, 1 << 31


@dataclass
class Fault:
    """One sickness."""

    name: str
    action: str
    cpu: int | None = None
    bits: dict[int, int] = field(default_factory=dict)
    registers: dict[int, int] = field(default_factory=dict)
    moment: str = "now"
    times: int | None = None
    misses: bool = False
    reinit: bool = False
    count: int = 0


@dataclass
class Row:
    """One `struct mem_range_desc`."""

    base: int
    length: int
    flags: int
    owner: bytes = bytes(8)


class Kernel:
    """The kernel's table, and the registers of its CPUs."""

    def __init__(self, msrs: dict[int, int], cpus: int, bits: int = 36) -> None:
        self.boot, self.cpus = dict(msrs), [dict(msrs) for _ in range(cpus)]
        self.mask = (1 << bits) - 0x1000
        self.fixed = bool(msrs[0xFE] & 0x100 and msrs[0x2FF] & 0x400)
        self.faults: list[Fault] = []
        self.table = [Row(base, length, FIX) for base, length in BORDERS if self.fixed]
        self.table += [Row(0, 0, 0) for _ in range(msrs[0xFE] & 0xFF)]
        self.fetch()
        for row in self.table:
            row.flags |= FIRMWARE if row.flags & ACTIVE else 0

    @property
    def low(self) -> int:
        """How many slots are fixed ranges."""
        return 88 if self.fixed else 0

    # Hardware

    def live(self, action: str, cpu: int) -> list[Fault]:
        return [
            it
            for it in self.faults
            if it.action == action
            and it.cpu in (None, cpu)
            and (it.times is None or it.count < it.times)
        ]

    def wrmsr(self, cpu: int, number: int, value: int, struck: set[str]) -> None:
        old = self.cpus[cpu].get(number, 0)
        for action in ("mask_holes", "lost_store", "stuck_slot"):
            for fault in self.live(action, cpu):
                kept = fault.bits.get(number, 0)
                got = value & ~kept | (0 if action == "mask_holes" else old & kept)
                if got != value:
                    struck.add(fault.name)

                value = got

        self.cpus[cpu][number] = value

    def count(self, struck: set[str]) -> None:
        for fault in self.faults:
            fault.count += fault.name in struck

    def rendezvous(self) -> list[int]:
        return [
            cpu
            for cpu in range(len(self.cpus))
            if not any(it.misses for it in self.live("cpu_out_of_step", cpu))
        ]

    def rewrite(self, moment: str, struck: set[str]) -> None:
        for cpu, registers in enumerate(self.cpus):
            for fault in self.live("firmware_rewrite", cpu):
                if fault.moment == moment:
                    registers.update(fault.registers)
                    struck.add(fault.name)

    def sicken(self, fault: Fault) -> None:
        self.faults.append(fault)
        for cpu, registers in enumerate(self.cpus):
            if fault.cpu in (None, cpu):
                if fault.moment == "now":
                    registers.update(fault.registers)

                if fault.action == "mask_holes":
                    for number, bits in fault.bits.items():
                        registers[number] = registers.get(number, 0) & ~bits

    # x86_mem.c

    def store_one(self, cpu: int, struck: set[str]) -> None:
        """`x86_mrstoreone`."""
        registers = self.cpus[cpu]
        for index, number in enumerate(FIXED if self.fixed else []):
            old, new = registers.get(number, 0), 0
            for place in range(8):
                flag = self.table[8 * index + place].flags & ATTRIBUTES
                new |= BYTE.get(flag, old >> 8 * place & 0xFF) << 8 * place

            self.wrmsr(cpu, number, new, struck)

        for index, row in enumerate(self.table[self.low :]):
            number, base, mask = 0x200 + 2 * index, 0, 0
            if row.flags & ACTIVE:
                byte = BYTE.get(row.flags & ATTRIBUTES, registers.get(number, 0) & 0xFF)
                base = row.base & self.mask | byte
                mask = 0x800 | self.mask & ~(row.length - 1)

            self.wrmsr(cpu, number, base, struck)
            self.wrmsr(cpu, number + 1, mask, struck)

        self.wrmsr(cpu, 0x2FF, registers.get(0x2FF, 0) | 0x800, struck)

    def fetch(self) -> None:
        """`x86_mrfetch`, on CPU 0."""
        registers = self.cpus[0]
        for slot, row in enumerate(self.table):
            if slot < self.low:
                byte = registers.get(FIXED[slot // 8], 0) >> 8 * (slot % 8) & 0xFF
                row.flags = row.flags & ~ATTRIBUTES | FLAG.get(byte, UNKNOWN) | ACTIVE
            else:
                number = 0x200 + 2 * (slot - self.low)
                base, mask = registers.get(number, 0), registers.get(number + 1, 0)
                row.flags = row.flags & ~ATTRIBUTES & ~ACTIVE | FLAG.get(base & 0xFF, UNKNOWN)
                row.flags |= ACTIVE if mask & 0x800 else 0
                row.base = base & self.mask
                row.length = (~(mask & self.mask) & (self.mask | 0xFFF)) + 1
                if row.length & (row.length - 1) or row.base & (row.length - 1):
                    row.flags |= BOGUS

            if row.flags & ACTIVE and not row.owner[0]:
                row.owner = b"BIOS\0" + row.owner[5:]

    def update(self, base: int, length: int, flags: int, owner: bytes) -> str | None:
        """MEMRANGE_SET_UPDATE of a sound range; the errno, or None."""
        if self.fixed and base + length <= 0x100000:
            rows = [
                row
                for row, (first, size) in zip(self.table, BORDERS, strict=False)
                if first < base + length and base < first + size
            ]
            if not flags & FORCE and any(row.flags & UNKNOWN for row in rows):
                return "EACCES"

            for row in rows:
                row.flags = row.flags & ~FIRMWARE & ~ATTRIBUTES | flags & ATTRIBUTES
                row.owner = owner
        else:
            row = None
            for other in self.table[self.low :]:
                if not other.flags & ACTIVE:
                    row = row or other
                elif (other.base, other.length) == (base, length):
                    if other.flags & UNKNOWN and not flags & FORCE:
                        return "EACCES"

                    row = other
                    break
                elif other.base < base + length and base < other.base + other.length:
                    both = {other.flags & ATTRIBUTES, flags & ATTRIBUTES}
                    if len(both) > 1 and both != {1, 8}:
                        return "EINVAL"

            if row is None:
                return "ENOSPC"

            row.base, row.length, row.owner = base, length, owner
            row.flags = ACTIVE | flags & ATTRIBUTES

        self.settle()

        return None

    def remove(self, base: int, length: int) -> str | None:
        """MEMRANGE_SET_REMOVE."""
        for slot, row in enumerate(self.table):
            if (row.base, row.length) == (base, length):
                if slot < self.low:
                    return "EPERM"

                row.flags &= ~ACTIVE
                row.owner = b"\0" + row.owner[1:]
                self.settle()

                return None

        return "ENOENT"

    def settle(self) -> None:
        """`x86_mrstore`, `x86_mrfetch`, and what firmware does then."""
        struck: set[str] = set()
        for cpu in self.rendezvous():
            self.store_one(cpu, struck)

        self.fetch()
        self.rewrite("set", struck)
        self.count(struck)

    def reinit(self, struck: set[str], missed: frozenset[int] = frozenset()) -> None:
        """`x86_mrreinit`: `x86_mrAPinit` on each CPU."""
        for cpu in self.rendezvous():
            if cpu not in missed:
                self.store_one(cpu, struck)
                self.wrmsr(cpu, 0x2FF, self.boot[0x2FF], struck)

    def resume(self) -> None:
        """Firmware wakes each CPU with its registers as at the start; the kernel follows."""
        struck: set[str] = set()
        missed = set()
        for cpu in range(len(self.cpus)):
            self.cpus[cpu] = dict(self.boot)
            for fault in self.live("forgetful_resume", cpu):
                self.cpus[cpu] = {0xFE: self.boot[0xFE]}
                struck.add(fault.name)
                if not fault.reinit:
                    missed.add(cpu)

        self.rewrite("resume", struck)
        self.reinit(struck, frozenset(missed))
        self.count(struck)

    def out_of_step(self) -> list[int]:
        """The CPUs, other than 0, whose MTRRs differ from its; invalid pairs do not count."""
        first = self.cpus[0]

        def matters(number: int, other: dict[int, int]) -> bool:
            mask = number | 1
            if 0x200 <= number < 0x250:
                return bool((first.get(mask, 0) | other.get(mask, 0)) & 0x800)

            return True

        return [
            cpu
            for cpu, other in enumerate(self.cpus)
            if any(
                first.get(it, 0) != other.get(it, 0) and matters(it, other)
                for it in {**first, **other}
            )
        ]
