"""openbsd-k6: the two ranges of AMD's K6-2 and K6-III under OpenBSD.

The descriptors are those of FreeBSD's driver (`memhub_k6`), but no flag passes beside the two
attributes, not even MDF_FORCE. UWCCR is not written: the kernel's own arithmetic for the second
slot shifts 32 bits by 32, which C leaves undefined.

Source: OpenBSD `sys/arch/i386/i386/k6_mem.c` (k6_mrmake, k6_mrset).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from memhub.plugin.declared import make_arch
from memhub_k6 import DECLARED

OPENBSD_K6: Final = make_arch(
    replace(
        DECLARED,
        name="openbsd-k6",
        summary="OpenBSD: AMD K6 write-combining ranges, powers of two from 128 KiB",
        flags=(),
        firmware=(),
    )
)
