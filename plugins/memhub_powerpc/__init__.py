"""powerpc: eight ranges in software that steer how /dev/mem is mapped.

Nothing is checked: any base, length and flags go into the first free slot, MDF_ACTIVE added, and
a length of 0 leaves the slot free for the next request. A range of one of four attributes has its
type; with any other the range keeps the default. A real PowerPC is big-endian; memhub's
binary interface is little-endian on every architecture, so this one speaks ILP32 as i386 does.

Source: FreeBSD `sys/powerpc/powerpc/mem.c` (ppc_mrset, memmmap).
"""

from __future__ import annotations

from dataclasses import replace

from memhub.plugin import ILP32, LP64, Arch, freebsd, hookimpl
from memhub.plugin.declared import DeclaredArch, make_arch

DECLARED = DeclaredArch(
    name="powerpc",
    summary="ranges in software, unchecked, without registers",
    model=ILP32,
    releases=freebsd.POWERPC32,
    slots=8,
    types={
        "uncacheable": "UC",
        "write-combine": "WC",
        "write-through": "WT",
        "write-back": "WB",
        "write-protect": "",
    },
    order=("same", "full"),
    search="first free slot",
    mixed="default",
    keep_flags=True,
    quirks=("grants-empty", "grants-beyond", "grants-wrapping"),
)
DECLARED64 = replace(
    DECLARED,
    name="powerpc64",
    summary="powerpc with 64-bit addresses",
    model=LP64,
    releases=freebsd.POWERPC64,
)
POWERPC = make_arch(DECLARED)
POWERPC64 = make_arch(DECLARED64)


@hookimpl
def memhub_arches() -> list[Arch]:
    """Register powerpc and powerpc64."""
    return [POWERPC, POWERPC64]
