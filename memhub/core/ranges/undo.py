"""What to put back when a handle opened "undo on close" is closed.

`sys/sys/memrange.h` has wished for it since 1999: a flag that means "set this and undo it when I
exit". A note keeps what a slot held before the process first changed it; anybody else's change
of that slot makes the note void.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memhub.core.driver import RangeState
    from memhub.core.requests import Principal


class UndoNotes:
    """Per watched process: slot to the state before it was first changed."""

    def __init__(self) -> None:
        self._before: dict[int, dict[int, RangeState]] = {}

    @property
    def watched(self) -> bool:
        """Whether anybody's changes are noted."""
        return bool(self._before)

    def watch(self, process: Principal) -> None:
        """From now on note what `process` changes."""
        self._before.setdefault(process.id, {})

    def note(
        self,
        process: Principal,
        wrote: Iterable[int],
        before: RangeState,
        after: RangeState,
    ) -> None:
        """Take note of a change by `process`: the slots it wrote, and the states around it."""
        for owner, kept in self._before.items():
            for slot in wrote:
                if owner != process.id:
                    kept.pop(slot, None)
                elif before.slots[slot] != after.slots[slot]:
                    kept.setdefault(slot, before)

    def take(self, process: Principal) -> list[tuple[int, RangeState]]:
        """Forget a process, and say what it changed: `(slot, state before)`."""
        return list(self._before.pop(process.id, {}).items())

    def copy(self) -> UndoNotes:
        """The same notes, apart from these; these themselves if nobody is watched."""
        if not self._before:
            return self

        twin = UndoNotes()
        twin._before = {owner: dict(kept) for owner, kept in self._before.items()}

        return twin
