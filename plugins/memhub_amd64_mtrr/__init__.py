"""amd64-mtrr: what FreeBSD's own amd64 kernel does, where range ioctls program the MTRRs.

The `amd64` architecture reaches page attributes instead; this one is the kernel's behaviour.

Source: FreeBSD `sys/x86/x86/x86_mem.c` (x86_mem_drvinit), `sys/amd64/amd64/mem.c` (memrw).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.plugin import LP64, Arch, Cpu, freebsd, hookimpl, ordinary_registers
from memhub.plugin.x86 import MtrrDriver

if TYPE_CHECKING:
    from collections.abc import Mapping


def _make_driver(cpu: Cpu, _options: Mapping[str, Any]) -> MtrrDriver:
    return MtrrDriver(cpu)


AMD64_MTRR = Arch(
    name="amd64-mtrr",
    summary="MTRRs, as FreeBSD's own amd64 driver programs them",
    model=LP64,
    releases=freebsd.AMD64,
    driver=_make_driver,
    slots="88 fixed and the CPU's variable ones",
    firmware=ordinary_registers,
    quirks=freebsd.MTRR_QUIRKS,
)


@hookimpl
def memhub_arches() -> list[Arch]:
    """Register amd64-mtrr."""
    return [AMD64_MTRR]
