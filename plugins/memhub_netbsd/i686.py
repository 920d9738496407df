"""NetBSD's driver of Intel's MTRRs.

Source: NetBSD `sys/arch/x86/x86/mtrr_i686.c`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from memhub_netbsd.table import (
    FIXED,
    PRIVATE,
    VALID,
    WC,
    Mtrr,
    Panicked,
    Refused,
    name_types,
    place_variable,
    stored,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub_netbsd.registers import Registers

_CAP: Final = 0xFE
DEF_TYPE: Final = 0x2FF
_BASE: Final = 0x200
_FIXED_MSRS: Final = (0x250, 0x258, 0x259, *range(0x268, 0x270))
_FIXED_SIZES: Final = (0x10000,) * 8 + (0x4000,) * 16 + (0x1000,) * 64
#: How many ranges of the table are fixed; they are first.
FIXED_COUNT: Final = 88
_MIB: Final = 1 << 20
_TYPES: Final = (0, 1, 4, 5, 6)
#: A register holds 36 bits of an address, whatever the processor has.
_ADDRESS: Final = 0xFFFFFF000
_MASK_VALID: Final = 0x800
_ENABLE: Final = 0x800
_VARIABLE_MAX: Final = 16


class I686Mtrrs:
    """The table and its registers.

    Args:
        registers: the registers, as firmware left them; ranges are enabled at once.
        default: the default type that it attached to, of a driver that has attached.

    Attributes:
        table: the ranges.
        default: the register of the default type, as it was at the attach.
    """

    most = FIXED_COUNT + _VARIABLE_MAX
    listed = most

    def __init__(self, registers: Registers, default: int | None = None) -> None:
        self._registers = registers
        cap = registers.read(_CAP)
        self._write_combining = bool(cap & 0x400)
        self._count = min(cap & 0xFF, _VARIABLE_MAX)
        self.default = registers.read(DEF_TYPE) if default is None else default
        self.table = [*self._fixed_rows(), *map(self._variable_row, range(self._count))]
        if default is None:
            registers.write(DEF_TYPE, self.default | _ENABLE)

    def _fixed_rows(self) -> Iterator[Mtrr]:
        base = 0
        for index, size in enumerate(_FIXED_SIZES):
            value = self._registers.read(_FIXED_MSRS[index // 8])
            yield Mtrr(base, size, value >> 8 * (index % 8) & 0xFF, FIXED | VALID)
            base += size

    def _variable_row(self, index: int) -> Mtrr:
        mask = self._registers.read(_BASE + 2 * index + 1)
        if not mask & _MASK_VALID:
            return Mtrr()

        base = self._registers.read(_BASE + 2 * index)

        return Mtrr(base & _ADDRESS, (~(mask & _ADDRESS) + 1) & _ADDRESS, base & 0xFF, VALID)

    def check(self, it: Mtrr, process: int | None) -> None:
        """Refuse what no range can be.

        Raises:
            Refused: EINVAL; ENODEV where write-combining is not supported.
        """
        if it.base & 0xFFF or it.len & 0xFFF or not it.len:
            raise Refused("EINVAL", "base and length are multiples of 0x1000, and length is not 0")

        if it.flags & PRIVATE and process is None:
            raise Refused("EINVAL", "the kernel itself has no private ranges")

        if it.flags & VALID and it.type not in _TYPES:
            raise Refused("EINVAL", f"the types are {name_types(_TYPES)}")

        if it.type == WC and not self._write_combining:
            raise Refused("ENODEV", "this processor has no write-combining")

        if it.flags & FIXED and it.end > _MIB:
            raise Refused("EINVAL", f"it is to be fixed, and fixed ranges end at {_MIB:#x}")

        for border in (it.base, it.end) if it.flags & FIXED else ():
            if border & _granule_at(border) - 1:
                why = f"fixed ranges begin there at multiples of {_granule_at(border):#x}"
                raise Refused("EINVAL", f"it is to be fixed, and {border:#x} is amid one: {why}")

    def set_one(self, it: Mtrr, process: int | None) -> None:
        """Put one range into the table.

        Raises:
            Refused: EBUSY.
            Panicked: no fixed entry begins where a range below 1 MiB does.
        """
        if (it.flags & FIXED or it.end <= _MIB) and self._set_fixed(it, process):
            return

        rows = self.table[FIXED_COUNT:]
        place = place_variable(rows, FIXED_COUNT, it, process)
        self.table[FIXED_COUNT + place] = stored(it, process)

    def _set_fixed(self, it: Mtrr, process: int | None) -> bool:
        """Set fixed entries; False where they are another's and the range may go elsewhere."""
        first = last = None
        for index, row in enumerate(self.table[:FIXED_COUNT]):
            if row.base == it.base:
                first, last = index, index + 1

            if row.end == it.end:
                last = index + 1
                break

        if first is None or last is None:
            raise Panicked("mtrr: fixed register screwup")

        for index in range(first, last):
            old = self.table[index]
            if old.flags & PRIVATE and process is not None and old.owner != process:
                if it.flags & FIXED:
                    raise Refused(
                        "EBUSY", f"fixed range {index}, {old}, is private to process {old.owner}"
                    )

                return False

        for index in range(first, last):
            old = self.table[index]
            if not it.flags & VALID:
                self.table[index] = replace(old, flags=old.flags & ~PRIVATE)
            elif it.flags & PRIVATE and process is not None:
                flags = old.flags | PRIVATE
                self.table[index] = replace(old, type=it.type, flags=flags, owner=process)
            else:
                self.table[index] = replace(old, type=it.type)

        return True

    def commit(self) -> None:
        """Write every register, with ranges enabled.

        Raises:
            Panicked: the processor faults.
        """
        write = self._registers.write
        for index, row in enumerate(self.table[FIXED_COUNT:]):
            number = _BASE + 2 * index
            mask = ~(row.len - 1) & _ADDRESS
            write(number, row.base & ~0xFFF | row.type)
            write(number + 1, mask | (_MASK_VALID if row.flags & VALID else 0))

        for at, number in enumerate(_FIXED_MSRS):
            types = bytes(row.type for row in self.table[8 * at : 8 * at + 8])
            write(number, int.from_bytes(types, "little"))

        write(DEF_TYPE, self.default | _ENABLE)

    def release(self, process: int) -> None:
        """End the private ranges of a process, and write the registers."""
        for index, row in enumerate(self.table):
            if row.flags & PRIVATE and row.owner == process:
                gone = PRIVATE if index < FIXED_COUNT else PRIVATE | VALID
                self.table[index] = replace(row, flags=row.flags & ~gone)

        self.commit()


def _granule_at(address: int) -> int:
    """The length of the fixed entries at an address."""
    if address < 0x80000:
        return 0x10000

    return 0x4000 if address < 0xC0000 else 0x1000
