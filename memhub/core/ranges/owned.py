"""A range table with owners: what one machine's range operations come to.

One operation, one direction: the driver plans a change, ownership and the commits in flight are
asked, then the table is swapped and the claims follow. Each operation returns an Outcome and
either happens whole or not at all; `revert` takes back the last one, for a caller whose record
of it could not be written.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memhub.abi import (
    MEMRANGE_SET_REMOVE,
    DataModel,
    Errno,
)
from memhub.core.ranges.commits import Commit, Instant, SetRequest, expiry
from memhub.core.ranges.planner import Planner
from memhub.core.ranges.table import RangeTable, mark_busy
from memhub.core.ranges.undo import UndoNotes
from memhub.core.requests import Effect, Outcome, Principal
from memhub.errors import DeviceError, RangeBusy, StaleClaim

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.core.driver import Change, RangeState


class OwnedRanges(Planner):
    """The ranges of one machine, their owners, and the commits in flight.

    Args:
        table: the slots; None where the architecture has no range operations.
        no_ranges: what range operations answer without a table.
        models: the data models that clients of this machine use.
    """

    def __init__(
        self, table: RangeTable | None, no_ranges: Errno, models: tuple[DataModel, ...]
    ) -> None:
        super().__init__(table, no_ranges)
        self._models = models
        self._views: dict[tuple[int, str], tuple[int, int, bytes]] = {}
        self._undo = UndoNotes()
        self._saved: tuple[RangeState, UndoNotes] | None = None

    # Looking

    def get(self, process: Principal, count: int, model: DataModel) -> tuple[int, bytes]:
        """MEMRANGE_GET (`sys/dev/mem/memutil.c`, `mem_range_attr_get`).

        Args:
            process: who asks; slots of others show MDF_BUSY.
            count: `mo_arg[0]`; 0 and below ask for the number of slots.
            model: the layout of the answer.

        Returns:
            the new `mo_arg[0]`, and the packed descriptors.

        Raises:
            NotSupported: EOPNOTSUPP.
            NoRanges: ENXIO.
        """
        table = self.require()
        size = len(table.state.slots)
        if count <= 0:
            return size, b""

        image = self.view(table, process, model)
        if count >= size:
            return size, image

        return count, image[: count * model.desc.size]

    def view(self, table: RangeTable, process: Principal, model: DataModel) -> bytes:
        """The packed table as `process` sees it."""
        ownership = self.ownership
        if not ownership.claims and not self.commits:
            return table.image(model)

        stamp = (table.generation, ownership.epoch)
        key = (process.id, model.name)
        kept = self._views.get(key)
        if kept is not None and kept[:2] == stamp:
            return kept[2]

        slots = self.busy_slots(process)
        image = table.image(model)
        if slots:
            image = mark_busy(image, model, slots)

        self._views[key] = (*stamp, image)

        return image

    def forget_views(self, process: Principal) -> None:
        """Drop what was kept for a process that is gone."""
        for model in self._models:
            self._views.pop((process.id, model.name), None)

    # Doing

    def set(self, request: SetRequest, now: Instant) -> Outcome:
        """MEMRANGE_SET that takes effect at once."""
        return self.attempt(lambda: self._apply(request, self.plan(request), now))

    def begin(self, request: SetRequest, now: Instant) -> Outcome:
        """Start a MEMRANGE_SET that takes time; its slots are BUSY to everybody from now on.

        Returns:
            an Outcome whose reply is the Commit.
        """
        return self.attempt(lambda: self._begin(request, now))

    def _begin(self, request: SetRequest, now: Instant) -> Outcome:
        expiry(request.lease, now)
        change = self.plan(request)
        table = self.require()
        after = table.after(change)
        commit = Commit(
            request=request,
            wrote=change.wrote,
            after={slot: after.slots[slot] for slot in change.wrote},
            bounds=table.reach(change),
            since=now.wall,
            began=now.mono_ns,
        )
        self.commits.append(commit)
        self.ownership.epoch += 1

        return Outcome(reply=commit)

    def finish(self, commit: Commit, now: Instant) -> Outcome:
        """Let a commit take effect, at this instant."""
        outcome = self.attempt(lambda: self._finish(commit, now))
        self.abort(commit)

        return outcome

    def _finish(self, commit: Commit, now: Instant) -> Outcome:
        change = self.plan(commit.request, but=commit)
        if change.wrote != commit.wrote:
            raise RangeBusy(
                "the table changed under the commit, which would now write other slots",
                obstacles=(commit.obstacle(),),
            )

        return self._apply(commit.request, change, now)

    def abort(self, commit: Commit) -> None:
        """End a commit without effect; nothing happens if it has ended."""
        if commit in self.commits:
            self.commits.remove(commit)
            self.ownership.epoch += 1

    def attempt(self, operation: Callable[[], Outcome]) -> Outcome:
        """Do one operation whole, or none of it: a DeviceError becomes the Outcome's error."""
        self.settle()
        try:
            return operation()
        except DeviceError as error:
            self.revert()
            if isinstance(error, StaleClaim):
                self.ownership.told()

            return Outcome(error=error)
        except BaseException:
            self.revert()
            raise

    def _apply(self, request: SetRequest, change: Change, now: Instant) -> Outcome:
        table = self._save()
        before = table.state
        after = table.after(change)
        table.swap(after, change.slots, self._models)
        if self._undo.watched:
            self._undo.note(request.process, change.wrote, before, after)

        outcome = _changed(change, before, after)
        if request.arg == MEMRANGE_SET_REMOVE:
            outcome.released = self.ownership.drop_slots(change.wrote)
        else:
            self._claim_written(request, change, after, now, outcome)

        return outcome

    def _claim_written(
        self, request: SetRequest, change: Change, after: RangeState, now: Instant, outcome: Outcome
    ) -> None:
        slots = after.slots
        spans = {}
        for slot in change.wrote:
            held = self.ownership.holder(slot)
            row = slots[slot]
            if held is not None:
                outcome.fence = held.fence
            elif row.mr_len:  # powerpc takes a length of 0 and leaves the slot free
                spans[slot] = (row.mr_base, row.mr_end)

        if spans:
            expires = expiry(request.lease, now)
            claim = self.ownership.take_slots(request.process, spans, now.wall, expires)
            outcome.claimed = tuple(spans)
            outcome.fence = claim.fence

    def _save(self) -> RangeTable:
        """Keep what `revert` goes back to."""
        table = self.require()
        if self._saved is None:
            self._saved = (table.state, self._undo.copy())

        return table

    def _swap(self, change: Change) -> None:
        table = self._save()
        table.swap(table.after(change), change.slots, self._models)

    def settle(self) -> None:
        """Make the last operation final."""
        self._saved = None
        if self.ownership.journal:
            self.ownership.settle()

    def revert(self) -> None:
        """Take back the last operation, whole."""
        self.ownership.revert()
        if self._saved is not None and self.table is not None:
            state, self._undo = self._saved
            self.table.swap(state, range(len(state.slots)), self._models)
            self._saved = None

    # Undo

    def remember(self, process: Principal) -> None:
        """From now on keep what `process` changes, to undo it."""
        self._undo.watch(process)

    def undo(self, process: Principal) -> list[Effect]:
        """Put back what `process` changed and nobody else has changed since.

        A slot whose return would change a type inside another's claim stays as it is; the
        effect carries the error.
        """
        if self.table is None or not self.table.state.slots:
            return []

        self._save()

        return [self._undo_slot(process, *entry) for entry in self._undo.take(process)]

    def _undo_slot(self, process: Principal, slot: int, then: RangeState) -> Effect:
        table = self.require()
        before, first = table.state, then.slots[slot]
        effect = Effect(
            event="undo", process=process, base=first.mr_base, length=first.mr_len, cause="undo"
        )
        change = table.driver.restore(before, {slot: first}, then.msrs)
        try:
            self.ownership.check_slots(process, (slot,), before.slots)
            self._check_commit_slots((slot,), None)
            self._check_types(table, process, change)
            self._check_commits(table, process, change, None)
        except DeviceError as error:
            kept = (before.slots[slot],)
            return replace(effect, slots=(slot,), before=kept, after=kept, error=error)

        self._swap(change)
        done = _changed(change, before, table.state)
        self.ownership.drop_slots((slot,))

        return replace(
            effect, slots=done.slots, before=done.before, after=done.after, msrs=done.msrs
        )


def _changed(change: Change, before: RangeState, after: RangeState) -> Outcome:
    slots, old = change.wrote, before.msrs
    msrs = {number: (old.get(number, 0), new) for number, new in change.msrs.items()}
    if (
        len(slots) == 1
        and len(change.slots) <= 1
        and (not change.slots or slots[0] in change.slots)
    ):
        slot = slots[0]
        return Outcome(
            slots=slots, before=(before.slots[slot],), after=(after.slots[slot],), msrs=msrs
        )

    slots = tuple(sorted({*change.slots, *slots}))

    return Outcome(
        slots=slots,
        before=tuple([before.slots[slot] for slot in slots]),
        after=tuple([after.slots[slot] for slot in slots]),
        msrs=msrs,
    )
