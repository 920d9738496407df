"""The back end for Intel's MTRRs.

Source: Linux 6.18 `arch/x86/kernel/cpu/mtrr/generic.c`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub_linux.registers.cpus import DEF_TYPE, FIXED, MTRR_CAP, PHYS_BASE, SYSCFG, TOP_MEM2
from memhub_linux.registers.ranges import Fault, Range, alignment_fault
from memhub_linux.registers.state_lines import fixed_stretches, state_lines
from memhub_linux.registers.type_map import UC, WB, WC, Stretch, build_map, look_up
from memhub_linux.texts import type_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from memhub_linux.machine import KernelLog, LinuxMachine
    from memhub_linux.registers.cpus import Cpus

VALID: Final = 0x800
PAGE_BITS: Final = 12
#: Bits of `MtrrState.enabled`: fixed ranges, and MTRRs at all.
FIXED_ENABLED: Final = 1
MTRR_ENABLED: Final = 2

_U64: Final = (1 << 64) - 1
_PAGE_MASK: Final = _U64 & ~0xFFF
_DISABLE: Final = ~0xCFF
_DRAM_MODIFY: Final = 1 << 19
_TOM2_WRITE_BACK: Final = 1 << 21 | 1 << 22


class GenericMtrrs:
    """The registers as the kernel keeps them, and its accesses to them.

    Args:
        machine: the machine.
        cpus: its registers.
        log: takes the kernel's lines.
        width: bits of an address that are written, where they are not the machine's.
    """

    def __init__(
        self, machine: LinuxMachine, cpus: Cpus, log: KernelLog, *, width: int | None = None
    ) -> None:
        self._machine = machine
        self._cpus = cpus
        self._log = log
        self._reserved = _U64 & ~((1 << (width or machine.phys_bits)) - 1)
        self.count = cpus.read(0, MTRR_CAP) & 0xFF
        self.variable = [[0, 0] for _ in range(self.count)]
        self.fixed = [0] * len(FIXED)
        self.have_fixed = False
        self.default = 0
        self.enabled = 0
        self.tom2 = 0
        self.map: list[Stretch] = []
        self.fixed_map: list[Stretch] = []
        self.changes: set[str] = set()

    # Boot

    def read_state(self) -> bool:
        """Take what firmware left on the first CPU; False where MTRRs are off."""
        self.read_registers()
        on = bool(self.enabled & MTRR_ENABLED)
        if self._machine.debug:
            fixed_on = on and bool(self.enabled & FIXED_ENABLED)
            width = (self._machine.phys_bits - (32 - PAGE_BITS) + 3) // 4
            for line in state_lines(self, fixed_on=fixed_on, width=width):
                self._log.add("info", line)

        return on

    def read_registers(self) -> None:
        """Read the registers of the first CPU."""
        read = self._cpus.read
        self.have_fixed = bool(read(0, MTRR_CAP) & 0x100)
        self.variable = [
            [read(0, PHYS_BASE + 2 * it), read(0, PHYS_BASE + 2 * it + 1)]
            for it in range(self.count)
        ]
        if self.have_fixed:
            self.save_fixed(0)

        value = read(0, DEF_TYPE)
        self.default = value & 0xFF
        self.enabled = value >> 10 & 3
        if self._has_tom2():
            self.tom2 = read(0, TOP_MEM2) & 0xFFFFFF800000

    def save_before_start(self) -> None:
        """Save the fixed registers, if there are some, as before a processor starts."""
        if self.have_fixed:
            self.save_fixed(0)

    def save_fixed(self, cpu: int) -> None:
        """Read the fixed registers of a CPU."""
        self._clear_dram_modify(cpu)
        self.fixed = [self._cpus.read(cpu, number) for number in FIXED]

    def set_state(self, cpu: int) -> None:
        """Store the kernel's state on a CPU, where that differs."""
        default = self._cpus.read(cpu, DEF_TYPE)
        self.write(cpu, DEF_TYPE, default & _DISABLE)
        for index, (base, mask) in enumerate(self.variable):
            self._set_variable(cpu, index, base, mask)

        if self.have_fixed:
            self._clear_dram_modify(cpu)
            for number, value in zip(FIXED, self.fixed, strict=True):
                if self._cpus.read(cpu, number) != value:
                    self.write(cpu, number, value)
                    self.changes.add("fixed")

        if (default & 0xFF, default >> 10 & 3) != (self.default, self.enabled):
            default = default & _DISABLE | self.default | self.enabled << 10
            self.changes.add("default")

        self.write(cpu, DEF_TYPE, default)

    def _set_variable(self, cpu: int, index: int, base: int, mask: int) -> None:
        number = PHYS_BASE + 2 * index
        for at, value, ignored in ((number, base, 0xF00), (number + 1, mask, 0x7FF)):
            if (self._cpus.read(cpu, at) ^ value) & ~(ignored | self._reserved):
                self.write(cpu, at, value)
                self.changes.add("variable")

    def resume(self, msrs: Mapping[int, int], conf: Mapping[int, int]) -> None:
        """Wake up: firmware has set every CPU up anew, and the kernel stores its state."""
        self._cpus.reset(msrs, conf)
        self.store_everywhere()

    def store_everywhere(self) -> None:
        """Store the kernel's state on every CPU."""
        for cpu in range(len(self._cpus.files)):
            self.set_state(cpu)

    def _clear_dram_modify(self, cpu: int) -> None:
        machine = self._machine
        if machine.vendor != "AMD" or machine.family < 0xF or machine.guest_kind == "snp":
            return

        value = self._cpus.read(cpu, SYSCFG)
        if value & _DRAM_MODIFY:
            self._log.add(
                "err",
                f"[Firmware Warn]: MTRR: CPU {cpu}: SYSCFG[MtrrFixDramModEn] not cleared by BIOS, "
                "clearing this bit",
            )
            self.write(cpu, SYSCFG, value & ~_DRAM_MODIFY)

    def _has_tom2(self) -> bool:
        machine = self._machine
        bits = self._cpus.read(0, SYSCFG) & _TOM2_WRITE_BACK

        return machine.may_have_tom2 and bits == _TOM2_WRITE_BACK

    def write(self, cpu: int, number: int, value: int) -> None:
        """Write a register of a CPU; a fault is printed."""
        if not self._cpus.write(cpu, number, value):
            self._log.add(
                "err",
                f"MTRR: CPU {cpu}: Writing MSR {number:x} to "
                f"{value & 0xFFFFFFFF:x}:{value >> 32:x} failed",
            )

    # Registers

    def get(self, index: int) -> Range:
        """What a register of the first CPU describes."""
        number = PHYS_BASE + 2 * index
        raw = self._cpus.read(0, number + 1)
        if not raw & VALID:
            return Range(0, 0, 0)

        base = self._cpus.read(0, number)
        mask = raw & _PAGE_MASK
        whole = mask | self._reserved
        if mask:
            filled = mask | _U64 & ~((1 << mask.bit_length() - 1) - 1)
            if filled != whole:
                self._log.add(
                    "warn", "mtrr: your BIOS has configured an incorrect mask, fixing it."
                )
                whole = filled

        return Range(
            base >> PAGE_BITS & self._machine.long_mask,
            (-whole & _U64) >> PAGE_BITS & self._machine.long_mask,
            base & 0xFF,
        )

    def find_free(self, base: int, size: int, replace: int) -> int | None:
        """The register that takes a new range; None if none is free."""
        if replace >= 0:
            return replace

        return next((it for it in range(self.count) if self.get(it).size == 0), None)

    def set(self, index: int, it: Range) -> None:
        """Write a register on every CPU; size 0 frees it."""
        number = PHYS_BASE + 2 * index
        if it.size:
            base = (it.base << PAGE_BITS | it.type) & _U64 & ~self._reserved
            mask = -it.size << PAGE_BITS & _U64 & ~self._reserved | VALID
            writes = [(number, base), (number + 1, mask)]
        else:
            base = mask = 0
            writes = [(number + 1, 0)]

        self.variable[index] = [base, mask]
        for cpu in range(len(self._cpus.files)):
            default = self._cpus.read(cpu, DEF_TYPE)
            self.write(cpu, DEF_TYPE, default & _DISABLE)
            for at, value in writes:
                self.write(cpu, at, value)

            self.write(cpu, DEF_TYPE, default)

        self.rebuild_map()

    def check(self, it: Range) -> Fault | None:
        """The back end's own check of a new range."""
        machine = self._machine
        if (machine.vendor, machine.family, machine.model) == ("Intel", 6, 1) and (
            machine.stepping <= 7
        ):
            if it.base & 0x3FF:
                return Fault(f"mtrr: base(0x{it.base:x}000) is not 4 MiB aligned")

            if not (it.base + it.size < 0x70000 or it.base > 0x7003F) and it.type in (WC, WB):
                line = "mtrr: writable mtrr between 0x70000000 and 0x7003FFFF may hang the CPU."
                return Fault(line)

        return alignment_fault(it, machine.long_mask)

    def has_write_combining(self) -> bool:
        """Whether the CPU has write-combining ranges."""
        return bool(self._cpus.read(0, MTRR_CAP) & 0x400)

    # Types

    def look_up(self, start: int, end: int) -> tuple[int, bool | None]:
        """The type of a range of bytes, and whether it is uniform (mtrr_type_lookup)."""
        if not self.enabled & MTRR_ENABLED:
            return UC, True

        return look_up(self.map, self.default, start, end)

    def build_map(self) -> None:
        """Build the map of types at boot, and tell of it."""
        self.fixed_map = []
        if self.enabled & FIXED_ENABLED:
            self.fixed_map = [
                Stretch(start, end, type_, fixed=True)
                for start, end, type_ in fixed_stretches(self.fixed)
            ]

        self.rebuild_map()
        fixed = len(self.fixed_map)
        many, tom2 = len(self.map), int(self.tom2 != 0)
        self._log.add(
            "info",
            f"MTRR map: {many} entries ({fixed} fixed + {many - fixed} variable; "
            f"max {fixed + 2 * self.count + tom2}), built from {self.count + tom2} variable MTRRs",
        )
        if self._machine.debug:
            for number, it in enumerate(self.map):
                self._log.add(
                    "info", f"{number:3}: {it.start:016x}-{it.end - 1:016x} {type_name(it.type)}"
                )

    def rebuild_map(self) -> None:
        """Build the map of types from the kernel's state."""
        fixed = list(self.fixed_map)
        if self.tom2 > 1 << 32:
            fixed.append(Stretch(1 << 32, self.tom2, WB, fixed=True))

        self.map = build_map(fixed, self._ranges())

    def _ranges(self) -> Iterator[tuple[int, int, int]]:
        for base, mask in self.variable:
            if mask & VALID:
                start = base & _PAGE_MASK
                size = -(mask & _PAGE_MASK | self._reserved) & _U64
                yield start, start + size, base & 0xFF
