"""The registers as people are shown them, beside the text of `/proc/mtrr`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.plugin.kernels import TYPE_NAMES, KernelRange, KernelRanges

if TYPE_CHECKING:
    from memhub_linux.mtrr import LinuxMtrr


def shown_ranges(kernel: LinuxMtrr) -> KernelRanges:
    """The registers of a kernel, with their use counts, which stay as they are."""
    rows = kernel.table()
    used = (
        KernelRange(register, base << 12, size << 12, TYPE_NAMES.get(type_, "other"), uses=count)
        for register, (base, size, type_, count) in enumerate(rows)
        if size
    )

    return KernelRanges(len(rows), tuple(used))
