"""What the kernel does with page attributes at boot.

Source: Linux 6.18 `arch/x86/mm/pat/memtype.c` (pat_bp_init).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub_linux.pat.memtype import Memtype
from memhub_linux.pat.page_modes import (
    FULL_PAT,
    HALF_PAT,
    NO_PAT,
    pack_palette,
    unpack_palette,
)
from memhub_linux.texts import NO_PAT_LINE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memhub_linux.machine import LinuxMachine
    from memhub_linux.mtrr.layer import LinuxMtrr

PAT_REGISTER: Final = 0x277


def boot_page_attributes(
    mtrr: LinuxMtrr, ram: Sequence[tuple[int, int]], *, debug: bool = False
) -> Memtype:
    """Set page attributes up, after MTRRs.

    Args:
        mtrr: the MTRR layer; its machine has the feature `pat` or not, and perhaps the option
            `nopat`. Every CPU's PAT register is written.
        ram: the RAM, first and last byte, in order.
        debug: the kernel's parameter `debugpat`.
    """
    machine, cpus, log = mtrr.machine, mtrr.cpus, mtrr.log
    value = cpus.read(0, PAT_REGISTER) if "pat" in machine.features else 0
    why = NO_PAT_LINE if machine.no_pat else None
    if not value and why is None:
        by = "not supported by the CPU" if "pat" not in machine.features else ""
        why = f"PAT {by or 'support disabled by the firmware'}."
        log.add("info", f"x86/PAT: {why}")

    palette = unpack_palette(value or pack_palette(NO_PAT))
    if why is None and "xenpv" not in machine.features:
        palette = HALF_PAT if _has_half(machine) else FULL_PAT
        for cpu in range(len(cpus.files)):
            cpus.write(cpu, PAT_REGISTER, pack_palette(palette))

    words = "".join(f"{mode:<4}" for mode in palette)
    log.add("info", f"x86/PAT: Configuration [0-7]: {words}")

    return Memtype(mtrr, ram, why is None, palette, debug)


def _has_half(machine: LinuxMachine) -> bool:
    """Whether errata of old Intel CPUs leave only the lower four entries."""
    return machine.vendor == "Intel" and (
        (machine.family == 6 and 1 <= machine.model <= 0xD)
        or (machine.family == 0xF and 1 <= machine.model <= 6)
    )
