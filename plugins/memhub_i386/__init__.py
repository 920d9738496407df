"""i386: the MTRRs of 32-bit FreeBSD, up to release 9 or so.

The same machinery as `amd64_mtrr` under stricter attach rules: the older driver wants a vendor
and a CPU family that it knows, where the newer one trusts the CPUID bit.

Source: FreeBSD `sys/i386/i386/i686_mem.c` (i686_mem_drvinit), `sys/i386/i386/mem.c` (memrw).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.plugin import (
    ILP32,
    Arch,
    Cpu,
    RangeState,
    errors,
    freebsd,
    hookimpl,
    ordinary_registers,
)
from memhub.plugin.x86 import MtrrDriver

if TYPE_CHECKING:
    from collections.abc import Mapping

_VENDORS: Final = frozenset({"Intel", "AMD", "Centaur"})
_FAMILIES: Final = frozenset({0x600, 0xF00})


class I386Driver(MtrrDriver):
    """The MTRR driver for the CPUs that the i386 kernel knew.

    Args:
        cpu: the processor.
    """

    def __init__(self, cpu: Cpu) -> None:
        super().__init__(cpu)
        self._identity = (cpu.vendor, cpu.signature)

    def attach(self, msrs: Mapping[int, int]) -> RangeState:
        """Read the registers.

        Raises:
            NotSupported: the CPU has no MTRRs, or is not of family nibble 6 or 0xf from Intel,
                AMD or Centaur.
        """
        vendor, signature = self._identity
        if vendor not in _VENDORS or signature & 0xF00 not in _FAMILIES:
            raise errors.NotSupported(
                f"a {vendor} CPU of signature {signature:#x}: the i386 driver serves family "
                "nibble 0x6 and 0xf of Intel, AMD and Centaur alone"
            )

        return super().attach(msrs)


def _make_driver(cpu: Cpu, _options: Mapping[str, Any]) -> I386Driver:
    return I386Driver(cpu)


I386 = Arch(
    name="i386",
    summary="MTRRs: aligned powers of two from 4 KiB, fixed ranges below 1 MiB",
    model=ILP32,
    releases=freebsd.I386,
    driver=_make_driver,
    slots="88 fixed and the CPU's variable ones",
    firmware=ordinary_registers,
    quirks=freebsd.MTRR_QUIRKS,
)


@hookimpl
def memhub_arches() -> list[Arch]:
    """Register i386."""
    return [I386]
