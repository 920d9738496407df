"""Wrong drivers, each with one fault, made of a sound one.

`WRONG` names each class with the rules that the kit has to tell, and words of the message.
"""

from __future__ import annotations

import itertools
import random
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from memhub.plugin import Arch, Change, Errno, KernelLayout, RangeDesc, RangeState, abi, errors
from memhub.plugin.software import EMPTY, SoftwareRangeDriver
from memhub.plugin.types import TypeMap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.core.driver import Cpu, RangeDriver

UC, WC, WB = abi.MDF_UNCACHEABLE, abi.MDF_WRITECOMBINE, abi.MDF_WRITEBACK
TYPES = {UC: "UC", WC: "WC", WB: "WB"}
PAGE = 0x1000


def overlaps(one: RangeDesc, other: RangeDesc) -> bool:
    return one.mr_base < other.mr_end and other.mr_base < one.mr_end


class Sound(SoftwareRangeDriver):
    """Four ranges of whole pages; the same range is taken over; types must not conflict."""

    def __init__(self) -> None:
        super().__init__(slots=4)

    def stored(self, desc: RangeDesc) -> RangeDesc:
        if desc.mr_base % PAGE or desc.mr_len % PAGE or not desc.mr_len or desc.mr_end > 1 << 36:
            raise errors.InvalidRange(f"{desc.mr_base:#x}/{desc.mr_len:#x} is not whole pages")

        if desc.mr_flags & abi.MDF_ATTRMASK not in TYPES:
            raise errors.InvalidRange(f"flags {desc.mr_flags:#x}: one of UC, WC, WB")

        flags = desc.mr_flags & abi.MDF_ATTRMASK | abi.MDF_ACTIVE
        return RangeDesc(desc.mr_base, desc.mr_len, flags, desc.mr_owner)

    def type_of(self, desc: RangeDesc) -> str | None:
        return TYPES.get(desc.mr_flags & abi.MDF_ATTRMASK)

    def clash(self, row: RangeDesc, desc: RangeDesc) -> bool:
        return overlaps(row, desc) and bool((row.mr_flags ^ desc.mr_flags) & abi.MDF_ATTRMASK)

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        new, free = self.stored(desc), -1
        for slot, row in enumerate(state.slots):
            if row.mr_len and (row.mr_base, row.mr_len) == (desc.mr_base, desc.mr_len):
                return Change((slot,), {slot: new})
        for slot, row in enumerate(state.slots):
            if row.mr_len and self.clash(row, desc):
                raise errors.InvalidRange(f"overlaps slot {slot}")
            if not row.mr_len and free < 0:
                free = slot
        if free < 0:
            owners = tuple(errors.Obstacle(kind="slot", slot=it) for it in range(len(state.slots)))
            raise errors.NoSpace("no slot is free", obstacles=owners)
        return Change((free,), {free: new})


class Raises(Sound):
    """KeyError where nothing holds the range."""

    def remove(self, state: RangeState, desc: RangeDesc) -> Change:
        raise KeyError(desc.mr_base)


class ReturnsNone(Sound):
    def update(self, state: RangeState, desc: RangeDesc) -> Any:
        super().update(state, desc)


class Hangs(Sound):
    """Never ends on the third range."""

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        while sum(1 for it in state.slots if it.mr_len) >= 2:
            pass
        return super().update(state, desc)


class HangsInTypes(Sound):
    def types(self, state: RangeState) -> TypeMap:
        if any(it.mr_flags & WC for it in state.slots):
            time.sleep(1000)
        return super().types(state)


class Slow(Sound):
    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        time.sleep(0.03)
        return super().update(state, desc)


class IsAsync(Sound):
    async def update(self, state: RangeState, desc: RangeDesc) -> Change:  # type: ignore[override]
        return super().update(state, desc)


class RemembersRefusals(Sound):
    """A refused request leaves something behind in the driver."""

    def __init__(self) -> None:
        super().__init__()
        self.refused = 0

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        if self.refused > 2 and desc.mr_len == PAGE:
            raise errors.InvalidRange("no more pages")
        try:
            return super().update(state, desc)
        except errors.DeviceError:
            self.refused += 1
            raise


class KeepsOwnTable(Sound):
    """Looks at a table of its own, not at the state."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[RangeDesc] = []

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        if any(overlaps(it, desc) and it.mr_flags != desc.mr_flags for it in self.held):
            raise errors.InvalidRange("overlaps a range")
        change = super().update(state, desc)
        self.held.append(desc)
        return change


SHARED: list[RangeDesc] = []


class SharesBetweenMachines(Sound):
    """What one machine sets, another one sees: after a while all are full."""

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        change = super().update(state, desc)
        SHARED.append(desc)
        if len(SHARED) > 900:
            raise errors.InvalidRange("too many ranges")
        return change


class IsRandom(Sound):
    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        free = [slot for slot, row in enumerate(state.slots) if not row.mr_len]
        change = super().update(state, desc)
        if change.wrote[0] in free:
            slot = random.choice(free)
            return Change((slot,), {slot: change.slots[change.wrote[0]]})
        return change


class ChangesRegistersInPlace(Sound):
    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        change = super().update(state, desc)
        state.msrs[0x200] = desc.mr_base  # type: ignore[index]
        return change


class ChangesDescriptorsInPlace(Sound):
    def remove(self, state: RangeState, desc: RangeDesc) -> Change:
        change = super().remove(state, desc)
        object.__setattr__(state.slots[change.wrote[0]], "mr_flags", 0)
        return change


class ReusesItsAnswer(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.slots: dict[int, RangeDesc] = {}

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        change = super().update(state, desc)
        self.slots.clear()
        self.slots.update(change.slots)
        return Change(change.wrote, self.slots)


class RoundsUp(Sound):
    """Keeps 8 KiB where 4 KiB were asked for."""

    def stored(self, desc: RangeDesc) -> RangeDesc:
        return replace(super().stored(desc), mr_len=-(-desc.mr_len // 0x2000) * 0x2000)


class DropsOwner(Sound):
    def stored(self, desc: RangeDesc) -> RangeDesc:
        return replace(super().stored(desc), mr_owner=bytes(8))


class StoresOtherAttribute(Sound):
    def stored(self, desc: RangeDesc) -> RangeDesc:
        new = super().stored(desc)
        return replace(new, mr_flags=new.mr_flags & ~WC | UC) if new.mr_flags & WC else new


class OverwritesTheLast(Sound):
    """A full table loses its last range."""

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        try:
            return super().update(state, desc)
        except errors.NoSpace:
            return Change((3,), {3: self.stored(desc)})


class NeverUsesTheLast(Sound):
    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        change = super().update(state, desc)
        if change.wrote == (3,):
            slots = tuple(errors.Obstacle(kind="slot", slot=it) for it in range(3))
            raise errors.NoSpace("full", obstacles=slots)
        return change


class ClaimsAll(Sound):
    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        change = super().update(state, desc)
        return Change((0, 1, 2, 3), change.slots)


class NamesNoSlot(Sound):
    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        return Change((), super().update(state, desc).slots)


class GrantsNothing(Sound):
    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        super().update(state, desc)
        return Change(())


class GrantsUndeclared(Sound):
    def stored(self, desc: RangeDesc) -> RangeDesc:
        if desc.mr_flags == abi.MDF_WRITETHROUGH:
            return replace(desc, mr_flags=desc.mr_flags | abi.MDF_ACTIVE)
        return super().stored(desc)


class RefusesWriteCombine(Sound):
    def stored(self, desc: RangeDesc) -> RangeDesc:
        if desc.mr_flags & WC:
            raise errors.InvalidRange("no write-combine")
        return super().stored(desc)


class RemovesByBase(Sound):
    """REMOVE compares the base alone."""

    def remove(self, state: RangeState, desc: RangeDesc) -> Change:
        for slot, row in enumerate(state.slots):
            if row.mr_len and row.mr_base == desc.mr_base:
                return Change((slot,), {slot: EMPTY})
        raise errors.NoSuchRange("none")


class RemoveOnlyDeactivates(Sound):
    """The slot stays in use for `extent` and `types`."""

    def remove(self, state: RangeState, desc: RangeDesc) -> Change:
        (slot,) = super().remove(state, desc).wrote
        row = state.slots[slot]
        return Change((slot,), {slot: replace(row, mr_flags=row.mr_flags & ~abi.MDF_ACTIVE)})


class RefusesRemoval(Sound):
    def remove(self, state: RangeState, desc: RangeDesc) -> Change:
        change = super().remove(state, desc)
        if change.wrote == (1,):
            raise errors.NotPermitted("slot 1 is mine")
        return change


class RemovalIsInvalid(Sound):
    """EINVAL where mem(4) says ENOENT."""

    def remove(self, state: RangeState, desc: RangeDesc) -> Change:
        try:
            return super().remove(state, desc)
        except errors.NoSuchRange as error:
            raise errors.InvalidRange(error.reason) from None


class OddErrno(Sound):
    def stored(self, desc: RangeDesc) -> RangeDesc:
        try:
            return super().stored(desc)
        except errors.InvalidRange as error:
            raise errors.InvalidRange(error.reason, code=Errno.EFAULT) from None


class SaysNothing(Sound):
    def clash(self, row: RangeDesc, desc: RangeDesc) -> bool:
        if super().clash(row, desc):
            raise errors.InvalidRange("")
        return False


class NamesNoObstacle(Sound):
    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        try:
            return super().update(state, desc)
        except errors.NoSpace as error:
            raise errors.NoSpace(error.reason) from None


class NamesWrongObstacle(Sound):
    def clash(self, row: RangeDesc, desc: RangeDesc) -> bool:
        if super().clash(row, desc):
            wrong = errors.Obstacle(kind="overlap", slot=0, base=row.mr_base + PAGE)
            raise errors.InvalidRange("overlaps", obstacles=(wrong,))
        return False


class BusyForOverlap(Sound):
    def clash(self, row: RangeDesc, desc: RangeDesc) -> bool:
        if super().clash(row, desc):
            raise errors.RangeBusy("overlaps another range")
        return False


class RefusesNeighbours(Sound):
    """`<=` where `<` is meant."""

    def clash(self, row: RangeDesc, desc: RangeDesc) -> bool:
        touch = row.mr_base <= desc.mr_end and desc.mr_base <= row.mr_end
        return touch and bool((row.mr_flags ^ desc.mr_flags) & abi.MDF_ATTRMASK)


class MissesEnclosing(Sound):
    """Overlap is seen where an end of the new range lies in the old one, not where it encloses."""

    def clash(self, row: RangeDesc, desc: RangeDesc) -> bool:
        inside = any(row.mr_base <= it < row.mr_end for it in (desc.mr_base, desc.mr_end - 1))
        return inside and super().clash(row, desc)


class OrderDecides(Sound):
    """WC over UC is granted, UC over WC is not."""

    def clash(self, row: RangeDesc, desc: RangeDesc) -> bool:
        return super().clash(row, desc) and not (row.mr_flags & UC and desc.mr_flags & WC)


class TakesTwice(Sound):
    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        new = self.stored(desc)
        for slot, row in enumerate(state.slots):
            if not row.mr_len:
                return Change((slot,), {slot: new})
        return super().update(state, desc)


class OwnerDecides(Sound):
    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        change = super().update(state, desc)
        if desc.owner == "root":
            raise errors.NotPermitted("not for root")
        return change


class BusyIsFree(Sound):
    """A BUSY slot counts as free."""

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        rows = [EMPTY if it.mr_flags & abi.MDF_BUSY else it for it in state.slots]
        return super().update(RangeState(tuple(rows), state.msrs), desc)


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


class CannotBeStopped(Sound):
    """Catches even what stops it."""

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        while True:
            try:
                time.sleep(1000)
            except BaseException:  # noqa: BLE001 - the point
                continue


class ServesNobody(Sound):
    def attach(self, msrs: Mapping[int, int]) -> RangeState:
        raise errors.NotSupported("only on a VAX")


class NeedsOneRange(Sound):
    """Takes one range, which nobody would guess, and parts of it."""

    def stored(self, desc: RangeDesc) -> RangeDesc:
        if not 0x123000 <= desc.mr_base < desc.mr_end <= 0x12A000:
            raise errors.InvalidRange("elsewhere")
        return super().stored(desc)


#: The rules of which the kit tells at least one; words of the message.
WRONG: dict[type[RangeDriver], tuple[str, str]] = {
    Raises: ("raises", "failed with KeyError"),
    ReturnsNone: ("nonsense", "answered None, which is not a Change"),
    Hangs: ("hangs", "did not answer within"),
    HangsInTypes: ("hangs", "did not answer within"),
    Slow: ("slow", "took 3"),
    IsAsync: ("nonsense", "it is synchronous"),
    RemembersRefusals: ("remembers", "a driver that was asked nothing before answers"),
    KeepsOwnTable: ("remembers", "a driver that was asked nothing before answers"),
    SharesBetweenMachines: ("remembers", "after other machines were used"),
    IsRandom: ("not-deterministic", "asked twice"),
    ChangesRegistersInPlace: ("changes-its-input", "changed the registers"),
    ChangesDescriptorsInPlace: ("changes-its-input", "changed a descriptor"),
    ReusesItsAnswer: ("changes-its-answer", "later the same answer says"),
    RoundsUp: ("stores-other-range", "0x2000"),
    DropsOwner: ("stores-other-owner", "the owner of slot 0 is ''"),
    StoresOtherAttribute: ("stores-other-attribute", "slot 0 is uncacheable"),
    OverwritesTheLast: ("overwrites-range", "was written over slot 3, which held"),
    NeverUsesTheLast: ("full-too-early", "slot 3 is free"),
    ClaimsAll: ("claims-too-much", "names slot 1 as written"),
    NamesNoSlot: ("nonsense", "which `wrote` () does not name"),
    GrantsNothing: ("grants-nothing", "was granted, but writes no slot"),
    GrantsUndeclared: ("undeclared-attribute", "write-through was granted"),
    RefusesWriteCombine: ("attribute-refused", "`Arch.attributes` has write-combine"),
    RemovesByBase: ("removes-other-range", "removed slot 0, which held"),
    RemoveOnlyDeactivates: ("removal-leaves-range", "was granted, but slot 0 holds"),
    RefusesRemoval: ("refuses-removal", "slot 1 holds it"),
    RemovalIsInvalid: ("refusal-errno", "no slot holds this range, but the errno is EINVAL"),
    OddErrno: ("refusal-errno", "was refused with EFAULT"),
    SaysNothing: ("refusal-without-reason", "EINVAL says nothing more"),
    NamesNoObstacle: ("refusal-without-obstacles", "no slot is named"),
    NamesWrongObstacle: ("obstacle-wrong", "says that slot 0 has base"),
    BusyForOverlap: ("busy-without-claim", "no slot is BUSY"),
    RefusesNeighbours: ("refuses-apart", "was refused beside"),
    MissesEnclosing: ("refuses-some-overlaps", "is granted, but"),
    OrderDecides: ("refuses-order", "the other way round"),
    TakesTwice: ("duplicate-range", "asked twice, it takes (0,), and then (1,) as well"),
    OwnerDecides: ("owner-decides", "with the owner root"),
    BusyIsFree: ("busy-changes-answer", "where slots are BUSY"),
    IgnoresWriteCombine: ("type-of-range", "(write-combine), but its type is WB"),
    SwapsTypes: ("type-of-range", "(uncacheable), but its type is WC"),
    TypeEndsEarly: ("type-of-range", "(uncacheable), but its type is WB"),
    TypeBeginsEarly: ("type-outside-ranges", "is in no range"),
    SmallExtent: ("types-outside-extent", "outside of what `extent` says"),
    NoExtentOfTheLast: ("types-outside-extent", "outside of what `extent` says"),
    ExtentFails: ("raises", "failed with ZeroDivisionError"),
    UndoForgetsOwner: ("undo-leaves", "after undo, slot 0 holds"),
    UndoDoesNothing: ("undo-leaves", "after undo, slot 0 holds"),
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


def make_driver(
    kind: Callable[[], RangeDriver], _cpu: Cpu, _options: Mapping[str, Any]
) -> RangeDriver:
    return kind()


def make_arch(kind: Callable[[], RangeDriver], **fields: Any) -> Arch:
    """The architecture of a driver."""
    known: dict[str, Any] = {
        "name": "planted",
        "summary": "one fault",
        "kernel": KernelLayout(kernel_base=0xF0000000),
        "driver": partial(make_driver, kind),
        "attributes": UC | WC | WB,
        "slots": "4 ranges",
    }

    return Arch(**{**known, **fields})
