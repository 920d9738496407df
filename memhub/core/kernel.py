"""What a kernel's memory devices do, stated as values: one row for each release.

The memory code (`memhub.core.memory`) reads these rules and knows no kernel by name. The rows for
FreeBSD's releases are in `memhub.plugin.freebsd`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

from memhub.escape import EscapedMessage

if TYPE_CHECKING:
    from collections.abc import Mapping

#: How much of a `/dev/kmem` transfer is checked before any byte of it moves, see TransferRules.
KmemCheck = Literal["page", "buffer", "request"]
MemReach = Literal["bus", "ram", "direct map"]
PageZero = Literal["allowed", "first byte", "whole page"]
KmemElsewhere = Literal["refused", "physical", "direct map"]


class OptionError(EscapedMessage, ValueError):
    """Raised when an option of an architecture is wrong; names the key and the rule."""

    def __init__(self, key: str, reason: str) -> None:
        self.key = key
        self.reason = reason
        super().__init__(f"{key}: {reason}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRules:
    """How `read`, `write` and `open` of a kernel's memory devices decide.

    The defaults are a kernel that checks page by page, refuses nothing inside the physical
    address space, and answers a short count after progress.

    Attributes:
        short_count: progress turns an error into a short count; otherwise the error is returned
            though bytes moved.
        mem_last: the highest `/dev/mem` offset, compared before `mem_bits` cuts it; None is the
            CPU's last physical address.
        mem_signed: that comparison takes offsets as signed, so that 2**63 and above pass.
        mem_bits: `/dev/mem` offsets count modulo 2**mem_bits.
        mem_reach: which physical addresses are behind `/dev/mem`: `bus` all of them; `ram` RAM
            alone, and a piece must lie in one region whole; `direct map` what the direct map
            covers.
        mem_first: the lowest physical address at which a piece may begin.
        kmem_bits: `/dev/kmem` offsets count modulo 2**kmem_bits.
        kmem_signed: an offset below `kernel_base` as a signed number is refused before
            `kmem_bits` cuts it.
        kmem_check: what is checked before a byte of it moves. `page`: each page when its turn
            comes. `request`: the map entries under the whole request; pages when their turn
            comes. `buffer`: pages and map entries under each buffer of the caller, which is then
            copied at once through its kernel addresses.
        kmem_elsewhere: an offset outside the kernel's own addresses is `refused`, taken for a
            `physical` address, or for one of the `direct map`.
        page_zero: how a mapping of physical page 0 answers: `first byte` refuses a piece that
            begins at the page's byte 0, `whole page` refuses every byte.
        user_pages: pieces of `/dev/mem` end at page borders of the caller's buffer too.
        length_max: a longer transfer is EINVAL even where the file is not open for it.
        root_writes: opening for writing is refused to a process without privilege.
        extracts: the device knows the ioctl MEM_EXTRACT_PADDR.
    """

    short_count: bool = True
    mem_last: int | None = None
    mem_signed: bool = False
    mem_bits: int = 64
    mem_reach: MemReach = "bus"
    mem_first: int = 0
    kmem_bits: int = 64
    kmem_signed: bool = False
    kmem_check: KmemCheck = "page"
    kmem_elsewhere: KmemElsewhere = "refused"
    page_zero: PageZero = "allowed"
    user_pages: bool = False
    length_max: int = (1 << 63) - 1
    root_writes: bool = True
    extracts: bool = False


#: The rules of a kernel about which nothing else is said.
DEFAULT_RULES: Final = TransferRules()


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelLayout:
    """Where a kernel's virtual addresses lie.

    Attributes:
        kernel_base: first kernel virtual address.
        direct_map: virtual address where the direct map begins, or None.
        uarea_end: end of the per-process u-area, or None; `UPAGES` pages below it.
        map_max: the end of the kernel's map: an access may not end past it; None is the end of
            the address space.
        direct_start: the physical address that `direct_map` maps; None is the lowest RAM, cut to
            a whole GiB.
        direct_limit: one past the last physical address of the direct map; None is computed from
            the RAM, 4 GiB at least.
        direct_block: the direct map has only the blocks of this many bytes that hold RAM; 0 maps
            every address up to the limit.
    """

    kernel_base: int
    direct_map: int | None = None
    uarea_end: int | None = None
    map_max: int | None = None
    direct_start: int | None = 0
    direct_limit: int | None = None
    direct_block: int = 0

    @property
    def space_end(self) -> int:
        """One past the last virtual address: 32 or 64 bits, as the base says."""
        return 1 << 32 if self.kernel_base < 1 << 32 else 1 << 64


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel: where its addresses lie, and how its memory devices decide."""

    layout: KernelLayout
    rules: TransferRules = DEFAULT_RULES


@dataclass(frozen=True, slots=True)
class Releases:
    """The kernels of one architecture, by release.

    Attributes:
        default: the release of a machine that names none.
        kernels: by release.
        pae: the same with physical address extension, for the option `pae`; empty where the
            architecture has no such switch.
    """

    default: str
    kernels: Mapping[str, Kernel]
    pae: Mapping[str, Kernel] = field(default_factory=lambda: MappingProxyType({}))

    def __reduce__(self) -> tuple[Any, ...]:
        return Releases, (self.default, dict(self.kernels), dict(self.pae))  # no proxy is copied

    @property
    def options(self) -> frozenset[str]:
        """The machine options that choose among them."""
        return frozenset({"release", "pae"} if self.pae else {"release"})

    def kernel_of(self, options: Mapping[str, Any]) -> Kernel:
        """The kernel that a machine's options name.

        Raises:
            OptionError: `release` is none of those there are, or `pae` is not a boolean.
        """
        release, pae = options.get("release", self.default), options.get("pae", False)
        if not isinstance(release, str) or release not in self.kernels:
            known = ", ".join(f'"{name}"' for name in self.kernels)
            raise OptionError("release", f"{release!r} is none of the releases {known}")

        if not isinstance(pae, bool):
            raise OptionError("pae", f"{pae!r} is not true or false")

        if pae and release not in self.pae:
            raise OptionError("pae", f"release {release} of this architecture has no PAE")

        return self.pae[release] if pae else self.kernels[release]
