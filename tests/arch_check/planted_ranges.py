"""Wrong drivers, each with one fault in its ranges: what is stored, removed and refused.

`WRONG` names each class with the rule that the kit has to tell, and words of the message.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from arch_check.planted import PAGE, UC, WC, Sound
from memhub.plugin import Change, Errno, RangeDesc, RangeState, abi, errors
from memhub.plugin.software import EMPTY

if TYPE_CHECKING:
    from memhub.core.drivers.driver import RangeDriver


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


#: The rule of each, and words of the message.
WRONG: dict[type[RangeDriver], tuple[str, str]] = {
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
    BusyIsFree: ("busy-changes-answer", "where slot 0 is BUSY"),
}
