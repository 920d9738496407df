"""powerpc: eight ranges in software that steer how /dev/mem is mapped.

Nothing is checked: any base, length and flags go into the first free slot, MDF_ACTIVE added, and
a length of 0 leaves the slot free for the next request. A real PowerPC is big-endian; memhub's
binary interface is little-endian on every architecture, so this one speaks ILP32 as i386 does.

Source: FreeBSD `sys/powerpc/powerpc/mem.c` (ppc_mrset, memmmap).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.plugin import ILP32, LP64, Arch, Cpu, RangeDesc, abi, freebsd, hookimpl
from memhub.plugin.software import SoftwareRangeDriver

if TYPE_CHECKING:
    from collections.abc import Mapping

_TYPES: Final[Mapping[int, str]] = {
    abi.MDF_UNCACHEABLE: "UC",
    abi.MDF_WRITECOMBINE: "WC",
    abi.MDF_WRITETHROUGH: "WT",
    abi.MDF_WRITEBACK: "WB",
}


class PowerPcDriver(SoftwareRangeDriver):
    """The eight ranges of `sys/powerpc/powerpc/mem.c`."""

    def __init__(self) -> None:
        super().__init__(slots=8)

    def stored(self, desc: RangeDesc) -> RangeDesc:
        """The caller's descriptor, every flag of it, with MDF_ACTIVE."""
        return RangeDesc(desc.mr_base, desc.mr_len, desc.mr_flags | abi.MDF_ACTIVE, desc.mr_owner)

    def type_of(self, desc: RangeDesc) -> str | None:
        """One of four attributes alone; with any other the range keeps the default."""
        return _TYPES.get(desc.mr_flags & abi.MDF_ATTRMASK)


def _make_driver(_cpu: Cpu, _options: Mapping[str, Any]) -> PowerPcDriver:
    return PowerPcDriver()


POWERPC = Arch(
    name="powerpc",
    summary="ranges in software, unchecked, without registers",
    model=ILP32,
    releases=freebsd.POWERPC32,
    driver=_make_driver,
    slots="8 ranges",
)
POWERPC64 = Arch(
    name="powerpc64",
    summary="powerpc with 64-bit addresses",
    model=LP64,
    releases=freebsd.POWERPC64,
    driver=_make_driver,
    slots="8 ranges",
)


@hookimpl
def memhub_arches() -> list[Arch]:
    """Register powerpc and powerpc64."""
    return [POWERPC, POWERPC64]
