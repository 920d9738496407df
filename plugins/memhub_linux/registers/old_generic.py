"""Intel's MTRRs as Linux 2.6.32 has them: read in 32 bits, set at boot on other CPUs only.

Source: Linux 2.6.32 `arch/x86/kernel/cpu/mtrr/generic.c`, and mtrr_bp_init of `main.c`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub_linux.registers.cpus import DEF_TYPE, PHYS_BASE
from memhub_linux.registers.generic import MTRR_ENABLED, VALID, GenericMtrrs
from memhub_linux.registers.ranges import Fault, Range
from memhub_linux.registers.state_lines import state_lines
from memhub_linux.registers.type_map import UC, WB, WT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub_linux.machine import KernelLog, LinuxMachine
    from memhub_linux.registers.cpus import Cpus

#: What a look-up answers where ranges are off, and where a range covers one end only.
OFF: Final = 0xFF
PARTLY: Final = 0xFE

_U32: Final = 0xFFFFFFFF
_U64: Final = (1 << 64) - 1
_PAGE_MASK: Final = _U64 & ~0xFFF
_FIXED_END: Final = 0x100000
_FOUR_GIB: Final = 1 << 32
_DISABLE: Final = ~0xCFF


class OldGenericMtrrs:
    """The registers as 2.6.32 keeps them; what did not change since is `GenericMtrrs`.

    Args:
        machine: the machine.
        cpus: its registers.
        log: takes the kernel's lines.

    Attributes:
        count: how many registers there are.
        kept: the registers.
        warned: whether an odd mask was told of.
    """

    def __init__(self, machine: LinuxMachine, cpus: Cpus, log: KernelLog) -> None:
        self._cpus = cpus
        self._log = log
        self._over = over_width(machine)
        self.kept = GenericMtrrs(machine, cpus, log, width=address_width(machine))
        self.warned = False
        self.count = self.kept.count

    @property
    def changes(self) -> set[str]:
        """In what CPUs differed."""
        return self.kept.changes

    # Boot

    def boot(self) -> None:
        """Take the first CPU's state, and store it on the others."""
        kept = self.kept
        kept.read_registers()
        for line in state_lines(kept, fixed_on=bool(kept.enabled & 1), width=self._high_width()):
            self._log.add("debug", line)

        default = self._cpus.read(0, DEF_TYPE)
        kept.write(0, DEF_TYPE, default & _DISABLE)
        kept.write(0, DEF_TYPE, default)
        for cpu in range(1, len(self._cpus.files)):
            kept.set_state(cpu)

    def _high_width(self) -> int:
        """Digits of the high half of a register; the first bit over the width decides."""
        low = self._over & _U32
        first = low or self._over >> 32

        return ((first & -first).bit_length() - 1 + (0 if low else 32) - 20 + 3) // 4

    def save_before_start(self) -> None:
        """Save the fixed registers, as before a processor starts, even of a CPU without them."""
        self.kept.save_fixed(0)

    def resume(self, msrs: Mapping[int, int], conf: Mapping[int, int]) -> None:
        """Wake up, and store the state on each CPU."""
        self.kept.resume(msrs, conf)

    def store_everywhere(self) -> None:
        """Store the state on each CPU."""
        self.kept.store_everywhere()

    # Registers

    def get(self, index: int) -> Range:
        """What a register of the first CPU describes, reckoned in 32 bits of pages."""
        number = PHYS_BASE + 2 * index
        raw = self._cpus.read(0, number + 1)
        if not raw & VALID:
            return Range(0, 0, 0)

        base = self._cpus.read(0, number)
        mask = raw >> 12 & _U32
        whole = mask | self._over & _U32
        if mask:
            filled = (mask | -1 << mask.bit_length() - 1) & _U32
            if filled != whole:
                self._warn_of_mask()
                whole = filled

        return Range(base >> 12 & _U32, -whole & _U32, base & 0xFF)

    def _warn_of_mask(self) -> None:
        if not (self.warned or self._log.muted):
            self.warned = True
            self._log.add("WARN", "mtrr: your BIOS has set up an incorrect mask, fixing it up.")

    def find_free(self, base: int, size: int, replace: int) -> int | None:
        """The register that takes a new range; None if none is free."""
        if replace >= 0:
            return replace

        return next((it for it in range(self.count) if self.get(it).size == 0), None)

    def set(self, index: int, it: Range) -> None:
        """Write a register on every CPU; size 0 frees it."""
        self.kept.set(index, it)

    def check(self, it: Range) -> Fault | None:
        """The back end's own check of a new range."""
        return self.kept.check(it)

    def has_write_combining(self) -> bool:
        """Whether the CPU has write-combining ranges."""
        return self.kept.has_write_combining()

    # Types

    def look_up(self, start: int, end: int) -> tuple[int, bool | None]:
        """The type of a range of bytes, by its two ends only (mtrr_type_lookup)."""
        kept = self.kept
        if not kept.enabled:
            return OFF, None

        last = end - 1 & _U64
        if kept.have_fixed and start < _FIXED_END:
            return self._fixed_type(start), None

        if not kept.enabled & MTRR_ENABLED:
            return kept.default, None

        found, ends = self._variable_type(start, last)
        if not ends and kept.tom2 and start >= _FOUR_GIB and last < kept.tom2:
            return WB, None

        return kept.default if found is None else found, None

    def _fixed_type(self, start: int) -> int:
        if start < 0x80000:
            index = start >> 16
        elif start < 0xC0000:
            index = 8 + (start - 0x80000 >> 14)
        else:
            index = 24 + (start - 0xC0000 >> 12)

        return self.kept.fixed[index // 8] >> 8 * (index % 8) & 0xFF

    def _variable_type(self, start: int, last: int) -> tuple[int | None, bool]:
        """The type of the ranges that cover both ends, and whether it ends the search.

        Half a cover does, and so do two ranges that come to UC. One alone does not, UC or not:
        then memory up to TOM2 is write-back after all.
        """
        found: int | None = None
        for base, mask in self.kept.variable:
            if not mask & VALID:
                continue

            mask &= _PAGE_MASK
            covers = [at & mask == base & _PAGE_MASK & mask for at in (start, last)]
            if covers[0] != covers[1]:
                return PARTLY, True

            if not covers[0]:
                continue

            type_ = base & 0xFF
            if found is None:
                found = type_
            elif {found, type_} == {WB, WT}:
                found = WT
            elif UC in (found, type_) or found != type_:
                return UC, True

        return found, False


def address_width(machine: LinuxMachine) -> int:
    """The bits of an address that the kernel writes (mtrr_bp_init)."""
    if machine.width_leaf:
        prescott = (machine.vendor, machine.family, machine.model) == ("Intel", 15, 3)

        return 36 if prescott and machine.stepping in (3, 4) else machine.phys_bits

    return 32 if _is_small_centaur(machine) else 36


def over_width(machine: LinuxMachine) -> int:
    """The bits of a page number that are over the width (size_or_mask)."""
    if "mtrr" not in machine.features or (not machine.width_leaf and _is_small_centaur(machine)):
        return 0xFFF00000

    if not machine.width_leaf:
        return 0xFF000000

    return _U64 & ~((1 << address_width(machine) - 12) - 1)


def _is_small_centaur(machine: LinuxMachine) -> bool:
    return (machine.vendor, machine.family) == ("Centaur", 6)
