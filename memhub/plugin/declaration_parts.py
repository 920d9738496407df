"""Parts of a declaration: the CPUs that are served, and slots that firmware may have filled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Final, Literal

from memhub.abi import U64_MAX
from memhub.core.drivers.driver import Cpu
from memhub.plugin.declaration_checks import (
    check_integer,
    check_kind,
    check_line,
    check_texts,
    check_tuple_of,
    check_words,
)

LengthRule = Literal["lowest bit", "lowest bit index"]

_BITS: Final = 64
_REGISTER_MOST: Final = 0xFFFFFFFF
_SIGNATURE_MOST: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureRule:
    """Bits of the CPUID signature: `first <= signature & mask <= last`."""

    mask: int
    first: int
    last: int

    def __post_init__(self) -> None:
        for name in ("mask", "first", "last"):
            check_integer(name, getattr(self, name), 0, _SIGNATURE_MOST)

        if self.first > self.last:
            raise ValueError(f"first {self.first:#x} is above last {self.last:#x}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuRule:
    """Which CPUs the driver serves; on others every range ioctl answers EOPNOTSUPP.

    Attributes:
        wants: the rule in words, for the reason of that error.
        vendors: the vendors; empty for any.
        signature: what the signature must be.
        mtrr: whether the CPUID bit for MTRRs must be set.
        phys_bits: physical address width of an ordinary one of them.
    """

    wants: str
    vendors: tuple[str, ...] = ()
    signature: tuple[SignatureRule, ...] = ()
    mtrr: bool = False
    phys_bits: int = 36

    def __post_init__(self) -> None:
        check_line("wants", self.wants)
        check_texts("vendors", self.vendors)
        check_tuple_of("signature", self.signature, SignatureRule)
        check_kind("mtrr", self.mtrr, bool, "true or false")
        check_integer("phys_bits", self.phys_bits, 32, 52)

    def ordinary_cpu(self) -> Cpu | None:
        """A CPU that is served: of the first vendor, with the least signature; None if none is."""
        signature = reduce(or_, [it.first & it.mask for it in self.signature], 0)
        cpu = Cpu(
            vendor=self.vendors[0] if self.vendors else "Intel",
            signature=signature if self.signature else Cpu().signature,
            phys_bits=self.phys_bits,
        )

        return cpu if self.serves(cpu) else None

    def serves(self, cpu: Cpu) -> bool:
        """Whether a CPU is one of them."""
        return (
            (not self.vendors or cpu.vendor in self.vendors)
            and all(it.first <= cpu.signature & it.mask <= it.last for it in self.signature)
            and (cpu.mtrr or not self.mtrr)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareSlot:
    """A slot that firmware may have filled, read from a register when the machine starts.

    Attributes:
        register: its number.
        shift: the bit of the register at which the slot's part begins.
        base_mask: the bits of the part that are the base address.
        mask_shift: the bit of the part at which the length mask begins.
        mask_bits: how many bits the length mask has.
        unit: bytes that the lowest bit of the length mask stands for.
        length: `lowest bit`: the lowest bit that is set, times `unit`; `lowest bit index`: its
            index from 1, times `unit`, as FreeBSD's K6 driver computes it.
        attributes: attribute words to the bit of the part that means it.
    """

    register: int
    base_mask: int
    mask_shift: int
    mask_bits: int
    unit: int
    attributes: Mapping[str, int]
    shift: int = 0
    length: LengthRule = "lowest bit"

    def __post_init__(self) -> None:
        if self.length not in ("lowest bit", "lowest bit index"):
            raise ValueError(f"length {self.length!r} is not 'lowest bit' or 'lowest bit index'")

        check_integer("register", self.register, 0, _REGISTER_MOST)
        check_integer("base_mask", self.base_mask, 0, U64_MAX)
        check_integer("mask_bits", self.mask_bits, 1, _BITS)
        check_integer("unit", self.unit, 1, 1 << _BITS - 1)
        for name in ("shift", "mask_shift"):
            check_integer(name, getattr(self, name), 0, _BITS - 1)

        check_kind("attributes", self.attributes, Mapping, "a mapping of words to bits")
        check_words("attributes", self.attributes)
        for word, bit in self.attributes.items():
            check_integer(f"attributes: the bit of {word}", bit, 0, _BITS - 1)
