"""The MTRR range driver: what an x86 architecture builds on.

Its slots are the 88 fixed ranges, if they are supported and enabled, and then the variable ones.
FreeBSD rewrites every register at each successful MEMRANGE_SET and reads all of them back, so
what the hardware cannot hold shows at once. The answers here are the same, the work is not: a
state that such a round trip would leave as it is carries `settled`, and then only the slots that
the request touches take part. Any other state (as firmware left it, or made by hand) makes the
whole round trip once.

Sources: FreeBSD `sys/x86/x86/x86_mem.c` (x86_mrinit, mrvalid, x86_mrset, x86_mrsetlow,
x86_mrsetvariable) and, the same in all that shows, `sys/i386/i386/i686_mem.c`. The newer file's
conflict test names MDF_UNKNOWN; the older one's refuses it too, since a request is never of
unknown type and so never of the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from memhub import abi
from memhub.abi import RangeDesc
from memhub.core.drivers import range_refusals
from memhub.core.drivers.driver import NO_REGISTERS, Change, Cpu, RangeDriver, RangeState
from memhub.errors import NotSupported
from memhub.x86 import mtrr_refusals as refusals
from memhub.x86.mtrr_attach import read_firmware
from memhub.x86.mtrr_codec import (
    TYPE_OF,
    MtrrCodec,
    not_busy,
    unknown_types,
)
from memhub.x86.mtrr_faults import why_fault
from memhub.x86.mtrr_fixed import FIXED_SLOTS, retype_fixed
from memhub.x86.mtrr_registers import compare_registers, power_on, registers_of_slot, store_one
from memhub.x86.mtrr_types import types_from_mtrrs
from memhub.x86.registers import (
    FIXED_COUNT,
    FIXED_END,
    MASK_VALID,
    MSR_MTRR_DEF_TYPE,
    VARIABLE_MSRS,
    address_mask,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from memhub.core.effective.typemap import TypeMap


#: The one pair of types that may overlap.
_COMPATIBLE: Final = abi.MDF_WRITEBACK | abi.MDF_UNCACHEABLE


class MtrrDriver(RangeDriver):
    """The range driver of one x86 CPU.

    Args:
        cpu: the processor; its `phys_bits` bound what the variable registers hold.
    """

    rereads = True
    no_slots = "the MTRRs are off (bit 11 of register 0x2ff is clear), or there are none"

    def __init__(self, cpu: Cpu) -> None:
        self._cpu = cpu
        self._codec = MtrrCodec(address_mask(cpu.phys_bits))

    def attach(self, msrs: Mapping[int, int]) -> RangeState:
        """Read the registers; what is active is FIRMWARE's, labelled "BIOS".

        Returns:
            the first state; without slots where MTRRs are disabled or there are none.

        Raises:
            NotSupported: the CPU has no MTRRs.
        """
        if not self._cpu.mtrr:
            raise NotSupported("the CPU has no memory type range registers (CPUID bit MTRR)")

        slots, settled = read_firmware(self._cpu.phys_bits, frozenset(msrs.items()))

        return RangeState(slots, msrs, settled)

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        """Set a range's type: below 1 MiB in the fixed slots, else in a variable one.

        Returns:
            the change. A fixed range is widened to whole slots, all of which it wrote.

        Raises:
            InvalidRange: the range is not an aligned power of two of at least 4 KiB, the type is
                not exactly one, or a range with a conflicting type overlaps it.
            RangeBusy: the slot with the same range is busy.
            AccessDenied: a slot of unknown type would be overwritten without MDF_FORCE.
            NoSpace: no variable slot is free.
        """
        attribute = _check_request(desc)
        slots = state.slots
        fixed = count_fixed(slots)
        # The sum wraps at 64 bits, as the kernel's does.
        if fixed and desc.mr_base + desc.mr_len & abi.U64_MAX <= FIXED_END:
            return self._write_slots(state, retype_fixed(slots, desc))

        slot = _find_variable(slots, fixed, desc)
        new = RangeDesc(desc.mr_base, desc.mr_len, abi.MDF_ACTIVE | attribute, desc.mr_owner)

        return self._write_variable(state, fixed, slot, new)

    def remove(self, state: RangeState, desc: RangeDesc) -> Change:
        """Clear the first slot, active or not, with the same base and length.

        Raises:
            NoSuchRange: there is none.
            NotPermitted: it is a fixed slot.
            RangeBusy: it is busy.
        """
        base, length, slots = desc.mr_base, desc.mr_len, state.slots
        fixed = count_fixed(slots)
        if fixed and (base, length) in FIXED_SLOTS:
            slot = FIXED_SLOTS[base, length]
            raise refusals.permanent(slot, slots[slot])

        for slot, row in enumerate(slots[fixed:], fixed):
            if row.mr_base == base and row.mr_len == length:
                if row.mr_flags & abi.MDF_BUSY:
                    raise refusals.busy(slot, row)

                return self._write_variable(state, fixed, slot, _inactive_desc(row))

        active = [pair for pair in enumerate(slots) if pair[1].mr_flags & abi.MDF_ACTIVE]
        raise range_refusals.absent(desc, active)

    def restore(
        self,
        state: RangeState,
        slots: Mapping[int, RangeDesc],
        earlier: Mapping[int, int] = NO_REGISTERS,
    ) -> Change:
        """Put descriptors back and store them, as a successful SET would.

        The byte of a type that mem(4) has no name for is taken from the registers of then.
        """
        back = {slot: not_busy(desc) for slot, desc in slots.items()}
        bytes_of_then = unknown_types(back, state.msrs, earlier, count_fixed(state.slots))
        then = replace(state, msrs={**state.msrs, **bytes_of_then})
        change = self._write_slots(then, back)
        msrs = {**bytes_of_then, **change.msrs}
        old = state.msrs

        return replace(
            change, msrs={number: new for number, new in msrs.items() if old.get(number, 0) != new}
        )

    def types(self, state: RangeState) -> TypeMap:
        """The types that the registers give, default type and overlaps included."""
        return types_from_mtrrs(state.msrs, self._cpu.phys_bits, tom2=self._cpu.tom2)

    def extent(self, state: RangeState, slot: int) -> tuple[int, int]:
        """A fixed slot's range, or the hull of what a variable pair matches.

        The registers decide, not the descriptor: a mask with holes matches several stretches.
        """
        fixed = count_fixed(state.slots)
        if slot < fixed:
            desc = state.slots[slot]
            return (desc.mr_base, desc.mr_end)

        number = VARIABLE_MSRS[slot - fixed]
        mask = state.msrs.get(number + 1, 0)
        if not mask & MASK_VALID:
            return (0, 0)

        bits = self._codec.phys_mask
        first = state.msrs.get(number, 0) & mask & bits

        return (first, (first | ~mask & bits | 0xFFF) + 1)

    def store_on_cpu(self, state: RangeState) -> Mapping[int, int]:
        """`x86_mrstoreone`; it enables the MTRRs in the end, whether they were so or not."""
        return store_one(self._codec, state, count_fixed(state.slots))

    def fetch_from_cpu(self, state: RangeState) -> Mapping[int, RangeDesc]:
        """`x86_mrfetch`."""
        rows = self._codec.fetch(state.slots, count_fixed(state.slots), state.msrs)

        return {slot: row for slot, row in enumerate(rows) if row != state.slots[slot]}

    def reinit_cpu(self, state: RangeState, attached: Mapping[int, int]) -> Mapping[int, int]:
        """`x86_mrAPinit`: the table, and the default type as it was at attach."""
        default = attached.get(MSR_MTRR_DEF_TYPE, 0)
        msrs = {**self.store_on_cpu(state), MSR_MTRR_DEF_TYPE: default}

        return {number: it for number, it in msrs.items() if state.msrs.get(number, 0) != it}

    def power_on_cpu(self, attached: Mapping[int, int]) -> Mapping[int, int]:
        """No range is valid and the MTRRs are off (SDM vol. 3A 12.11.5)."""
        return power_on(attached)

    def slot_registers(self, state: RangeState, slot: int) -> Iterable[tuple[int, int]]:
        """The byte of a fixed range, or both registers of a variable pair."""
        return registers_of_slot(slot, count_fixed(state.slots))

    def why_fault(self, state: RangeState, number: int, value: int) -> str:
        """The rule of the processor's that is broken."""
        return why_fault(number, value, state.msrs, self._cpu)

    def compare_cpus(self, mine: Mapping[int, int], other: Mapping[int, int]) -> Mapping[int, str]:
        """As Linux compares: a pair that is valid on neither CPU does not count."""
        return compare_registers(mine, other)

    def _write_variable(self, state: RangeState, fixed: int, slot: int, desc: RangeDesc) -> Change:
        """Store and fetch one variable slot, which is all that most requests touch.

        Args:
            state: the present state.
            fixed: how many of its slots are fixed ranges.
            slot: the slot that the request writes.
            desc: what it is to hold.
        """
        if not state.settled:
            return self._write_all(state, {slot: desc})

        old, codec = state.msrs, self._codec
        number = VARIABLE_MSRS[slot - fixed]
        old_base = old.get(number, 0)
        base, mask = codec.store_variable(desc, old_base)
        msrs = {}
        if base != old_base:
            msrs[number] = base

        if mask != old.get(number + 1, 0):
            msrs[number + 1] = mask

        row, held = codec.fetch_variable(desc, base, mask), state.slots[slot]
        if held.mr_flags & abi.MDF_BUSY:
            held = not_busy(held)

        return Change((slot,), {} if row == held else {slot: row}, msrs, settled=True)

    def _write_slots(self, state: RangeState, written: Mapping[int, RangeDesc]) -> Change:
        """Store and fetch these slots, and all others if the state is not settled."""
        if not state.settled:
            return self._write_all(state, written)

        fixed = count_fixed(state.slots)
        low = {slot: desc for slot, desc in written.items() if slot < fixed}
        rows, msrs = self._codec.write_fixed(low, state.msrs)
        for slot, desc in written.items():
            if slot >= fixed:
                change = self._write_variable(state, fixed, slot, desc)
                rows.update(change.slots)
                msrs.update(change.msrs)

        return _make_change(state, written, rows, msrs)

    def _write_all(self, state: RangeState, written: Mapping[int, RangeDesc]) -> Change:
        """Store and fetch every slot, as the kernel does at each success."""
        slots = [written.get(slot, not_busy(row)) for slot, row in enumerate(state.slots)]
        fixed = count_fixed(slots)
        msrs = self._codec.store(slots, fixed, state.msrs)
        rows = self._codec.fetch(slots, fixed, {**state.msrs, **msrs})

        return _make_change(state, written, dict(enumerate(rows)), msrs)


def count_fixed(slots: Sequence[RangeDesc]) -> int:
    """How many of the first slots are fixed ranges: all 88 or none."""
    return FIXED_COUNT if slots and slots[0].mr_flags & abi.MDF_FIXACTIVE else 0


def _check_request(desc: RangeDesc) -> int:
    """The attribute of a request that some MTRR could hold, exactly one.

    Raises:
        InvalidRange: it is not an aligned power of two of at least 4 KiB, or its type is not one.
    """
    length = desc.mr_len
    if length < abi.PAGE_SIZE or length & (length - 1):
        raise refusals.bad_length(desc)

    if desc.mr_base & (length - 1):
        raise refusals.bad_base(desc)

    attribute = desc.mr_flags & abi.MDF_ATTRMASK
    if attribute not in TYPE_OF:
        raise refusals.bad_type(attribute)

    return attribute


def _find_variable(slots: Sequence[RangeDesc], fixed: int, desc: RangeDesc) -> int:
    """The slot that takes the request: the one with the same range, or the first free one.

    The walk stops at an exact match, so conflicts behind it are not seen; slot order matters.

    Raises:
        InvalidRange: a range of conflicting type overlaps, in a slot before the exact match.
        RangeBusy: the exact match is busy.
        AccessDenied: the exact match is of unknown type, and MDF_FORCE is not given.
        NoSpace: no slot is free.
    """
    base, length = desc.mr_base, desc.mr_len
    attribute = desc.mr_flags & abi.MDF_ATTRMASK
    end = base + length & abi.U64_MAX
    free = -1
    for slot, row in enumerate(slots[fixed:], fixed):
        flags, row_base = row.mr_flags, row.mr_base
        if not flags & abi.MDF_ACTIVE:
            if free < 0:
                free = slot
        elif row_base == base and row.mr_len == length:
            if flags & abi.MDF_BUSY:
                raise refusals.busy(slot, row)

            if flags & abi.MDF_ATTRMASK == abi.MDF_UNKNOWN and not desc.mr_flags & abi.MDF_FORCE:
                raise refusals.unknown(slot, row)

            return slot
        # One holds the other's base; the ends wrap at 64 bits, as the kernel's do.
        elif base <= row_base < end or row_base <= base < (row_base + row.mr_len & abi.U64_MAX):
            other = flags & abi.MDF_ATTRMASK
            if other != attribute and other | attribute != _COMPATIBLE:
                raise refusals.conflict(slot, row, desc)

    if free < 0:
        raise range_refusals.full(desc, enumerate(slots[fixed:], fixed))

    return free


def _make_change(
    state: RangeState,
    written: Mapping[int, RangeDesc],
    rows: Mapping[int, RangeDesc],
    msrs: Mapping[int, int],
) -> Change:
    slots = {slot: row for slot, row in rows.items() if not_busy(state.slots[slot]) != row}

    return Change(tuple(written), slots, msrs, settled=True)


def _inactive_desc(desc: RangeDesc) -> RangeDesc:
    """A removed slot: only the first byte of its label goes."""
    return RangeDesc(
        desc.mr_base, desc.mr_len, desc.mr_flags & ~abi.MDF_ACTIVE, b"\0" + desc.mr_owner[1:]
    )
