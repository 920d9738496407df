"""The registers of every CPU, and what a processor refuses to store."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MTRR_CAP: Final = 0xFE
DEF_TYPE: Final = 0x2FF
PHYS_BASE: Final = 0x200
#: The registers of the fixed ranges, by address: 64 KiB, 16 KiB and 4 KiB ranges, eight in each.
FIXED: Final = (0x250, 0x258, 0x259, *range(0x268, 0x270))
SYSCFG: Final = 0xC0010010
TOP_MEM2: Final = 0xC001001D

NONE: Final[Mapping[int, Any]] = MappingProxyType({})
_VARIABLE_END: Final = 0x240
_TYPES: Final = frozenset({0, 1, 4, 5, 6})


class Cpus:
    """The registers of some CPUs.

    Args:
        count: how many CPUs.
        phys_bits: physical address width in bits.
        strict: whether a CPU refuses a store with reserved bits or types, as hardware does; else
            it stores whatever is written.
        msrs: registers that firmware left on every CPU, by number; others are 0.
        differences: for each CPU by number, the registers in which it differs.
        conf: the indexed registers of a Cyrix.

    Attributes:
        woken: for each CPU by number, the registers in which it wakes up different.
    """

    def __init__(
        self,
        count: int,
        phys_bits: int,
        *,
        strict: bool,
        msrs: Mapping[int, int],
        differences: Mapping[int, Mapping[int, int]] = NONE,
        conf: Mapping[int, int] = NONE,
    ) -> None:
        self.conf = dict(conf)
        self.woken: Mapping[int, Mapping[int, int]] = NONE
        self.files = [{**msrs, **differences.get(cpu, {})} for cpu in range(count)]
        self._strict = strict
        self._reserved = ~((1 << phys_bits) - 1)

    def read(self, cpu: int, number: int) -> int:
        """The value of a register."""
        return self.files[cpu].get(number, 0)

    def write(self, cpu: int, number: int, value: int) -> bool:
        """Store a register; False where the CPU faults and keeps the old value."""
        if self._strict and self._refuses(number, value):
            return False

        self.files[cpu][number] = value

        return True

    def write_all(self, number: int, value: int) -> None:
        """Store a register on every CPU."""
        for cpu in range(len(self.files)):
            self.write(cpu, number, value)

    def reset(self, msrs: Mapping[int, int], conf: Mapping[int, int]) -> None:
        """Give every CPU the registers that firmware leaves when the machine wakes up."""
        self.files = [
            {**dict.fromkeys(was, 0), **msrs, **self.woken.get(cpu, {})}
            for cpu, was in enumerate(self.files)
        ]
        self.conf.clear()
        self.conf.update(conf)

    def differing(self) -> dict[int, dict[int, int]]:
        """For each CPU but the first, the registers in which it differs from that."""
        first = self.files[0]
        found = {}
        for cpu, own in enumerate(self.files[1:], 1):
            unlike = {
                number: own.get(number, 0)
                for number in sorted({*first, *own})
                if own.get(number, 0) != first.get(number, 0)
            }
            if unlike:
                found[cpu] = unlike

        return found

    def _refuses(self, number: int, value: int) -> bool:
        if PHYS_BASE <= number < _VARIABLE_END:
            if number & 1:
                return bool(value & (self._reserved | 0x7FF))

            return bool(value & (self._reserved | 0xF00)) or value & 0xFF not in _TYPES

        if number == DEF_TYPE:
            return bool(value & ~0xCFF) or value & 0xFF not in _TYPES

        if number in FIXED:
            return any(byte not in _TYPES for byte in value.to_bytes(8, "little"))

        return False
