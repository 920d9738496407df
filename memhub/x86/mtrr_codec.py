"""Descriptors to MTRRs and back, as FreeBSD's x86 driver does both.

A *store* writes descriptors into registers; a *fetch* reads registers into descriptors, over
what the descriptors already hold: labels, FIRMWARE and BOGUS are the table's memory, not the
registers'. The kernel stores and fetches every slot at each success. After that a second store
and fetch changes nothing, so those of the slots that a request touches give the same answer.

Source: FreeBSD `sys/x86/x86/x86_mem.c` (x86_mrstoreone, x86_mrfetch).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from memhub import abi
from memhub.abi import RangeDesc
from memhub.x86 import registers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Type byte to attribute; every other byte is MDF_UNKNOWN.
ATTRIBUTE_OF: Final[Mapping[int, int]] = {
    registers.UC: abi.MDF_UNCACHEABLE,
    registers.WC: abi.MDF_WRITECOMBINE,
    registers.WT: abi.MDF_WRITETHROUGH,
    registers.WP: abi.MDF_WRITEPROTECT,
    registers.WB: abi.MDF_WRITEBACK,
}

#: Attribute to type byte; a descriptor with anything else keeps the byte that is there.
TYPE_OF: Final[Mapping[int, int]] = {attr: byte for byte, attr in ATTRIBUTE_OF.items()}

FIXED_FLAGS: Final = abi.MDF_FIXBASE | abi.MDF_FIXLEN | abi.MDF_FIXACTIVE

_FLAGS: Final = 0xFFFFFFFF
_NOT_ATTRIBUTE: Final = _FLAGS & ~abi.MDF_ATTRMASK
_NOT_ACTIVE: Final = _FLAGS & ~abi.MDF_ACTIVE
_NOT_BUSY: Final = _FLAGS & ~abi.MDF_BUSY

#: What labels an active slot without a label: `strcpy` of "BIOS", bytes 5 to 7 stay.
_BIOS: Final = b"BIOS\0"


@dataclass(frozen=True, slots=True)
class MtrrCodec:
    """The two conversions for one physical address width.

    Attributes:
        phys_mask: the address bits of the variable registers.
    """

    phys_mask: int

    def fetch_fixed(self, desc: RangeDesc, byte: int) -> RangeDesc:
        """Read one type byte into a fixed slot."""
        attribute = ATTRIBUTE_OF.get(byte, abi.MDF_UNKNOWN)
        flags = desc.mr_flags & _NOT_ATTRIBUTE | attribute | abi.MDF_ACTIVE

        owner = desc.mr_owner
        if not owner[0]:
            owner = _label_bios(owner)

        if flags == desc.mr_flags and owner is desc.mr_owner:
            return desc

        return RangeDesc(desc.mr_base, desc.mr_len, flags, owner)

    def fetch_variable(self, desc: RangeDesc, base: int, mask: int) -> RangeDesc:
        """Read one register pair into a variable slot.

        Args:
            desc: what the slot holds; its label, FIRMWARE and BOGUS stay.
            base: the PhysBase register.
            mask: the PhysMask register.
        """
        flags = desc.mr_flags & _NOT_ATTRIBUTE | ATTRIBUTE_OF.get(base & 0xFF, abi.MDF_UNKNOWN)
        owner = desc.mr_owner
        if mask & registers.MASK_VALID:
            flags |= abi.MDF_ACTIVE
            if not owner[0]:
                owner = _label_bios(owner)
        else:
            flags &= _NOT_ACTIVE

        first = base & self.phys_mask
        length = (~mask & self.phys_mask | 0xFFF) + 1
        if length & (length - 1) or first & (length - 1):
            flags |= abi.MDF_BOGUS

        # Building a descriptor costs more than the rest; the usual one reads back as it was.
        if (
            first == desc.mr_base
            and length == desc.mr_len
            and flags == desc.mr_flags
            and owner is desc.mr_owner
        ):
            return desc

        return RangeDesc(first, length, flags, owner)

    def store_variable(self, desc: RangeDesc, old_base: int) -> tuple[int, int]:
        """The register pair of one variable slot.

        Args:
            desc: what the slot holds.
            old_base: the PhysBase register so far; its type byte stays where the slot's type
                is unknown.
        """
        if not desc.mr_flags & abi.MDF_ACTIVE:
            return (0, 0)

        byte = TYPE_OF.get(desc.mr_flags & abi.MDF_ATTRMASK, old_base & 0xFF)
        mask = -desc.mr_len & self.phys_mask | registers.MASK_VALID

        return (desc.mr_base & self.phys_mask | byte, mask)

    def fetch(
        self, slots: Sequence[RangeDesc], fixed: int, msrs: Mapping[int, int]
    ) -> list[RangeDesc]:
        """Read every register into its slots, the first `fixed` of which are fixed ranges."""
        get = msrs.get
        fetched = []
        for slot, desc in enumerate(slots):
            if slot < fixed:
                byte = get(registers.FIXED_MSRS[slot >> 3], 0) >> 8 * (slot & 7) & 0xFF
                fetched.append(self.fetch_fixed(desc, byte))
            else:
                number = registers.VARIABLE_MSRS[slot - fixed]
                fetched.append(self.fetch_variable(desc, get(number, 0), get(number + 1, 0)))

        return fetched

    def write_fixed(
        self, slots: Mapping[int, RangeDesc], msrs: Mapping[int, int]
    ) -> tuple[dict[int, RangeDesc], dict[int, int]]:
        """Store and fetch some fixed slots.

        Args:
            slots: what fixed slots are to hold, by index.
            msrs: the registers so far.

        Returns:
            what the slots hold then, and the registers that become different.
        """
        stored = store_fixed(slots, msrs)
        rows = {
            slot: self.fetch_fixed(
                desc, stored[registers.FIXED_MSRS[slot >> 3]] >> 8 * (slot & 7) & 0xFF
            )
            for slot, desc in slots.items()
        }

        return rows, _differing_registers(stored, msrs)

    def store(
        self, slots: Sequence[RangeDesc], fixed: int, msrs: Mapping[int, int]
    ) -> dict[int, int]:
        """The registers that writing every slot leaves different; see `fetch`."""
        stored = store_fixed({slot: slots[slot] for slot in range(fixed)}, msrs)
        for slot in range(fixed, len(slots)):
            number = registers.VARIABLE_MSRS[slot - fixed]
            pair = self.store_variable(slots[slot], msrs.get(number, 0))
            stored[number], stored[number + 1] = pair

        return _differing_registers(stored, msrs)


def _differing_registers(stored: Mapping[int, int], msrs: Mapping[int, int]) -> dict[int, int]:
    return {number: value for number, value in stored.items() if msrs.get(number, 0) != value}


def store_fixed(slots: Mapping[int, RangeDesc], msrs: Mapping[int, int]) -> dict[int, int]:
    """The fixed registers that hold some slots, with those slots' types written.

    Args:
        slots: fixed slots by index; one of unknown type keeps its byte.
        msrs: the registers so far.
    """
    stored: dict[int, int] = {}
    for slot, desc in slots.items():
        number = registers.FIXED_MSRS[slot >> 3]
        value = stored[number] if number in stored else msrs.get(number, 0)
        byte = TYPE_OF.get(desc.mr_flags & abi.MDF_ATTRMASK)
        if byte is not None:
            shift = 8 * (slot & 7)
            value = value & ~(0xFF << shift) | byte << shift

        stored[number] = value

    return stored


def unknown_types(
    slots: Mapping[int, RangeDesc], msrs: Mapping[int, int], earlier: Mapping[int, int], fixed: int
) -> dict[int, int]:
    """The present registers with the type bytes of then, where a slot's type has no name.

    Args:
        slots: what the slots are to hold again.
        msrs: the present registers.
        earlier: the registers of then; one that is absent gives no byte.
        fixed: how many slots are fixed ranges.

    Returns:
        the registers that hold such a byte.
    """
    found: dict[int, int] = {}
    for slot, desc in slots.items():
        number = (
            registers.FIXED_MSRS[slot >> 3]
            if slot < fixed
            else registers.VARIABLE_MSRS[slot - fixed]
        )
        if desc.mr_flags & abi.MDF_ATTRMASK != abi.MDF_UNKNOWN or number not in earlier:
            continue

        mask = 0xFF << 8 * (slot & 7) if slot < fixed else 0xFF
        value = found.get(number, msrs.get(number, 0))
        found[number] = value & ~mask | earlier[number] & mask

    return found


def not_busy(desc: RangeDesc) -> RangeDesc:
    """The descriptor without MDF_BUSY, which others' claims lend it and no table keeps."""
    if not desc.mr_flags & abi.MDF_BUSY:
        return desc

    return RangeDesc(desc.mr_base, desc.mr_len, desc.mr_flags & _NOT_BUSY, desc.mr_owner)


def _label_bios(owner: bytes) -> bytes:
    return _BIOS + owner[len(_BIOS) :]
