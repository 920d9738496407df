"""The memory type range registers: numbers, fields, and the value they decode to.

Sources: Intel SDM vol. 3A section 12.11 (MTRRs); FreeBSD `sys/x86/include/specialreg.h` (names)
and `sys/x86/x86/x86_mem.c` (which register holds which slot).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MSR_MTRRCAP: Final = 0xFE
#: The number of the register that holds the page attribute table.
MSR_PAT: Final = 0x277
MSR_MTRR_DEF_TYPE: Final = 0x2FF
MSR_MTRR_VARIABLE_BASE: Final = 0x200

#: AMD: memory from 4 GiB to TOP_MEM2 is write-back by default where SYSCFG says so (bits 21, 22).
MSR_SYSCFG: Final = 0xC0010010
MSR_TOP_MEM2: Final = 0xC001001D
SYSCFG_TOM2_WRITE_BACK: Final = 1 << 21 | 1 << 22
TOM2_BASE: Final = 1 << 32

MTRRCAP_COUNT: Final = 0xFF
MTRRCAP_FIXED: Final = 1 << 8
MTRRCAP_WC: Final = 1 << 10
DEF_TYPE_FIXED_ENABLE: Final = 1 << 10
DEF_TYPE_ENABLE: Final = 1 << 11
MASK_VALID: Final = 1 << 11

#: Most variable pairs that fit below the PAT register and the fixed ones (0x200 to 0x24f).
MAX_VARIABLE: Final = 40

#: The PhysBase register of each variable pair; its PhysMask register is the next number.
VARIABLE_MSRS: Final[tuple[int, ...]] = tuple(
    range(MSR_MTRR_VARIABLE_BASE, MSR_MTRR_VARIABLE_BASE + 2 * MAX_VARIABLE, 2)
)

UC: Final = 0
WC: Final = 1
WT: Final = 4
WP: Final = 5
WB: Final = 6

#: Type byte to name; every other byte is a reserved encoding.
TYPE_NAMES: Final[Mapping[int, str]] = {UC: "UC", WC: "WC", WT: "WT", WP: "WP", WB: "WB"}
TYPE_BYTES: Final[Mapping[str, int]] = {name: byte for byte, name in TYPE_NAMES.items()}

#: The eleven fixed-range registers, eight type bytes each, lowest range in the lowest byte.
FIXED_MSRS: Final[tuple[int, ...]] = (0x250, 0x258, 0x259, *range(0x268, 0x270))
FIXED_COUNT: Final = 88
FIXED_END: Final = 0x100000

#: `(base, length)` of the fixed ranges: 8 of 64 KiB, 16 of 16 KiB, 64 of 4 KiB.
FIXED_RANGES: Final[tuple[tuple[int, int], ...]] = (
    *((base, 0x10000) for base in range(0, 0x80000, 0x10000)),
    *((base, 0x4000) for base in range(0x80000, 0xC0000, 0x4000)),
    *((base, 0x1000) for base in range(0xC0000, FIXED_END, 0x1000)),
)


def address_mask(phys_bits: int) -> int:
    """The address bits that a variable register holds: bit 12 to bit `phys_bits` - 1."""
    return (1 << phys_bits) - 0x1000


def tom2_of(msrs: Mapping[int, int]) -> int:
    """The end of the memory above 4 GiB that AMD's registers make write-back by default.

    Args:
        msrs: registers by number; one that is absent reads as zero.

    Returns:
        TOP_MEM2, or 0 where the force bits of SYSCFG are not both set.
    """
    forced = msrs.get(MSR_SYSCFG, 0) & SYSCFG_TOM2_WRITE_BACK == SYSCFG_TOM2_WRITE_BACK

    return msrs.get(MSR_TOP_MEM2, 0) & ~0x7FFFFF & (1 << 52) - 1 if forced else 0


def fixed_index(address: int) -> int:
    """Which of the 88 fixed ranges holds `address`, which lies below 1 MiB."""
    if address < 0x80000:
        return address >> 16

    if address < 0xC0000:
        return 8 + ((address - 0x80000) >> 14)

    return 24 + ((address - 0xC0000) >> 12)


@dataclass(frozen=True, slots=True)
class VariableMtrr:
    """One variable pair, as the two registers hold it.

    Attributes:
        base: the PhysBase register: address bits and the type byte.
        mask: the PhysMask register: mask bits and the valid bit.
    """

    base: int = 0
    mask: int = 0

    @property
    def valid(self) -> bool:
        """Whether the pair takes part in address matching."""
        return bool(self.mask & MASK_VALID)

    @property
    def type(self) -> int:
        """The type byte, which may be a reserved encoding."""
        return self.base & 0xFF

    def matches(self, address: int, phys_bits: int) -> bool:
        """Whether a valid pair matches `address`: masks with holes match what they match."""
        mask = self.mask & address_mask(phys_bits)

        return self.valid and address & mask == self.base & mask

    def holes(self, phys_bits: int) -> int:
        """Address bits at or above 12 that the mask ignores though a lower one counts.

        Zero for the contiguous masks of operating systems; a mask of zero has no holes.
        """
        mask = self.mask & address_mask(phys_bits)
        lowest = mask & -mask

        return ~mask & address_mask(phys_bits) & -lowest if mask else 0


def variable_mtrr(base: int, length: int, mtrr_type: int, phys_bits: int) -> VariableMtrr:
    """Make the valid pair that covers one power-of-two block.

    Args:
        base: first byte; address bits that the CPU has not are dropped, as the register does.
        length: a power of two, at least 4096 bytes.
        mtrr_type: the type byte.
        phys_bits: physical address width.

    Returns:
        the pair, with its valid bit set.

    Raises:
        ValueError: no single pair covers the block.
    """
    if length < 0x1000 or length & (length - 1):
        raise ValueError(f"length {length:#x} is not a power of two of at least 0x1000")

    if base & (length - 1):
        raise ValueError(f"base {base:#x} is not a multiple of the length {length:#x}")

    if not 0 <= mtrr_type <= 0xFF:
        raise ValueError(f"type {mtrr_type:#x} is not a byte")

    bits = address_mask(phys_bits)

    return VariableMtrr(base & bits | mtrr_type, -length & bits | MASK_VALID)


@dataclass(frozen=True, slots=True, kw_only=True)
class MtrrRegisters:
    """All MTRRs of one CPU, decoded.

    Attributes:
        phys_bits: physical address width in bits.
        fixed_supported: MTRRcap bit 8.
        write_combining: MTRRcap bit 10.
        enabled: the E bit of the default-type register; without it all memory is UC.
        fixed_enabled: the FE bit; it alone decides whether the fixed types count in hardware.
        default_type: the type byte of addresses that nothing matches.
        fixed_types: 88 type bytes, in the order of `FIXED_RANGES`.
        variable: the pairs, by number.

    Raises:
        ValueError: a field does not fit the registers.
    """

    phys_bits: int
    fixed_supported: bool = True
    write_combining: bool = True
    enabled: bool = True
    fixed_enabled: bool = True
    default_type: int = UC
    fixed_types: bytes = bytes(FIXED_COUNT)
    variable: tuple[VariableMtrr, ...] = ()

    def __post_init__(self) -> None:
        if len(self.fixed_types) != FIXED_COUNT:
            raise ValueError(f"{len(self.fixed_types)} fixed types, not {FIXED_COUNT}")

        if len(self.variable) > MAX_VARIABLE:
            raise ValueError(f"{len(self.variable)} variable pairs, more than {MAX_VARIABLE}")

        if not 0 <= self.default_type <= 0xFF:
            raise ValueError(f"default type {self.default_type:#x} is not a byte")

    @property
    def variable_count(self) -> int:
        """How many variable pairs there are (MTRRcap bits 0-7)."""
        return len(self.variable)

    @property
    def fixed_active(self) -> bool:
        """Whether the drivers show the fixed ranges as slots: supported, and enabled."""
        return self.fixed_supported and self.fixed_enabled

    @classmethod
    def decode(cls, msrs: Mapping[int, int], phys_bits: int) -> MtrrRegisters:
        """Read the registers.

        Args:
            msrs: registers by number; one that is absent reads as zero.
            phys_bits: physical address width.

        Returns:
            the decoded value. A count above `MAX_VARIABLE` is cut to it: no register numbers
            are left for more.
        """
        get = msrs.get
        capability = get(MSR_MTRRCAP, 0)
        default = get(MSR_MTRR_DEF_TYPE, 0)
        numbers = VARIABLE_MSRS[: capability & MTRRCAP_COUNT]

        return cls(
            phys_bits=phys_bits,
            fixed_supported=bool(capability & MTRRCAP_FIXED),
            write_combining=bool(capability & MTRRCAP_WC),
            enabled=bool(default & DEF_TYPE_ENABLE),
            fixed_enabled=bool(default & DEF_TYPE_FIXED_ENABLE),
            default_type=default & 0xFF,
            fixed_types=b"".join([get(msr, 0).to_bytes(8, "little") for msr in FIXED_MSRS]),
            variable=tuple([VariableMtrr(get(msr, 0), get(msr + 1, 0)) for msr in numbers]),
        )

    def encode(self) -> dict[int, int]:
        """The registers by number; the fixed ones if they are supported or hold anything."""
        msrs = {
            MSR_MTRRCAP: self.variable_count
            | (MTRRCAP_FIXED if self.fixed_supported else 0)
            | (MTRRCAP_WC if self.write_combining else 0),
            MSR_MTRR_DEF_TYPE: self.default_type
            | (DEF_TYPE_FIXED_ENABLE if self.fixed_enabled else 0)
            | (DEF_TYPE_ENABLE if self.enabled else 0),
        }
        if self.fixed_supported or any(self.fixed_types):
            msrs.update(encode_fixed(self.fixed_types))

        for number, pair in zip(VARIABLE_MSRS, self.variable, strict=False):
            msrs[number], msrs[number + 1] = pair.base, pair.mask

        return msrs


def encode_fixed(fixed_types: bytes) -> dict[int, int]:
    """Pack 88 type bytes into the eleven fixed-range registers, by number."""
    return {
        msr: int.from_bytes(fixed_types[8 * index : 8 * index + 8], "little")
        for index, msr in enumerate(FIXED_MSRS)
    }
