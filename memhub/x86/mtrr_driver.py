"""The MTRR range driver: what an x86 architecture builds on.

Its slots are the 88 fixed ranges, if they are supported and enabled, and then the variable ones.
FreeBSD rewrites every register at each successful MEMRANGE_SET and reads all of them back, so
what the hardware cannot hold shows at once. The answers here are the same, the work is not: a
state that such a round trip would leave as it is carries `settled`, and then only the slots that
the request touches take part. Any other state (as firmware left it, or made by hand) makes the
whole round trip once.

Sources: FreeBSD `sys/x86/x86/x86_mem.c` (x86_mrinit, x86_mrset, x86_mrsetlow,
x86_mrsetvariable) and, the same in all that shows, `sys/i386/i386/i686_mem.c`. The newer file's
conflict test names MDF_UNKNOWN; the older one's refuses it too, since a request is never of
unknown type and so never of the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from memhub import abi
from memhub.abi import RangeDesc
from memhub.core import range_refusals as refusals
from memhub.core.driver import NO_REGISTERS, Change, Cpu, RangeDriver, RangeState
from memhub.errors import NotSupported
from memhub.x86 import mtrr_rules as rules
from memhub.x86 import registers
from memhub.x86.mtrr_codec import (
    FIXED_FLAGS,
    MtrrCodec,
    fixed_slots,
    not_busy,
    pair_number,
    store_fixed,
    unknown_types,
)
from memhub.x86.mtrr_types import types_from_mtrrs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.core.effective.typemap import TypeMap

_FIXED_SLOTS: Final = {span: slot for slot, span in enumerate(registers.FIXED_RANGES)}


class MtrrDriver(RangeDriver):
    """The range driver of one x86 CPU.

    Args:
        cpu: the processor; its `phys_bits` bound what the variable registers hold.
    """

    def __init__(self, cpu: Cpu) -> None:
        self._cpu = cpu
        self._codec = MtrrCodec(registers.address_mask(cpu.phys_bits))

    def attach(self, msrs: Mapping[int, int]) -> RangeState:
        """Read the registers; what is active is FIRMWARE's, labelled "BIOS".

        Returns:
            the first state; without slots where MTRRs are disabled or there are none.

        Raises:
            NotSupported: the CPU has no MTRRs.
        """
        if not self._cpu.mtrr:
            raise NotSupported("the CPU has no memory type range registers (CPUID bit MTRR)")

        decoded = registers.MtrrRegisters.decode(msrs, self._cpu.phys_bits)
        if not decoded.enabled:
            return RangeState((), msrs)

        fixed = [RangeDesc(*span, FIXED_FLAGS) for span in registers.FIXED_RANGES]
        blank = [RangeDesc(0, 0)] * decoded.variable_count
        rows = self._codec.fetch([*fixed, *blank] if decoded.fixed_active else blank, msrs)
        slots = tuple([_by_firmware(row) for row in rows])

        return RangeState(slots, msrs, settled=not self._codec.store(slots, msrs))

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        """Set a range's type: below 1 MiB in the fixed slots, else in a variable one.

        Returns:
            the change. A fixed range is widened to whole slots, all of which it wrote.

        Raises:
            InvalidRange: the range is no aligned power of two of at least 4 KiB, the type is
                not exactly one, or a range with a conflicting type overlaps it.
            RangeBusy: the slot with the same range is busy.
            AccessDenied: a slot of unknown type would be overwritten without MDF_FORCE.
            NoSpace: no variable slot is free.
        """
        attribute = rules.check(desc)
        slots = state.slots
        fixed = fixed_slots(slots)
        # The sum wraps at 64 bits, as the kernel's does.
        if fixed and desc.mr_base + desc.mr_len & abi.U64_MAX <= registers.FIXED_END:
            return self._outcome(state, rules.fixed_update(slots, desc))

        slot = rules.variable_slot(slots, fixed, desc)
        new = RangeDesc(desc.mr_base, desc.mr_len, abi.MDF_ACTIVE | attribute, desc.mr_owner)

        return self._one(state, fixed, slot, new)

    def remove(self, state: RangeState, desc: RangeDesc) -> Change:
        """Clear the first slot, active or not, with the same base and length.

        Raises:
            NoSuchRange: there is none.
            NotPermitted: it is a fixed slot.
            RangeBusy: it is busy.
        """
        base, length, slots = desc.mr_base, desc.mr_len, state.slots
        fixed = fixed_slots(slots)
        if fixed and (base, length) in _FIXED_SLOTS:
            raise rules.permanent(_FIXED_SLOTS[base, length], slots)

        for slot, row in enumerate(slots[fixed:], fixed):
            if row.mr_base == base and row.mr_len == length:
                if row.mr_flags & abi.MDF_BUSY:
                    raise rules.busy(slot, row)

                return self._one(state, fixed, slot, _inactive(row))

        active = [pair for pair in enumerate(slots) if pair[1].mr_flags & abi.MDF_ACTIVE]
        raise refusals.absent(desc, active)

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
        bytes_of_then = unknown_types(back, state.msrs, earlier, fixed_slots(state.slots))
        then = replace(state, msrs={**state.msrs, **bytes_of_then})
        change = self._outcome(then, back)
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
        fixed = fixed_slots(state.slots)
        if slot < fixed:
            desc = state.slots[slot]
            return (desc.mr_base, desc.mr_end)

        number = pair_number(slot - fixed)
        mask = state.msrs.get(number + 1, 0)
        if not mask & registers.MASK_VALID:
            return (0, 0)

        bits = self._codec.phys_mask
        first = state.msrs.get(number, 0) & mask & bits

        return (first, (first | ~mask & bits | 0xFFF) + 1)

    def _one(self, state: RangeState, fixed: int, slot: int, desc: RangeDesc) -> Change:
        """What writing one variable slot comes to, which most requests do."""
        if not state.settled:
            return self._outcome(state, {slot: desc})

        msrs: dict[int, int] = {}
        row = self._pair(state.msrs, slot - fixed, desc, msrs)
        kept = not_busy(state.slots[slot]) == row

        return Change((slot,), {} if kept else {slot: row}, msrs, settled=True)

    def _outcome(self, state: RangeState, written: Mapping[int, RangeDesc]) -> Change:
        rows, msrs = self._touched(state, written) if state.settled else self._all(state, written)
        slots = {slot: row for slot, row in rows.items() if not_busy(state.slots[slot]) != row}

        return Change(tuple(written), slots, msrs, settled=True)

    def _touched(
        self, state: RangeState, written: Mapping[int, RangeDesc]
    ) -> tuple[dict[int, RangeDesc], dict[int, int]]:
        """Store and fetch the written slots alone."""
        codec, old = self._codec, state.msrs
        fixed = fixed_slots(state.slots)
        stored = store_fixed({s: desc for s, desc in written.items() if s < fixed}, old)
        msrs = {number: value for number, value in stored.items() if old.get(number, 0) != value}
        rows = {}
        for slot, desc in written.items():
            if slot < fixed:
                byte = stored[registers.FIXED_MSRS[slot >> 3]] >> 8 * (slot & 7) & 0xFF
                rows[slot] = codec.fetch_fixed(desc, byte)
            else:
                rows[slot] = self._pair(old, slot - fixed, desc, msrs)

        return rows, msrs

    def _pair(
        self, old: Mapping[int, int], variable: int, desc: RangeDesc, msrs: dict[int, int]
    ) -> RangeDesc:
        """Store and fetch one variable slot.

        Args:
            old: the registers so far.
            variable: which pair.
            desc: what the slot is to hold.
            msrs: takes the registers that become different.

        Returns:
            what the slot holds then.
        """
        number = pair_number(variable)
        was = old.get(number, 0)
        base, mask = self._codec.store_variable(desc, was)
        if base != was:
            msrs[number] = base

        if mask != old.get(number + 1, 0):
            msrs[number + 1] = mask

        return self._codec.fetch_variable(desc, base, mask)

    def _all(
        self, state: RangeState, written: Mapping[int, RangeDesc]
    ) -> tuple[dict[int, RangeDesc], dict[int, int]]:
        """Store and fetch every slot, as the kernel does at each success."""
        slots = [written.get(slot, not_busy(row)) for slot, row in enumerate(state.slots)]
        msrs = self._codec.store(slots, state.msrs)

        return dict(enumerate(self._codec.fetch(slots, {**state.msrs, **msrs}))), msrs


def _by_firmware(desc: RangeDesc) -> RangeDesc:
    if not desc.mr_flags & abi.MDF_ACTIVE:
        return desc

    return RangeDesc(desc.mr_base, desc.mr_len, desc.mr_flags | abi.MDF_FIRMWARE, desc.mr_owner)


def _inactive(desc: RangeDesc) -> RangeDesc:
    """A removed slot: only the first byte of its label goes."""
    return RangeDesc(
        desc.mr_base, desc.mr_len, desc.mr_flags & ~abi.MDF_ACTIVE, b"\0" + desc.mr_owner[1:]
    )
