"""Wrong drivers, each with one fault in its answers: raised, nonsense, late, remembered.

`WRONG` names each class with the rule that the kit has to tell, and words of the message.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from arch_check.planted import PAGE, WC, Sound, overlaps
from memhub.plugin import Change, RangeDesc, RangeState, errors

if TYPE_CHECKING:
    from memhub.core.drivers.driver import RangeDriver
    from memhub.plugin.types import TypeMap


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


class HangsOnOnePage(Sound):
    """Never ends on the first range that the kit asks for."""

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        while desc.mr_len == PAGE:
            pass
        return super().update(state, desc)


class HangsOnThreePages(Sound):
    """Never ends on a range that the kit asks for to find out what a driver takes."""

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        while desc.mr_len == 3 * PAGE:
            pass
        return super().update(state, desc)


class HangsInAPair(Sound):
    """Never ends where one range is beside another, which is first asked of pairs."""

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        while desc.mr_len == 3 * PAGE and state.slots[0].mr_len:
            pass
        return super().update(state, desc)


class RaisesInAPair(Sound):
    """Fails where one range overlaps another, which is first asked of pairs."""

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        if desc.mr_len == 3 * PAGE and state.slots[0].mr_len == 2 * PAGE:
            raise ZeroDivisionError("planted")
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
        if len(SHARED) > 900 and not any(it.mr_len for it in state.slots):
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


#: The rule of each, and words of the message.
WRONG: dict[type[RangeDriver], tuple[str, str]] = {
    Raises: ("raises", "failed with KeyError"),
    ReturnsNone: ("nonsense", "answered None, which is not a Change"),
    Hangs: ("hangs", "did not answer within"),
    HangsOnOnePage: ("hangs", "update 0x10000000/0x1000"),
    HangsOnThreePages: ("hangs", "/0x3000"),
    HangsInAPair: ("hangs", "/0x3000"),
    RaisesInAPair: ("raises", "ZeroDivisionError"),
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
}
