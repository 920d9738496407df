"""Wrong drivers, each with one fault in its types, extents, undo, copies and starts.

`WRONG` names each class with the rule that the kit has to tell, and words of the message.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from arch_check.planted import PAGE, UC, WC, Sound
from memhub.plugin import Change, RangeDesc, RangeState, abi, errors
from memhub.plugin.software import EMPTY
from memhub.plugin.types import TypeMap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.core.drivers.driver import RangeDriver


class IgnoresWriteCombine(Sound):
    """Write-combining ranges have no effect on types."""

    def type_of(self, desc: RangeDesc) -> str | None:
        return None if desc.mr_flags & WC else super().type_of(desc)


class SwapsTypes(Sound):
    def type_of(self, desc: RangeDesc) -> str | None:
        return {"UC": "WC", "WC": "UC"}.get(super().type_of(desc) or "", "WB")


class TypeEndsEarly(Sound):
    def types(self, state: RangeState) -> TypeMap:
        rows = [
            (it.mr_base, it.mr_end - 1, self.type_of(it) or "WB", "a range")
            for it in state.slots
            if it.mr_len
        ]
        return TypeMap.from_ranges("WB", rows)


class TypeBeginsEarly(Sound):
    def types(self, state: RangeState) -> TypeMap:
        rows = [
            (it.mr_base - PAGE, it.mr_end, self.type_of(it) or "WB", "a range")
            for it in state.slots
            if it.mr_len
        ]
        return TypeMap.from_ranges("WB", rows)


class WrongTypeInTheLastSlot(Sound):
    """A write-combining range is uncacheable where the last slot holds it."""

    def types(self, state: RangeState) -> TypeMap:
        last = len(state.slots) - 1
        rows = []
        for slot, it in enumerate(state.slots):
            kind = self.type_of(it) or "WB"
            if it.mr_len:
                wrong = slot == last and kind == "WC"
                rows.append((it.mr_base, it.mr_end, "UC" if wrong else kind, "a range"))
        return TypeMap.from_ranges("WB", rows)


class SmallExtent(Sound):
    def extent(self, state: RangeState, slot: int) -> tuple[int, int]:
        lo, hi = super().extent(state, slot)
        return lo, max(lo, hi - PAGE)


class NoExtentOfTheLast(Sound):
    def extent(self, state: RangeState, slot: int) -> tuple[int, int]:
        return (0, 0) if slot == 3 else super().extent(state, slot)


class ExtentFails(Sound):
    def extent(self, state: RangeState, slot: int) -> tuple[int, int]:
        row = state.slots[slot]
        return row.mr_base // (1 if row.mr_len else 0), row.mr_end


class UndoForgetsOwner(Sound):
    def restore(
        self,
        state: RangeState,
        slots: Mapping[int, RangeDesc],
        earlier: Mapping[int, int] = {},
    ) -> Change:
        return Change(
            tuple(slots), {slot: replace(it, mr_owner=bytes(8)) for slot, it in slots.items()}
        )


class UndoDoesNothing(Sound):
    def restore(self, state: RangeState, slots: Any, earlier: Any = ()) -> Change:
        return Change(tuple(slots))


class UndoTakesTheFirst(Sound):
    def restore(self, state: RangeState, slots: Any, earlier: Any = ()) -> Change:
        slot = next(iter(slots))
        return Change((slot,), {slot: slots[slot]})


class UndoRefuses(Sound):
    def restore(self, state: RangeState, slots: Any, earlier: Any = ()) -> Change:
        raise errors.NotSupported("no undo")


class UndoWritesOthers(Sound):
    def restore(self, state: RangeState, slots: Any, earlier: Any = ()) -> Change:
        return Change((0, 1, 2, 3), dict.fromkeys(range(4), EMPTY))


class CannotBeCopied(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.check = lambda desc: desc.mr_len


class CopyForgets(Sound):
    """A copy has two slots fewer to give."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 4

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "most": 0}

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        change = super().update(state, desc)
        if change.wrote[0] >= self.most:
            raise errors.InvalidRange("no more")
        return change


class AttachFails(Sound):
    def attach(self, msrs: Mapping[int, int]) -> RangeState:
        return super().attach({0x200: msrs[0x12345]})


class AttachCounts(Sound):
    """Each start shows another table."""

    starts = itertools.count()

    def attach(self, msrs: Mapping[int, int]) -> RangeState:
        state = super().attach(msrs)
        row = RangeDesc(next(self.starts) * PAGE, PAGE, UC | abi.MDF_ACTIVE)
        return RangeState((*state.slots[:3], row), msrs)


class RefusesAll(Sound):
    def stored(self, desc: RangeDesc) -> RangeDesc:
        raise errors.InvalidRange(f"no range is right: {desc}")


class WritesRegisterOfUpdate(Sound):
    """Registers follow an UPDATE, and are not read when the machine starts."""

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        change = super().update(state, desc)
        (slot,) = change.wrote
        return Change(change.wrote, change.slots, {0x200 + slot: desc.mr_base | 1})


class SettledTooSoon(Sound):
    """Shortcuts where `settled` is set, and gets them wrong."""

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        change = replace(super().update(state, desc), settled=True)
        if state.settled and desc.mr_flags & WC:
            raise errors.InvalidRange("no write-combine any more")
        return change


class FailsFarUp(Sound):
    """A shift that is wrong for odd requests only."""

    def stored(self, desc: RangeDesc) -> RangeDesc:
        1 << (desc.mr_len.bit_length() - 1)
        return super().stored(desc)


#: The rule of each, and words of the message.
WRONG: dict[type[RangeDriver], tuple[str, str]] = {
    IgnoresWriteCombine: ("type-of-range", "(write-combine), but its type is WB"),
    SwapsTypes: ("type-of-range", "(uncacheable), but its type is WC"),
    TypeEndsEarly: ("type-of-range", "(uncacheable), but its type is WB"),
    TypeBeginsEarly: ("type-outside-ranges", "is in no range"),
    WrongTypeInTheLastSlot: ("type-of-range", "(write-combine), but its type is UC"),
    SmallExtent: ("types-outside-extent", "outside of what `extent` says"),
    NoExtentOfTheLast: ("types-outside-extent", "outside of what `extent` says"),
    ExtentFails: ("raises", "failed with ZeroDivisionError"),
    UndoForgetsOwner: ("undo-leaves", "after undo, slot 0 holds"),
    UndoDoesNothing: ("undo-leaves", "after undo, slot 0 holds"),
    UndoTakesTheFirst: ("undo-leaves", "after undo, slot "),
    UndoRefuses: ("undo-fails", "cannot be undone: EOPNOTSUPP: no undo"),
    UndoWritesOthers: ("nonsense", "it was to put back"),
    CannotBeCopied: ("not-picklable", "the driver cannot be copied"),
    CopyForgets: ("copy-differs", "a copy answers"),
    AttachFails: ("attach-fails", "KeyError"),
    AttachCounts: ("not-deterministic", "answers differently for the same registers"),
    RefusesAll: ("nothing-granted", "no range is right"),
    WritesRegisterOfUpdate: ("registers-disagree", "from the registers it is"),
    SettledTooSoon: ("settled-wrongly", "re-reading the registers makes a difference"),
    FailsFarUp: ("raises", "failed with ValueError: negative shift count"),
}
