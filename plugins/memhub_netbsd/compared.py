"""NetBSD as `memhub compare` asks it: one public range in each system call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.plugin.comparing import PANIC, UNSAID, RangeTold
from memhub.plugin.kernels import TYPE_NUMBERS
from memhub_netbsd.i686 import I686Mtrrs
from memhub_netbsd.k6 import K6Mtrrs
from memhub_netbsd.registers import Registers
from memhub_netbsd.system_calls import MtrrCalls
from memhub_netbsd.table import FIXED, VALID, Mtrr, Panicked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.plugin.comparing import RangeAsk
    from memhub.plugin.kernels import Cpu, KernelMachine
    from memhub_netbsd.table import Driver

_PROCESS: Final = 1
_K6_FAMILY: Final = 5


def set_call(base: int, length: int, type_: str) -> str:
    """The call of an open file of a hub that sets a public range.

    Args:
        base: first byte.
        length: bytes.
        type_: UC, WC, WT, WP or WB.
    """
    return (
        f'call_kernel("set", entries=[[{base:#x}, {length:#x}, {TYPE_NUMBERS[type_]}, {VALID}, 0]])'
    )


class ComparedNetbsd:
    """One NetBSD that has booted, and the one process that asks it.

    Args:
        machine: what it boots on.
    """

    def __init__(self, machine: KernelMachine) -> None:
        self._registers = Registers(machine.msrs, machine.cpu.phys_bits, strict=True)
        self._dead = ""
        self._calls = MtrrCalls(None)
        try:
            self._calls = MtrrCalls(_attach(machine.cpu, self._registers))
        except Panicked as panic:
            self._dead = str(panic)

    @property
    def msrs(self) -> Mapping[int, int]:
        """The registers of the processor."""
        return self._registers.values

    def ask(self, it: RangeAsk) -> RangeTold:
        """Ask in one call; see `ComparedKernel`."""
        if self._dead:
            return RangeTold(PANIC, f"the kernel is dead: {self._dead}")

        entry = self._entry(it)
        if isinstance(entry, str):
            return RangeTold(UNSAID, entry)

        try:
            told = self._calls.set(_PROCESS, 1, [entry])
        except Panicked as panic:
            self._dead = str(panic)
            return RangeTold(PANIC, self._dead)

        return RangeTold(told.errno)

    def _entry(self, it: RangeAsk) -> Mtrr | str:
        """The range of the call, or why there is none."""
        rows = [] if self._calls.driver is None else self._calls.driver.table
        if not it.clear:
            if it.type is None:
                return "a range has exactly one type"

            return Mtrr(it.base, it.length, TYPE_NUMBERS[it.type], VALID)

        if it.register is None:
            same = (row for row in rows if (row.base, row.len) == (it.base, it.length))
            found = next((row for row in same if row.flags & VALID), None)

            return Mtrr(it.base, it.length, 0 if found is None else found.type)

        variable = [row for row in rows if not row.flags & FIXED]
        if it.register >= len(variable) or not variable[it.register].flags & VALID:
            return f"there is no range {it.register} to remove"

        row = variable[it.register]

        return Mtrr(row.base, row.len, row.type)


def _attach(cpu: Cpu, registers: Registers) -> Driver | None:
    if cpu.vendor == "AMD" and cpu.signature >> 8 & 0xF == _K6_FAMILY:
        return K6Mtrrs(registers)

    return I686Mtrrs(registers) if cpu.mtrr else None
