"""What drivers use for write-combining ranges: handles, which are registers and a number more.

Source: Linux 6.18 `arch/x86/kernel/cpu/mtrr/mtrr.c` (arch_phys_wc_add and its neighbours).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub_linux.refused import Refused
from memhub_linux.registers.type_map import WC

if TYPE_CHECKING:
    from memhub_linux.mtrr.layer import LinuxMtrr

_WC_HANDLE: Final = 1000


def add_write_combining(kernel: LinuxMtrr, base: int, size: int) -> int:
    """A driver's write-combining range (arch_phys_wc_add): a handle, 0 if none is needed."""
    if kernel.machine.pat or kernel.back is None:
        return 0

    try:
        return kernel.add(base, size, WC, increment=True) + _WC_HANDLE
    except Refused:
        kernel.log.add("warn", "Failed to add WC MTRR for [<ptr>-<ptr>]; performance may suffer.")
        raise


def delete_write_combining(kernel: LinuxMtrr, handle: int) -> None:
    """Give a handle back (arch_phys_wc_del)."""
    if handle < 1:
        return

    if handle < _WC_HANDLE:
        kernel.log.add("WARN", "handle < MTRR_TO_PHYS_WC_OFFSET")

    try:
        kernel.delete(handle - _WC_HANDLE, 0, 0)
    except Refused:
        return


def index_of(handle: int) -> int:
    """The register of a driver's handle, or -1 (arch_phys_wc_index)."""
    return handle - _WC_HANDLE if handle >= _WC_HANDLE else -1
