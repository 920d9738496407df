"""What to put back when a handle opened "undo on close" is closed.

`sys/sys/memrange.h` has wished for it since 1999: a flag that means "set this and undo it when I
exit". A note keeps the state before the process first changed a slot; anybody else's change of
that slot makes the note void.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from memhub.core.drivers.driver import RangeState


@dataclass(frozen=True, slots=True)
class UndoNotes:
    """What to put back, as a value: a change makes new notes.

    Attributes:
        before: process id to slot to the state before that process first changed the slot.
            Every process with a handle opened for undo has an entry.
    """

    before: Mapping[int, Mapping[int, RangeState]] = field(default_factory=dict)

    def watch(self, process: int) -> UndoNotes:
        """Notes that also keep what `process` changes."""
        return self if process in self.before else UndoNotes({**self.before, process: {}})

    def forget(self, process: int) -> UndoNotes:
        """Notes without those of `process`."""
        return UndoNotes({who: kept for who, kept in self.before.items() if who != process})

    def note_change(
        self, process: int, wrote: Iterable[int], before: RangeState, after: RangeState
    ) -> UndoNotes:
        """Notes after `process` wrote some slots.

        Args:
            process: its id.
            wrote: the slots.
            before: the state before.
            after: the state after.
        """
        if not self.before:
            return self

        written = tuple(wrote)
        changed = {}
        for owner, kept in self.before.items():
            if owner != process:
                changed[owner] = {slot: it for slot, it in kept.items() if slot not in written}
                continue

            new = {s: before for s in written if before.slots[s] != after.slots[s]}
            first = {slot: state for slot, state in new.items() if slot not in kept}
            changed[owner] = {**kept, **first}  # an earlier note wins

        return UndoNotes(changed)

    def of(self, process: int) -> list[tuple[int, RangeState]]:
        """What `process` changed, the last first: `(slot, state before)`.

        What was set over a range that had been removed is gone before that range returns.
        """
        return list(self.before.get(process, {}).items())[::-1]
