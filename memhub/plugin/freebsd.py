"""FreeBSD's kernels, by architecture and release: where their addresses lie and what they answer.

Each row was read in the sources that its comment names and confirmed by recorded answers of that
release's functions (`tests/data/transfers`). Some rows are good for more releases than the one
they are named after; the comments say for which.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Final

from memhub.core.kernel import Kernel, KernelLayout, Releases, TransferRules

_U32_MAX: Final = (1 << 32) - 1
_U64_MAX: Final = (1 << 64) - 1
_INT_MAX: Final = (1 << 31) - 1
_MIB2: Final = 1 << 21

#: `Arch.quirks` of drivers with MTRRs: they mask the bits that the CPU does not have, and look no
#: further (`mrvalid` of sys/x86/x86/x86_mem.c, and the drivers that it comes from).
MTRR_QUIRKS: Final = frozenset({"grants-beyond"})

# sys/amd64/amd64/mem.c r326023; the text of memrw is the same from 10.4 to 14.
_AMD64: Final = Kernel(
    KernelLayout(
        kernel_base=0xFFFFFFFF80000000,
        direct_map=0xFFFFF80000000000,
        map_max=0xFFFFFFFFFFFFF000,
    ),
    TransferRules(page_zero="first byte"),
)
# MEM_EXTRACT_PADDR came with 13.0 (sys/dev/mem/memdev.c).
_AMD64_14: Final = Kernel(_AMD64.layout, replace(_AMD64.rules, extracts=True))
# sys/amd64/amd64/mem.c r263876. PHYS_TO_DMAP ORs the address into the direct map, which leaves 41
# bits of it; pmap_kextract refuses physical address 0. memopen asks for a securelevel alone.
_AMD64_9: Final = Kernel(
    KernelLayout(
        kernel_base=0xFFFFFF8000000000,
        direct_map=0xFFFFFE0000000000,
        map_max=0xFFFFFFFFFFFFF000,
    ),
    TransferRules(
        short_count=False,
        mem_last=_U64_MAX,
        mem_bits=41,
        mem_reach="direct map",
        mem_first=1,
        kmem_check="buffer",
        page_zero="whole page",
        length_max=_INT_MAX,
        root_writes=False,
    ),
)

# 10.4: memrw is the same, and memopen does not ask for root.
_AMD64_10: Final = Kernel(_AMD64.layout, replace(_AMD64.rules, root_writes=False))

#: `amd64` and `amd64-mtrr`.
AMD64: Final = Releases(
    "12.1", MappingProxyType({"9.3": _AMD64_9, "10.4": _AMD64_10, "12.1": _AMD64, "14": _AMD64_14})
)

# sys/i386/i386/mem.c r332489 (12.1); r309426 (10.4, the same in 11); r239880 (9.3).
_I386_RULES: Final = TransferRules(
    short_count=False,
    mem_last=_U32_MAX,
    mem_signed=True,
    mem_bits=32,
    kmem_bits=32,
    kmem_check="request",
    page_zero="whole page",
    length_max=_INT_MAX,
)
_I386_10_RULES: Final = replace(_I386_RULES, kmem_signed=True, root_writes=False)
_I386_9_RULES: Final = replace(_I386_10_RULES, mem_last=_U64_MAX, mem_signed=False)
# Before 12 the kernel has the upper GiB, and its map begins at the page tables mapped below it. The
# per-process u-area is the classic layout's, kept there.
_I386_UPPER: Final = KernelLayout(kernel_base=0xBFC00000, uarea_end=0xF0000000, map_max=0xFFFFF000)
# From 12 on user and kernel have 4 GiB each, and the kernel's map begins at 0.
_I386_WHOLE: Final = KernelLayout(kernel_base=0, uarea_end=0xF0000000, map_max=0xFF800000)


def _with_pae(kernel: Kernel) -> Kernel:
    """The same release with PAE: 64-bit physical addresses, bounded by the CPU's width."""
    rules = replace(kernel.rules, mem_signed=False, mem_bits=64)
    if rules.mem_last == _U32_MAX:
        rules = replace(rules, mem_last=None)

    layout = kernel.layout
    if layout.map_max == 0xFF800000:
        layout = replace(layout, map_max=0xFF600000)

    return Kernel(layout, rules)


_I386_KERNELS: Final = {
    "9.3": Kernel(_I386_UPPER, _I386_9_RULES),
    "10.4": Kernel(_I386_UPPER, _I386_10_RULES),
    "12.1": Kernel(_I386_WHOLE, _I386_RULES),
    "14": Kernel(_I386_WHOLE, replace(_I386_RULES, mem_signed=False, extracts=True)),
}

#: `i386` and `k6`. `10.4` is good for 10 and 11, `14` for 13 and later.
I386: Final = Releases(
    "10.4",
    MappingProxyType(_I386_KERNELS),
    MappingProxyType({name: _with_pae(kernel) for name, kernel in _I386_KERNELS.items()}),
)

#: `arm64`: sys/arm64/arm64/mem.c r307332. Outside the direct map the real kernel panics ("TODO:
#: Map out of DMAP data"); memhub answers EFAULT.
ARM64: Final = Releases(
    "12.1",
    MappingProxyType(
        {
            "12.1": Kernel(
                KernelLayout(
                    kernel_base=0xFFFF000000000000,
                    direct_map=0xFFFFFD0000000000,
                    map_max=0xFFFF008000000000,
                    direct_start=None,
                    direct_block=_MIB2,
                ),
                TransferRules(
                    short_count=False,
                    mem_last=_U64_MAX,
                    mem_reach="direct map",
                    page_zero="first byte",
                ),
            )
        }
    ),
)

# sys/powerpc/powerpc/mem.c r330610 (12.1).
_POWERPC64_RULES: Final = TransferRules(
    short_count=False,
    mem_last=_U64_MAX,
    mem_reach="ram",
    kmem_check="buffer",
    kmem_elsewhere="physical",
    page_zero="whole page",
    user_pages=True,
)
_POWERPC32_RULES: Final = replace(_POWERPC64_RULES, mem_bits=32, kmem_bits=32, length_max=_INT_MAX)
_POWERPC64_LAYOUT: Final = KernelLayout(
    kernel_base=0xE000000000000000,
    direct_map=0xC000000000000000,
    map_max=0xE0000007FFFFFFFF,
)
_POWERPC32_LAYOUT: Final = KernelLayout(kernel_base=0xD0000000, direct_map=0, map_max=0xEFFFFFFF)

#: `powerpc`, 32 bits.
POWERPC32: Final = Releases(
    "12.1", MappingProxyType({"12.1": Kernel(_POWERPC32_LAYOUT, _POWERPC32_RULES)})
)
#: `powerpc64`.
POWERPC64: Final = Releases(
    "12.1",
    MappingProxyType(
        {
            "12.1": Kernel(_POWERPC64_LAYOUT, _POWERPC64_RULES),
            "14": Kernel(
                _POWERPC64_LAYOUT,
                replace(
                    _POWERPC64_RULES,
                    short_count=True,
                    kmem_elsewhere="direct map",
                    extracts=True,
                ),
            ),
        }
    ),
)
