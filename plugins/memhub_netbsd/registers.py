"""The registers of the processor, and what it refuses to store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub_netbsd.table import Panicked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FIXED: Final = frozenset({0x250, 0x258, 0x259, *range(0x268, 0x270)})
_TYPES: Final = frozenset({0, 1, 4, 5, 6})


class Registers:
    """The registers of every processor; what is stored, each stores.

    Args:
        msrs: registers that firmware left; others are 0.
        phys_bits: physical address width in bits.
        strict: whether a store with reserved bits or types faults, as hardware does.
        others: the registers of the other processors.

    Attributes:
        files: the registers of each processor.
    """

    def __init__(
        self,
        msrs: Mapping[int, int],
        phys_bits: int,
        *,
        strict: bool,
        others: Sequence[Mapping[int, int]] = (),
    ) -> None:
        self.files = [dict(it) for it in (msrs, *others)]
        self._strict = strict
        self._reserved = ~((1 << phys_bits) - 1)

    @property
    def values(self) -> Mapping[int, int]:
        """The registers of the first processor."""
        return self.files[0]

    def read(self, number: int) -> int:
        """The value of a register of the first processor."""
        return self.values.get(number, 0)

    def write(self, number: int, value: int) -> None:
        """Store a register.

        Raises:
            Panicked: the processor faults, and the kernel dies of it.
        """
        if self._strict and self._refuses(number, value):
            raise Panicked(f"protection fault trap writing MSR {number:#x}")

        for file in self.files:
            if value or number in file:
                file[number] = value

    def _refuses(self, number: int, value: int) -> bool:
        if 0x200 <= number < 0x240:
            if number & 1:
                return bool(value & (self._reserved | 0x7FF))

            return bool(value & (self._reserved | 0xF00)) or value & 0xFF not in _TYPES

        if number == 0x2FF:
            return bool(value & ~0xCFF) or value & 0xFF not in _TYPES

        return number in _FIXED and any(it not in _TYPES for it in value.to_bytes(8, "little"))
