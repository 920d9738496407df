"""Wrong drivers with registers behind their slots, each with one fault, made of a sound one."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from arch_check.planted import PAGE, TYPES, UC, WC, Sound
from memhub.plugin import NO_REGISTERS, Change, RangeDesc, RangeDriver, RangeState, abi, errors
from memhub.plugin.software import EMPTY
from memhub.plugin.types import TypeMap

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Base and attribute of slot n in register 0x400 + 2n, its length in the next one.
FIRST = 0x400
SLOTS = 4


class SoundRegisters(RangeDriver):
    """Four pairs of registers; types come from the registers."""

    def attach(self, msrs: Mapping[int, int]) -> RangeState:
        return RangeState(tuple([self.read(msrs, it) for it in range(SLOTS)]), msrs)

    def read(self, msrs: Mapping[int, int], slot: int) -> RangeDesc:
        base, length = msrs.get(FIRST + 2 * slot, 0), msrs.get(FIRST + 2 * slot + 1, 0)
        length &= (1 << 40) - PAGE
        if not length:
            return EMPTY
        flags = base & (UC | WC) | abi.MDF_ACTIVE
        return RangeDesc(base & (1 << 40) - PAGE, length, flags)

    def registers_of(self, slot: int, desc: RangeDesc) -> dict[int, int]:
        base = desc.mr_base | desc.mr_flags & (UC | WC)
        return {FIRST + 2 * slot: base, FIRST + 2 * slot + 1: desc.mr_len}

    def write(self, state: RangeState, slots: Mapping[int, RangeDesc]) -> Change:
        msrs: dict[int, int] = {}
        for slot, desc in slots.items():
            msrs.update(self.registers_of(slot, desc))
        return Change(tuple(slots), dict(slots), msrs)

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        if desc.mr_base % PAGE or desc.mr_len % PAGE or not desc.mr_len or desc.mr_end > 1 << 36:
            raise errors.InvalidRange("whole pages only")
        if desc.mr_flags not in (UC, WC):
            raise errors.InvalidRange("UC or WC only")
        new = replace(desc, mr_flags=desc.mr_flags | abi.MDF_ACTIVE)
        free = -1
        for slot, row in enumerate(state.slots):
            if row.mr_base < desc.mr_end and desc.mr_base < row.mr_end:
                if (row.mr_base, row.mr_len) == (desc.mr_base, desc.mr_len):
                    return self.write(state, {slot: new})
                raise errors.InvalidRange(f"overlaps slot {slot}")
            if not row.mr_len and free < 0:
                free = slot
        if free < 0:
            told = tuple(errors.Obstacle(kind="slot", slot=it) for it in range(SLOTS))
            raise errors.NoSpace("full", obstacles=told)
        return self.write(state, {free: new})

    def remove(self, state: RangeState, desc: RangeDesc) -> Change:
        for slot, row in enumerate(state.slots):
            if row.mr_len and (row.mr_base, row.mr_len) == (desc.mr_base, desc.mr_len):
                return self.write(state, {slot: EMPTY})
        raise errors.NoSuchRange("no slot holds it")

    def restore(
        self,
        state: RangeState,
        slots: Mapping[int, RangeDesc],
        earlier: Mapping[int, int] = NO_REGISTERS,
    ) -> Change:
        return self.write(state, slots)

    def types(self, state: RangeState) -> TypeMap:
        rows = [self.read(state.msrs, it) for it in range(SLOTS)]
        told = [
            (it.mr_base, it.mr_end, TYPES.get(it.mr_flags & (UC | WC), "WB"), "a register")
            for it in rows
            if it.mr_len
        ]
        return TypeMap.from_ranges("WB", told)


class ForgetsLength(SoundRegisters):
    """The second register is not written."""

    def registers_of(self, slot: int, desc: RangeDesc) -> dict[int, int]:
        return {FIRST + 2 * slot: super().registers_of(slot, desc)[FIRST + 2 * slot]}


class ForgetsAttribute(SoundRegisters):
    def registers_of(self, slot: int, desc: RangeDesc) -> dict[int, int]:
        kept = super().registers_of(slot, desc)
        return {**kept, FIRST + 2 * slot: desc.mr_base | (UC if desc.mr_len else 0)}


class RemovesOtherRegister(SoundRegisters):
    """REMOVE clears the registers of slot 0, whatever the slot."""

    def remove(self, state: RangeState, desc: RangeDesc) -> Change:
        change = super().remove(state, desc)
        return replace(change, msrs=self.registers_of(0, EMPTY))


class UndoForgetsRegisters(SoundRegisters):
    def restore(self, state: RangeState, slots: Any, earlier: Any = NO_REGISTERS) -> Change:
        return Change(tuple(slots), dict(slots))


class CachesTypes(SoundRegisters):
    """Types of the slots that were seen first, for each number of ranges."""

    def __init__(self) -> None:
        self.known: dict[int, TypeMap] = {}

    def types(self, state: RangeState) -> TypeMap:
        count = sum(1 for it in state.slots if it.mr_len)
        if count not in self.known:
            self.known[count] = super().types(state)
        return self.known[count]


class TouchesOthers(SoundRegisters):
    """Says that it re-reads its registers, and moves a range that was not asked for."""

    rereads = True

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        change = super().update(state, desc)
        if state.slots[0].mr_len and change.wrote != (0,):
            row = state.slots[0]
            moved = replace(row, mr_len=row.mr_len + PAGE)
            return Change(
                change.wrote,
                {**change.slots, 0: moved},
                {**change.msrs, **self.registers_of(0, moved)},
            )
        return change


class DependsOnTime(SoundRegisters):
    def registers_of(self, slot: int, desc: RangeDesc) -> dict[int, int]:
        return {**super().registers_of(slot, desc), 0x4FF: time.monotonic_ns() & 0xFFFFFFFF}


class TwoPartsOneWritten(SoundRegisters):
    """A long range takes two slots, of which the second is forgotten."""

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        change = super().update(state, desc)
        (slot,) = change.wrote
        if desc.mr_len == 2 * PAGE and slot < 3 and not state.slots[slot + 1].mr_len:
            half = replace(change.slots[slot], mr_len=PAGE)
            return self.write(state, {slot: half})
        return change


class WritesNoRegisters(Sound):
    """Reads its slots from registers at the start, and keeps what is set in the table alone."""

    def attach(self, msrs: Mapping[int, int]) -> RangeState:
        return RangeState(tuple([SoundRegisters().read(msrs, it) for it in range(SLOTS)]), msrs)


class WritesSomeRegisters(SoundRegisters):
    """Slot 0 alone is written to its registers; types come from the table."""

    def write(self, state: RangeState, slots: Mapping[int, RangeDesc]) -> Change:
        change = super().write(state, slots)
        return change if 0 in slots else replace(change, msrs={})

    def types(self, state: RangeState) -> TypeMap:
        told = [
            (it.mr_base, it.mr_end, TYPES.get(it.mr_flags & (UC | WC), "WB"), "a slot")
            for it in state.slots
            if it.mr_len
        ]
        return TypeMap.from_ranges("WB", told)


class HangsInAttach(Sound):
    def attach(self, msrs: Mapping[int, int]) -> RangeState:
        while True:
            pass


class HangsWhenMade(Sound):
    def __init__(self) -> None:
        super().__init__()
        time.sleep(1000)


class HangsInUndo(Sound):
    def restore(self, state: RangeState, slots: Any, earlier: Any = NO_REGISTERS) -> Change:
        while state.slots:
            pass
        return Change(())


class HangsInExtent(Sound):
    def extent(self, state: RangeState, slot: int) -> tuple[int, int]:
        while state.slots[slot].mr_len:
            pass
        return 0, 0


class SlowTypes(Sound):
    def types(self, state: RangeState) -> TypeMap:
        time.sleep(0.07)
        return super().types(state)


#: The rules of which the kit tells at least one; words of the message.
WRONG_REGISTERS: dict[type[RangeDriver], tuple[str, str]] = {
    ForgetsLength: ("type-of-range", "but its type is WB"),
    ForgetsAttribute: ("type-of-range", "but its type is UC"),
    RemovesOtherRegister: ("registers-disagree", "from the registers it is"),
    UndoForgetsRegisters: ("undo-leaves", "after undo, register 0x40"),
    CachesTypes: ("remembers", "for one state, the type of"),
    TouchesOthers: ("changes-other-slots", "changed slot 0 from"),
    DependsOnTime: ("not-deterministic", "asked twice"),
    TwoPartsOneWritten: ("stores-other-range", "was granted, but what was written holds"),
    WritesNoRegisters: ("registers-not-written", "is read from registers (such as 0x40"),
    WritesSomeRegisters: ("registers-not-written", "is read from registers (such as 0x40"),
    HangsInAttach: ("hangs", "did not answer within"),
    HangsWhenMade: ("hangs", "did not answer within"),
    HangsInUndo: ("hangs", "did not answer within"),
    HangsInExtent: ("hangs", "did not answer within"),
    SlowTypes: ("slow", "took 7"),
}
