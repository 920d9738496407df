"""Wrong drivers that remember what they were asked, in themselves or where all machines see it.

`WRONG` names each class with the rule that the kit has to tell, and words of the message.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from arch_check.planted import PAGE, Sound
from memhub.plugin import Change, RangeDesc, RangeState, errors

if TYPE_CHECKING:
    from memhub.core.drivers.driver import RangeDriver

Key = tuple[int, int]

PLACES: dict[Key, int] = {}
ASKED: set[Key] = set()
REMOVED: set[Key] = set()
COUNT = [0]


def forget() -> None:
    """Begin as a new process does."""
    PLACES.clear()
    ASKED.clear()
    REMOVED.clear()
    COUNT[0] = 0
    remembered.cache_clear()


class KeepsPlaces(Sound):
    """Gives a range the slot that it had before, if that is free."""

    def places(self) -> dict[Key, int]:
        found: dict[Key, int] = vars(self).setdefault("_places", {})
        return found

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        change, key = super().update(state, desc), (desc.mr_base, desc.mr_len)
        slot = self.places().setdefault(key, change.wrote[0])
        if state.slots[slot].mr_len:
            return change
        if state.slots[change.wrote[0]].mr_len:
            return change
        return Change((slot,), {slot: change.slots[change.wrote[0]]})


class KeepsPlacesForAll(KeepsPlaces):
    """The same, for all machines of a process."""

    def places(self) -> dict[Key, int]:
        return PLACES


class RefusesWhatWasRemoved(Sound):
    """Once any machine has removed a range, no machine gets it with write-combining."""

    def remove(self, state: RangeState, desc: RangeDesc) -> Change:
        change = super().remove(state, desc)
        REMOVED.add((desc.mr_base, desc.mr_len))
        return change

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        if (desc.mr_base, desc.mr_len) in REMOVED and desc.mr_flags & 2:
            raise errors.InvalidRange("it was removed before")
        return super().update(state, desc)


class RefusesNeighbours(Sound):
    """A range that was asked for keeps the one behind it from every machine."""

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        known = (desc.mr_base - desc.mr_len, desc.mr_len) in ASKED
        ASKED.add((desc.mr_base, desc.mr_len))
        if known:
            raise errors.InvalidRange("its neighbour was asked for")
        return super().update(state, desc)


class CountsQuestions(Sound):
    """Long ranges are refused from the 40th question of a process on."""

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        COUNT[0] += 1
        if COUNT[0] > 40 and desc.mr_len == 3 * PAGE:
            raise errors.InvalidRange("too long")
        return super().update(state, desc)


@cache
def remembered(base: int, length: int, flags: int) -> list[RangeDesc]:
    return []


class Memoises(Sound):
    """Answers an UPDATE as it answered the first one of the range, with its owner then."""

    def stored(self, desc: RangeDesc) -> RangeDesc:
        first = remembered(desc.mr_base, desc.mr_len, desc.mr_flags)
        if not first:
            first.append(super().stored(desc))
        return replace(first[0])


WRONG: dict[type[RangeDriver], tuple[str, str]] = {
    KeepsPlaces: ("remembers", "a driver that was asked nothing before answers"),
    KeepsPlacesForAll: ("remembers", "after other machines were used"),
    RefusesWhatWasRemoved: ("remembers", "on another machine"),
    RefusesNeighbours: ("remembers", "asked nothing before"),
    CountsQuestions: ("remembers", "asked nothing before answers (granted"),
    Memoises: ("stores-other-owner", "has the owner"),
}
