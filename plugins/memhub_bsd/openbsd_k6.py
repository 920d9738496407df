"""openbsd-k6: the two ranges of AMD's K6-2 and K6-III under OpenBSD.

The descriptors are those of FreeBSD's driver (`memhub_k6`), but no flag passes beside the two
attributes, not even MDF_FORCE. UWCCR is not written: the kernel's own arithmetic for the second
slot shifts 32 bits by 32, which C leaves undefined.

Source: OpenBSD `sys/arch/i386/i386/k6_mem.c` (k6_mrmake, k6_mrset).
"""

from __future__ import annotations

from typing import Final

from memhub.plugin import ILP32, freebsd
from memhub.plugin.declared import CpuRule, DeclaredArch, SignatureRule, make_arch

OPENBSD_K6: Final = make_arch(
    DeclaredArch(
        name="openbsd-k6",
        summary="OpenBSD: AMD K6 write-combining ranges, powers of two from 128 KiB",
        model=ILP32,
        releases=freebsd.I386,
        slots=2,
        types={"uncacheable": "UC", "write-combine": "WC"},
        order=("base", "length", "flags", "same", "full"),
        granule=0x20000,
        power_of_two=True,
        flags=(),
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
    )
)
