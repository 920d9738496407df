"""The back ends of processors without Intel's MTRRs: AMD K6, Centaur MCR and Cyrix ARR.

Source: Linux 6.18 `arch/x86/kernel/cpu/mtrr/amd.c`, `centaur.c`, `cyrix.c` and `legacy.c`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub_linux.registers.ranges import Fault, Range, alignment_fault
from memhub_linux.registers.type_map import UC, WB, WC, WT
from memhub_linux.texts import type_name

if TYPE_CHECKING:
    from memhub_linux.machine import LinuxMachine
    from memhub_linux.registers.cpus import Cpus
    from memhub_linux.registers.ranges import BackEnd

_U32: Final = 0xFFFFFFFF
#: The register of a K6 that holds both ranges, and the first one of a Centaur.
K6_REGISTER: Final = 0xC0000085
CENTAUR_BASE: Final = 0x110
#: Pages of the smallest range of a K6.
_K6_LEAST: Final = 0x20
_ARR: Final = 0xC4
_RCR: Final = 0xDC
_BIG: Final = 7


class K6Ranges:
    """The two ranges of an AMD K6, in one register."""

    count = 2

    def __init__(self, cpus: Cpus) -> None:
        self._cpus = cpus

    def get(self, index: int) -> Range:
        """What half of the register describes."""
        half = self._half(index)
        base, type_ = (half & 0xFFFE0000) >> 12, WC if half & 2 else UC
        if not half & 3:
            return Range(base, 0, type_)

        return Range(base, (~half & 0x1FFFC) + 4 << 3, type_)

    def _half(self, index: int) -> int:
        return self._cpus.read(0, K6_REGISTER) >> 32 * index & _U32

    def set(self, index: int, it: Range) -> None:
        """Write half of the register; size 0 frees it."""
        half = 0
        if it.size:
            half = (-it.size & _U32) >> 3 & 0x1FFFC | it.base << 12 & _U32 | it.type + 1

        halves = [self._half(0), self._half(1)]
        halves[index] = half
        self._cpus.write_all(K6_REGISTER, halves[0] | halves[1] << 32)

    def check(self, it: Range) -> Fault | None:
        """What is wrong with a new range; the kernel prints nothing."""
        rule = _broken_k6_rule(it)

        return None if rule is None else Fault(rule, printed=False)

    def find_free(self, base: int, size: int, replace: int) -> int | None:
        """The half that takes a new range; None if none is free."""
        return first_free(self, replace)

    def has_write_combining(self) -> bool:
        """It always has."""
        return True


def _broken_k6_rule(it: Range) -> str | None:
    size = it.size
    if it.type > WC:
        return f"type {type_name(it.type)} is not one of a K6: uncachable, write-combining"

    if size < _K6_LEAST:
        return f"size {size << 12:#x} is less than the 128 KiB of a K6's smallest range"

    if size & size - 1:
        return f"size {size << 12:#x} is not a power of two, as a range of a K6 is"

    if it.base & size - 1:
        return f"base {it.base << 12:#x} is not a multiple of the size {size << 12:#x}"

    return None


class CentaurRanges:
    """The eight write-combining ranges of an IDT WinChip; the kernel keeps a copy of them.

    Args:
        cpus: the registers.
        firmware: the ranges that firmware left, low and high half by index.
    """

    count = 8

    def __init__(self, cpus: Cpus, firmware: dict[int, tuple[int, int]]) -> None:
        self._cpus = cpus
        self.kept = [firmware.get(it, (0, 0)) for it in range(self.count)]

    def get(self, index: int) -> Range:
        """What the kernel's copy of a register describes."""
        low, high = self.kept[index]
        size = (-(low & 0xFFFFF000) & _U32) >> 12

        return Range(high >> 12, size, WB if low & 31 == 31 else WC)

    def set(self, index: int, it: Range) -> None:
        """Write a register; size 0 frees it."""
        low = high = 0
        if it.size:
            low, high = -it.size << 12 & _U32 | 0x1F, it.base << 12 & _U32

        self.kept[index] = (low, high)
        self._cpus.write_all(CENTAUR_BASE + index, low | high << 32)

    def check(self, it: Range) -> Fault | None:
        """What is wrong with a new range."""
        return None if it.type == WC else Fault("mtrr: only write-combining is supported")

    def find_free(self, base: int, size: int, replace: int) -> int | None:
        """The register that takes a new range; None if none is free."""
        return first_free(self, replace)

    def has_write_combining(self) -> bool:
        """It always has."""
        return True


#: What registers 0 to 6, and register 7, hold for a type; other types are write-back.
_SMALL_CODES: Final = {UC: 1, WC: 9, WT: 24}
_BIG_CODES: Final = {UC: 0, WC: 8, WT: 25}
_SMALL_TYPES: Final = {1: UC, 8: WB, 9: WC}
_BIG_TYPES: Final = {0: UC, 8: WC, 9: WB}


class CyrixRanges:
    """The eight address regions of a Cyrix, in indexed registers; the last one is for big ones."""

    count = 8

    def __init__(self, machine: LinuxMachine, cpus: Cpus) -> None:
        self._machine = machine
        self._conf = cpus.conf

    def get(self, index: int) -> Range:
        """What a region describes."""
        arr, conf = _ARR + 3 * index, self._conf
        high, middle, low = (conf.get(arr + it, 0) for it in range(3))
        code, shift = conf.get(_RCR + index, 0), low & 0xF
        base = (high << 24 | middle << 16 | low << 8) >> 12
        size = (1 if index < _BIG else 0x40) << shift - 1 if shift else 0
        types = _SMALL_TYPES if index < _BIG else _BIG_TYPES

        return Range(base, size, types.get(code, WT))

    def set(self, index: int, it: Range) -> None:
        """Write a region; a size that it cannot hold switches it off."""
        arr, base = _ARR + 3 * index, it.base << 12
        size = (it.size >> 6 if index >= _BIG else it.size) & 0x7FFF
        codes, other = (_SMALL_CODES, 8) if index < _BIG else (_BIG_CODES, 9)
        self._conf[arr] = base >> 24 & 0xFF
        self._conf[arr + 1] = base >> 16 & 0xFF
        self._conf[arr + 2] = base >> 8 & 0xFF | size.bit_length()
        self._conf[_RCR + index] = codes.get(it.type, other)

    def check(self, it: Range) -> Fault | None:
        """What is wrong with a new range."""
        return alignment_fault(it, self._machine.long_mask)

    def find_free(self, base: int, size: int, replace: int) -> int | None:
        """The region that takes a new range; None if none is free."""
        if replace >= 0 and (replace != _BIG or size >= 0x40):
            return replace

        if size > 0x2000:
            return _BIG if not self.get(_BIG).size else None

        found = next((it for it in range(_BIG) if not self.get(it).size), None)
        if found is None and size >= 0x40 and not self.get(_BIG).size:
            return _BIG

        return found

    def has_write_combining(self) -> bool:
        """It always has."""
        return True


def used_ranges(back: BackEnd) -> list[tuple[int, Range]]:
    """The ranges in use, each with its register."""
    found = ((index, back.get(index)) for index in range(back.count))

    return [(index, it) for index, it in found if it.size]


def first_free(back: K6Ranges | CentaurRanges, replace: int) -> int | None:
    """The register that a new range replaces, or the first free one."""
    if replace >= 0:
        return replace

    return next((it for it in range(back.count) if not back.get(it).size), None)
