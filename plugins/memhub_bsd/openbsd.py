"""OpenBSD's MTRR driver.

It is FreeBSD's of 1999 with changes: a change is not read back, so that the table keeps what was
asked for; attributes that are no type of a register are accepted and written as write-combining;
and types that mem(4) has no name for become uncacheable.

Source: OpenBSD `sys/arch/amd64/amd64/amd64_mem.c`, the same as `sys/arch/i386/i386/i686_mem.c`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.plugin import (
    NO_REGISTERS,
    Change,
    Cpu,
    RangeDesc,
    RangeDriver,
    RangeState,
    abi,
    errors,
    range_refusals,
)
from memhub.plugin.x86 import (
    compare_registers,
    power_on,
    registers_of_slot,
    types_from_mtrrs,
    why_fault,
)
from memhub_bsd.requests import (
    FIXED_COUNT,
    check_busy,
    conflict,
    conflict_of_unknown,
    find_variable,
    retype_fixed,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from memhub.plugin.types import TypeMap

_VENDORS: Final = frozenset({"Intel", "AMD", "VIA", "Centaur"})
_FAMILIES: Final = frozenset({0x600, 0xF00})
_CAP: Final = 0xFE
_DEF_TYPE: Final = 0x2FF
_BASE: Final = 0x200
_FIXED_MSRS: Final = (0x250, 0x258, 0x259, *range(0x268, 0x270))
_MIB: Final = 1 << 20
_ENABLE: Final = 1 << 11
_FIXED_ENABLE: Final = 1 << 10
_VALID: Final = 1 << 11
_TYPES: Final = (
    abi.MDF_UNCACHEABLE,
    abi.MDF_WRITECOMBINE,
    None,
    None,
    abi.MDF_WRITETHROUGH,
    abi.MDF_WRITEPROTECT,
    abi.MDF_WRITEBACK,
)
_BYTES: Final[Mapping[int, int]] = {it: byte for byte, it in enumerate(_TYPES) if it is not None}
_BIOS: Final = b"BIOS\0"


def check_cpu(cpu: Cpu, kernel: str) -> None:
    """Refuse a CPU that the driver does not serve.

    Args:
        cpu: the processor.
        kernel: whose driver it is.

    Raises:
        NotSupported: it has no MTRRs, or is not of a vendor and family that the kernel knows.
    """
    if not cpu.mtrr:
        raise errors.NotSupported("the CPU has no memory type range registers (CPUID bit MTRR)")

    if cpu.vendor not in _VENDORS or cpu.signature & 0xF00 not in _FAMILIES:
        raise errors.NotSupported(
            f"a {cpu.vendor} CPU of signature {cpu.signature:#x}: {kernel}'s driver serves family "
            "nibble 0x6 and 0xf of Intel, AMD and VIA alone"
        )


class OpenBsdDriver(RangeDriver):
    """The driver of one CPU.

    Args:
        cpu: the processor.
        unknown_conflicts: whether a range of unknown type conflicts with any, as on amd64; on i386
            not with its like.
    """

    rereads = True
    no_slots = "the MTRRs are off (bit 11 of register 0x2ff is clear), or there are none"

    def __init__(self, cpu: Cpu, *, unknown_conflicts: bool = True) -> None:
        self._cpu = cpu
        self._unknown_conflicts = unknown_conflicts
        self._mask = (1 << cpu.phys_bits) - 0x1000

    def attach(self, msrs: Mapping[int, int]) -> RangeState:
        """Read the registers.

        Raises:
            NotSupported: the driver does not serve the CPU.
        """
        check_cpu(self._cpu, "OpenBSD")
        cap, default = msrs.get(_CAP, 0), msrs.get(_DEF_TYPE, 0)
        if not default & _ENABLE:
            return RangeState((), msrs)

        rows = [*self._fixed_rows(msrs)] if cap & 0x100 and default & _FIXED_ENABLE else []
        rows += [self._variable_row(msrs, it) for it in range(min(cap & 0xFF, 40))]

        return RangeState(tuple(rows), msrs)

    def _fixed_rows(self, msrs: Mapping[int, int]) -> list[RangeDesc]:
        flags = abi.MDF_FIXBASE | abi.MDF_FIXLEN | abi.MDF_FIXACTIVE | abi.MDF_ACTIVE
        rows, base = [], 0
        for index in range(FIXED_COUNT):
            size = 0x10000 if index < 8 else 0x4000 if index < 24 else 0x1000
            byte = msrs.get(_FIXED_MSRS[index // 8], 0) >> 8 * (index % 8) & 0xFF
            row = flags | abi.MDF_FIRMWARE | _flag_of(byte)
            rows.append(RangeDesc(base, size, row, _BIOS.ljust(8, b"\0")))
            base += size

        return rows

    def _variable_row(self, msrs: Mapping[int, int], index: int) -> RangeDesc:
        base, mask = msrs.get(_BASE + 2 * index, 0), msrs.get(_BASE + 2 * index + 1, 0)
        first = base & self._mask
        length = (~mask & self._mask | 0xFFF) + 1
        flags = _flag_of(base & 0xFF)
        owner = bytes(8)
        if length & length - 1 or first & length - 1:
            flags |= abi.MDF_BOGUS

        if mask & _VALID:
            flags |= abi.MDF_ACTIVE | abi.MDF_FIRMWARE
            owner = _BIOS.ljust(8, b"\0")

        return RangeDesc(first, length, flags, owner)

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        """Set a range's type: below 1 MiB in the fixed slots, else in a variable one.

        Raises:
            InvalidRange: the range is not an aligned power of two of at least 4 KiB, or a range of
                a conflicting type overlaps it.
            AccessDenied: a slot of unknown type would be overwritten without MDF_FORCE.
            RangeBusy: the slot with the same range is another's.
            NoSpace: no variable slot is free.
        """
        length = desc.mr_len
        if length < abi.PAGE_SIZE or length & length - 1 or desc.mr_base & length - 1:
            raise errors.InvalidRange(
                f"{range_refusals.span(desc)} is not an aligned power of two of at least 0x1000"
            )

        fixed = _count_fixed(state.slots)
        if fixed and desc.mr_base + length & abi.U64_MAX <= _MIB:
            return self._write(state, retype_fixed(state.slots, desc))

        test = conflict_of_unknown if self._unknown_conflicts else conflict
        slot = find_variable(state.slots, fixed, desc, test)
        flags = abi.MDF_ACTIVE | desc.mr_flags & abi.MDF_ATTRMASK

        return self._write(state, {slot: RangeDesc(desc.mr_base, length, flags, desc.mr_owner)})

    def remove(self, state: RangeState, desc: RangeDesc) -> Change:
        """Switch the first slot with the same base and length off; it keeps both.

        Raises:
            NoSuchRange: there is none.
            NotPermitted: it is a fixed slot.
            RangeBusy: it is another's.
        """
        for slot, row in enumerate(state.slots):
            if (row.mr_base, row.mr_len) == (desc.mr_base, desc.mr_len):
                if row.mr_flags & abi.MDF_FIXACTIVE:
                    raise errors.NotPermitted(
                        f"{range_refusals.describe(slot, row)} is always active",
                        obstacles=(range_refusals.obstacle("permanent", slot, row),),
                    )

                check_busy(slot, row)
                flags, owner = row.mr_flags & ~abi.MDF_ACTIVE, b"\0" + row.mr_owner[1:]

                return self._write(state, {slot: RangeDesc(row.mr_base, row.mr_len, flags, owner)})

        active = [it for it in enumerate(state.slots) if it[1].mr_flags & abi.MDF_ACTIVE]
        raise range_refusals.absent(desc, active)

    def restore(
        self,
        state: RangeState,
        slots: Mapping[int, RangeDesc],
        earlier: Mapping[int, int] = NO_REGISTERS,
    ) -> Change:
        """Put descriptors back, and write the registers."""
        return self._write(state, slots)

    def store_on_cpu(self, state: RangeState) -> Mapping[int, int]:
        """`amd64_mrstoreone`; it enables the MTRRs in the end."""
        stored = self._store(state.slots, state.msrs)

        return {it: value for it, value in stored.items() if state.msrs.get(it, 0) != value}

    def reinit_cpu(self, state: RangeState, attached: Mapping[int, int]) -> Mapping[int, int]:
        """`amd64_mrinit_cpu`: the table, and the default type as it was at attach."""
        default = attached.get(_DEF_TYPE, 0) | _ENABLE
        msrs = {**self._store(state.slots, state.msrs), _DEF_TYPE: default}

        return {it: value for it, value in msrs.items() if state.msrs.get(it, 0) != value}

    def power_on_cpu(self, attached: Mapping[int, int]) -> Mapping[int, int]:
        """No range is valid and the MTRRs are off."""
        return power_on(attached)

    def slot_registers(self, state: RangeState, slot: int) -> Iterable[tuple[int, int]]:
        """The byte of a fixed range, or both registers of a variable pair."""
        return registers_of_slot(slot, _count_fixed(state.slots))

    def why_fault(self, state: RangeState, number: int, value: int) -> str:
        """The rule of the processor's that is broken."""
        return why_fault(number, value, state.msrs, self._cpu)

    def compare_cpus(self, mine: Mapping[int, int], other: Mapping[int, int]) -> Mapping[int, str]:
        """A pair that is valid on neither CPU does not count."""
        return compare_registers(mine, other)

    def types(self, state: RangeState) -> TypeMap:
        """The types that the registers give."""
        return types_from_mtrrs(state.msrs, self._cpu.phys_bits, tom2=self._cpu.tom2)

    def extent(self, state: RangeState, slot: int) -> tuple[int, int]:
        """A fixed slot's range, or the hull of what a variable pair matches."""
        fixed = _count_fixed(state.slots)
        if slot < fixed:
            return state.slots[slot].mr_base, state.slots[slot].mr_end

        number = _BASE + 2 * (slot - fixed)
        mask = state.msrs.get(number + 1, 0)
        if not mask & _VALID:
            return 0, 0

        first = state.msrs.get(number, 0) & mask & self._mask

        return first, (first | ~mask & self._mask | 0xFFF) + 1

    def _write(self, state: RangeState, rows: Mapping[int, RangeDesc]) -> Change:
        """Store every register, as the kernel does at each change."""
        slots = [rows.get(slot, row) for slot, row in enumerate(state.slots)]
        stored = self._store(slots, state.msrs)
        msrs = {it: value for it, value in stored.items() if state.msrs.get(it, 0) != value}
        changed = {slot: row for slot, row in rows.items() if not_busy(state.slots[slot]) != row}

        return Change(tuple(rows), changed, msrs, settled=True)

    def _store(self, slots: Sequence[RangeDesc], msrs: Mapping[int, int]) -> dict[int, int]:
        fixed = _count_fixed(slots)
        stored: dict[int, int] = {}
        for at in range(fixed // 8):
            types = bytes(_byte_of(row.mr_flags) for row in slots[8 * at : 8 * at + 8])
            stored[_FIXED_MSRS[at]] = int.from_bytes(types, "little")

        for index, row in enumerate(slots[fixed:]):
            base = mask = 0
            if row.mr_flags & abi.MDF_ACTIVE:
                base = row.mr_base & self._mask | _byte_of(row.mr_flags)
                mask = -row.mr_len & self._mask | _VALID

            stored[_BASE + 2 * index], stored[_BASE + 2 * index + 1] = base, mask

        stored[_DEF_TYPE] = msrs.get(_DEF_TYPE, 0) | _ENABLE

        return stored


def not_busy(desc: RangeDesc) -> RangeDesc:
    """A descriptor without the mark that claims lend it."""
    if not desc.mr_flags & abi.MDF_BUSY:
        return desc

    return RangeDesc(desc.mr_base, desc.mr_len, desc.mr_flags & ~abi.MDF_BUSY, desc.mr_owner)


def _count_fixed(slots: Sequence[RangeDesc]) -> int:
    return FIXED_COUNT if slots and slots[0].mr_flags & abi.MDF_FIXACTIVE else 0


def _flag_of(byte: int) -> int:
    """The attribute of a type byte; what mem(4) has no name for is uncacheable."""
    found = _TYPES[byte] if byte < len(_TYPES) else None

    return abi.MDF_UNCACHEABLE if found is None else found


def _byte_of(flags: int) -> int:
    """The type byte of attributes; what is not exactly one of five is write-combining."""
    return _BYTES.get(flags & abi.MDF_ATTRMASK, 1)
