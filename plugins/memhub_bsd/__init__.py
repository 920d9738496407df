"""bsd: the range drivers of OpenBSD and DragonFly, whose mem(4) has FreeBSD's ioctls.

openbsd-amd64, openbsd-i386   MTRRs with OpenBSD's own rules (`openbsd`)
openbsd-k6                    the two ranges of an AMD K6, descriptors only (`openbsd_k6`)
dragonfly                     FreeBSD's driver, on the CPUs that DragonFly serves

Sources: OpenBSD `sys/arch/amd64/amd64/amd64_mem.c`, `sys/arch/i386/i386/i686_mem.c`, `k6_mem.c`;
DragonFly `sys/platform/pc64/x86_64/amd64_mem.c`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.plugin import (
    ILP32,
    LP64,
    Arch,
    Cpu,
    RangeState,
    errors,
    freebsd,
    hookimpl,
    ordinary_registers,
)
from memhub.plugin.x86 import MtrrDriver
from memhub_bsd.openbsd import OpenBsdDriver, check_cpu
from memhub_bsd.openbsd_k6 import OPENBSD_K6

if TYPE_CHECKING:
    from collections.abc import Mapping

#: A change is not read back, so that the table keeps what the registers do not: the range that was
#: removed, and bits of addresses that the CPU does not have.
_OPENBSD_QUIRKS: Final = freebsd.MTRR_QUIRKS | {"registers-disagree", "type-outside-ranges"}
_SLOTS: Final = "88 fixed and the CPU's variable ones"


class DragonflyDriver(MtrrDriver):
    """FreeBSD's MTRR driver on the CPUs that DragonFly's kernel knows.

    Args:
        cpu: the processor.
        disabled: the tunable `machdep.disable_mtrrs`.
    """

    def __init__(self, cpu: Cpu, *, disabled: bool = False) -> None:
        super().__init__(cpu)
        self._identity = cpu
        self._disabled = disabled

    def attach(self, msrs: Mapping[int, int]) -> RangeState:
        """Read the registers.

        Raises:
            NotSupported: the driver does not serve the CPU, or is switched off.
        """
        if self._disabled:
            raise errors.NotSupported("machdep.disable_mtrrs is set")

        check_cpu(self._identity, "DragonFly")

        return super().attach(msrs)


def _make_dragonfly(cpu: Cpu, options: Mapping[str, Any]) -> DragonflyDriver:
    return DragonflyDriver(cpu, disabled=bool(options.get("disable_mtrrs", False)))


def _make_openbsd(cpu: Cpu, _options: Mapping[str, Any]) -> OpenBsdDriver:
    return OpenBsdDriver(cpu)


def _make_openbsd32(cpu: Cpu, _options: Mapping[str, Any]) -> OpenBsdDriver:
    return OpenBsdDriver(cpu, unknown_conflicts=False)


ARCHES: Final = (
    Arch(
        name="dragonfly",
        summary="DragonFly: MTRRs as FreeBSD 12 has them",
        model=LP64,
        releases=freebsd.AMD64,
        driver=_make_dragonfly,
        options=frozenset({"disable_mtrrs"}),
        slots=_SLOTS,
        firmware=ordinary_registers,
        quirks=freebsd.MTRR_QUIRKS,
    ),
    Arch(
        name="openbsd-amd64",
        summary="OpenBSD: MTRRs, not read back after a change",
        model=LP64,
        releases=freebsd.AMD64,
        driver=_make_openbsd,
        slots=_SLOTS,
        firmware=ordinary_registers,
        quirks=_OPENBSD_QUIRKS,
    ),
    Arch(
        name="openbsd-i386",
        summary="OpenBSD: MTRRs, not read back after a change, on 32 bits",
        model=ILP32,
        releases=freebsd.I386,
        driver=_make_openbsd32,
        slots=_SLOTS,
        firmware=ordinary_registers,
        quirks=_OPENBSD_QUIRKS,
    ),
    OPENBSD_K6,
)


@hookimpl
def memhub_arches() -> list[Arch]:
    """Register OpenBSD's and DragonFly's drivers."""
    return list(ARCHES)
