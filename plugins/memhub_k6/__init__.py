"""k6: the two write-combining ranges of AMD's K6-2 and K6-III.

The descriptors are FreeBSD's, quirks included: a request with no attribute takes a slot all the
same, WRITECOMBINE and UNCACHEABLE may be given together, base and length need not be aligned to
each other, base bits above 4 GiB pass, and a slot keeps the caller's flags, never MDF_ACTIVE, so
that memcontrol(8) lists it with -a only. UWCCR is read at attach and not written: FreeBSD's own
arithmetic for the second slot shifts 32 bits by 32, which C leaves undefined.

Source: FreeBSD `sys/i386/i386/k6_mem.c` (k6_mrmake, k6_mrset, k6_mrinit).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.plugin import (
    ILP32,
    Arch,
    Cpu,
    RangeDesc,
    RangeState,
    abi,
    errors,
    freebsd,
    hookimpl,
)
from memhub.plugin.software import SoftwareRangeDriver

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Write-combining and uncacheable control: two 32-bit halves of base, mask, WC and UC bits.
MSR_UWCCR: Final = 0xC0000085
GRANULE: Final = 0x20000
_LOW_BASE_BITS = GRANULE - 1
_ATTRIBUTES = abi.MDF_WRITECOMBINE | abi.MDF_UNCACHEABLE
_ALLOWED = _ATTRIBUTES | abi.MDF_FORCE


class K6Driver(SoftwareRangeDriver):
    """The two ranges of a K6.

    Args:
        cpu: the processor; it must be an AMD of family 5.
    """

    def __init__(self, cpu: Cpu) -> None:
        super().__init__(slots=2)
        self._cpu = cpu

    def attach(self, msrs: Mapping[int, int]) -> RangeState:
        """Read UWCCR into both slots.

        A length above 256 KiB comes out wrong, as FreeBSD computes it from the index of the
        mask's lowest bit (`ffs(mask) << 17`).

        Raises:
            NotSupported: the CPU is not an AMD of family 5, model 8 stepping 8 or later.
        """
        signature = self._cpu.signature
        if self._cpu.vendor != "AMD" or signature & 0xF00 != 0x500 or signature & 0xFF < 0x88:
            raise errors.NotSupported(
                f"a {self._cpu.vendor} CPU of signature {signature:#x} is not a K6-2 or later: the "
                "k6 driver wants an AMD with signature 0x588 to 0x5ff"
            )

        register = msrs.get(MSR_UWCCR, 0)
        halves = (register & 0xFFFFFFFF, register >> 32)

        return RangeState(tuple([_decode_half(half) for half in halves]), msrs)

    def stored(self, desc: RangeDesc) -> RangeDesc:
        """The caller's descriptor as it came.

        Raises:
            InvalidRange: base or length is not what the register can hold.
            NotSupported: flags other than WRITECOMBINE, UNCACHEABLE and FORCE.
        """
        base, length = desc.mr_base, desc.mr_len
        if base & _LOW_BASE_BITS:
            raise errors.InvalidRange(f"base {base:#x} is not a multiple of {GRANULE:#x}")

        if length < GRANULE or length & (length - 1):
            raise errors.InvalidRange(
                f"length {length:#x} is not a power of two of at least {GRANULE:#x}"
            )

        if others := desc.mr_flags & ~_ALLOWED:
            raise errors.NotSupported(
                f"flags {others:#x} ({' '.join(abi.flag_words(others)) or 'no known ones'}): a K6 "
                "takes only write-combine, uncacheable and force"
            )

        return desc

    def type_of(self, desc: RangeDesc) -> str | None:
        """UC wins where both bits are set; a slot with neither has no effect."""
        if desc.mr_flags & abi.MDF_UNCACHEABLE:
            return "UC"

        return "WC" if desc.mr_flags & abi.MDF_WRITECOMBINE else None


def _decode_half(half: int) -> RangeDesc:
    mask = half >> 2 & 0x7FFF
    lowest = (mask & -mask).bit_length()
    flags = (abi.MDF_WRITECOMBINE if half & 2 else 0) | (abi.MDF_UNCACHEABLE if half & 1 else 0)

    return RangeDesc(half & ~_LOW_BASE_BITS, lowest << 17, flags)


def _make_driver(cpu: Cpu, _options: Mapping[str, Any]) -> K6Driver:
    return K6Driver(cpu)


K6 = Arch(
    name="k6",
    summary="AMD K6 write-combining ranges: powers of two from 128 KiB, below 4 GiB",
    model=ILP32,
    releases=freebsd.I386,
    driver=_make_driver,
    attributes=_ATTRIBUTES,
    slots="2 ranges",
)


@hookimpl
def memhub_arches() -> list[Arch]:
    """Register k6."""
    return [K6]
