"""k6: the two write-combining ranges of AMD's K6-2 and K6-III.

The descriptors are FreeBSD's, quirks included: a request with no attribute takes a slot all the
same, WRITECOMBINE and UNCACHEABLE may be given together, base and length need not be aligned to
each other, base bits above 4 GiB pass, and a slot keeps the caller's flags, never MDF_ACTIVE, so
that memcontrol(8) lists it with -a only. UWCCR is read at attach and not written: FreeBSD's own
arithmetic for the second slot shifts 32 bits by 32, which C leaves undefined. A length above
256 KiB comes out of it wrong, as FreeBSD computes it from the index of the mask's lowest bit.

Source: FreeBSD `sys/i386/i386/k6_mem.c` (k6_mrmake, k6_mrset, k6_mrinit).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from memhub.plugin import ILP32, Arch, freebsd, hookimpl
from memhub.plugin.declared import CpuRule, DeclaredArch, FirmwareSlot, SignatureRule, make_arch

#: Write-combining and uncacheable control: two 32-bit halves of base, mask, WC and UC bits.
MSR_UWCCR: Final = 0xC0000085
GRANULE: Final = 0x20000
_LOW_HALF: Final = FirmwareSlot(
    register=MSR_UWCCR,
    base_mask=0xFFFE0000,
    mask_shift=2,
    mask_bits=15,
    unit=GRANULE,
    length="lowest bit index",
    attributes={"uncacheable": 0, "write-combine": 1},
)

DECLARED = DeclaredArch(
    name="k6",
    summary="AMD K6 write-combining ranges: powers of two from 128 KiB, below 4 GiB",
    model=ILP32,
    releases=freebsd.I386,
    slots=2,
    types={"uncacheable": "UC", "write-combine": "WC"},
    order=("base", "length", "flags", "same", "full"),
    granule=GRANULE,
    power_of_two=True,
    flags=("force",),
    search="first free slot",
    keep_flags=True,
    active=False,
    cpus=CpuRule(
        wants="an AMD K6-2 or later, of signature 0x588 to 0x5ff",
        vendors=("AMD",),
        phys_bits=32,
        signature=(
            SignatureRule(mask=0xF00, first=0x500, last=0x500),
            SignatureRule(mask=0xFF, first=0x88, last=0xFF),
        ),
    ),
    firmware=(_LOW_HALF, replace(_LOW_HALF, shift=32)),
    quirks=("grants-beyond", "grants-wrapping", "registers-not-written"),
)
K6 = make_arch(DECLARED)


@hookimpl
def memhub_arches() -> list[Arch]:
    """Register k6."""
    return [K6]
