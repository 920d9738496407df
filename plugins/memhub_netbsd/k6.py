"""NetBSD's driver of the two ranges of an AMD K6.

Source: NetBSD `sys/arch/i386/i386/mtrr_k6.c`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from memhub_netbsd.table import (
    PRIVATE,
    UC,
    VALID,
    WC,
    WT,
    Mtrr,
    Refused,
    name_types,
    stored,
    why_none_free,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memhub_netbsd.registers import Registers

#: The register that holds both ranges.
K6_REGISTER: Final = 0xC0000085
_U32: Final = 0xFFFFFFFF
_U64: Final = (1 << 64) - 1
_UNIT_BITS: Final = 17
_GRANULE: Final = (1 << _UNIT_BITS) - 1
#: The bits of the types that there are.
_BITS: Final = {UC: 1, WC: 2, WT: 0}


class K6Mtrrs:
    """The table and its register.

    Args:
        registers: the registers, as firmware left them.
        _default: what `I686Mtrrs` has; a K6 has no default type.
    """

    most = 2
    listed = 2

    def __init__(self, registers: Registers, _default: int | None = None) -> None:
        self._registers = registers
        self.default: int | None = None
        value = registers.read(K6_REGISTER)
        self.table = [_row(value >> 32 * it & 0xFFFFFFFF) for it in range(2)]

    def check(self, it: Mtrr, process: int | None) -> None:
        """Refuse what no range can be."""
        if it.flags & PRIVATE and process is None:
            raise Refused("EINVAL", "the kernel itself has no private ranges")

        length = it.len
        if it.base & _GRANULE or length <= _GRANULE or length & length - 1:
            why = "base is a multiple of 0x20000, and length a power of two of at least that"
            raise Refused("EINVAL", why)

        if it.type not in _BITS:
            raise Refused("EINVAL", f"the types are {name_types(_BITS)}")

    def set_one(self, it: Mtrr, process: int | None) -> None:
        """Put one range into the table."""
        self.table[_place(self.table, it, process)] = stored(it, process)

    def commit(self) -> None:
        """Write the register."""
        low, high = map(_half, self.table)
        self._registers.write(K6_REGISTER, (low | high << 32) & _U64)

    def release(self, process: int) -> None:
        """End the private ranges of a process, and write the register."""
        for index, row in enumerate(self.table):
            if row.flags & PRIVATE and row.owner == process:
                self.table[index] = replace(row, flags=row.flags & ~(PRIVATE | VALID))

        self.commit()


def _place(rows: Sequence[Mtrr], new: Mtrr, process: int | None) -> int:
    """The range that takes a new one; addresses count with their lower 32 bits.

    Raises:
        Refused: EBUSY.
    """
    low, high = new.base & _U32, new.end & _U32
    free = -1
    for index, old in enumerate(rows):
        if not old.flags & VALID:
            free = index
            continue

        first, last = old.base & _U32, old.end & _U32
        foreign = bool(old.flags & PRIVATE) and old.owner != process
        if (low, high) == (first, last) and not foreign:
            return index

        meets = first <= high < last or first <= low < last
        if meets and (old.type != new.type or foreign):
            holder = f", private to process {old.owner}" if foreign else ""
            raise Refused("EBUSY", f"it meets range {index}, {old}{holder}")

    if free < 0:
        raise Refused("EBUSY", why_none_free(rows))

    return free


def _row(half: int) -> Mtrr:
    """What half of the register describes; the length is not that of the mask, as in the kernel."""
    mask = half >> 2 & 0x7FFF
    if not mask:
        return Mtrr()

    length = (mask & -mask).bit_length() << _UNIT_BITS
    type_ = UC if half & 1 else WC if half & 2 else WT

    return Mtrr(half & 0xFFFE0000, length, type_, VALID)


def _half(row: Mtrr) -> int:
    """Half of the register; a base above 4 GiB reaches into the other half."""
    if not row.flags & VALID:
        return 0

    unit = row.len & -row.len

    return row.base & ~_GRANULE | -unit >> 15 & 0x1FFFC | _BITS[row.type]
