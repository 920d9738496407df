"""The registers as people are shown them, beside the text of `/proc/mtrr`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.plugin.kernels import TYPE_NAMES, KernelRange, KernelRanges
from memhub.plugin.x86 import registers_of_slot
from memhub_linux.registers.cpus import DEF_TYPE
from memhub_linux.registers.generic import FIXED_ENABLED, MTRR_ENABLED

if TYPE_CHECKING:
    from memhub.plugin.kernels import KernelMachine, KernelState
    from memhub_linux.mtrr.layer import LinuxMtrr

#: Where the fixed ranges end.
_FIXED_END: Final = 1 << 20


def shown_ranges(kernel: LinuxMtrr) -> KernelRanges:
    """The registers of a kernel, with their use counts, which stay as they are."""
    rows = kernel.table()
    used = (
        KernelRange(register, base << 12, size << 12, TYPE_NAMES.get(type_, "other"), uses=count)
        for register, (base, size, type_, count) in enumerate(rows)
        if size
    )

    return KernelRanges(len(rows), tuple(used))


def range_decides(
    machine: KernelMachine, state: KernelState, it: KernelRange, address: int
) -> bool:
    """Whether a register decides the type of an address.

    One of Intel's MTRRs does not where they are off, where a fixed range holds the address, and
    where its mask has a hole there, which `/proc/mtrr` does not show.
    """
    if state.own["back_end"] != "mtrr":
        return it.base <= address < it.base + it.length

    msrs = state.msrs
    enabled = msrs.get(DEF_TYPE, 0) >> 10
    if not enabled & MTRR_ENABLED or (enabled & FIXED_ENABLED and address < _FIXED_END):
        return False

    base, mask = (msrs.get(number, 0) for number, _ in registers_of_slot(it.register, 0))
    compared = mask & (1 << machine.cpu.phys_bits) - 1 & ~0xFFF

    return not (address ^ base) & compared
