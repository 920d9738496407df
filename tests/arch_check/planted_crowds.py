"""Wrong drivers whose fault shows beside other ranges, or where a slot is BUSY.

`WRONG` names each class with the rule that the kit has to tell, and words of the message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arch_check.planted import Sound
from memhub.plugin import Change, RangeDesc, RangeState, abi, errors, range_refusals

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memhub.core.drivers.driver import RangeDriver

Rows = list[tuple[int, RangeDesc]]


class Walks(Sound):
    """The sound driver in parts: which slots are searched for the range, and for conflicts."""

    def rows_for_same(self, rows: Rows) -> Iterable[tuple[int, RangeDesc]]:
        return rows

    def rows_for_conflicts(self, rows: Rows) -> Iterable[tuple[int, RangeDesc]]:
        return rows

    def check_busy(self, rows: Rows, slot: int) -> None:
        if rows[slot][1].mr_flags & abi.MDF_BUSY:
            self.refuse_busy(rows, slot)

    def refuse_busy(self, rows: Rows, slot: int) -> None:
        raise errors.RangeBusy(
            "it is busy", obstacles=(range_refusals.obstacle("claim", *rows[slot]),)
        )

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        new, rows = self.stored(desc), list(enumerate(state.slots))
        for slot, row in self.rows_for_same(rows):
            if row.mr_len and (row.mr_base, row.mr_len) == (desc.mr_base, desc.mr_len):
                self.check_busy(rows, slot)
                return Change((slot,), {slot: new})
        for slot, row in self.rows_for_conflicts(rows):
            if row.mr_len and self.clash(row, desc):
                raise errors.InvalidRange(f"overlaps slot {slot}")
        free = [slot for slot, row in rows if not row.mr_len]
        if not free:
            raise range_refusals.full(desc, rows)
        return Change((free[0],), {free[0]: new})


class ConflictsOfTheFirst(Walks):
    def rows_for_conflicts(self, rows: Rows) -> Rows:
        return rows[:1]


class ConflictsButTheLast(Walks):
    def rows_for_conflicts(self, rows: Rows) -> Rows:
        return rows[:-1]


class ConflictsUpToAHole(Walks):
    def rows_for_conflicts(self, rows: Rows) -> Iterable[tuple[int, RangeDesc]]:
        for slot, row in rows:
            if not row.mr_len:
                return
            yield slot, row


class ThreeAttributesAgree(Walks):
    """No conflict where the table has each attribute."""

    def rows_for_conflicts(self, rows: Rows) -> Rows:
        held = {row.mr_flags & abi.MDF_ATTRMASK for _, row in rows if row.mr_len}
        return [] if len(held) == 3 else rows


class SameInTheFirst(Walks):
    def rows_for_same(self, rows: Rows) -> Rows:
        return rows[:1]


class SameUpToAHole(ConflictsUpToAHole):
    rows_for_same = ConflictsUpToAHole.rows_for_conflicts

    def rows_for_conflicts(self, rows: Rows) -> Rows:
        return [it for it in rows if it[0]]


class SameButTheLast(Walks):
    def rows_for_same(self, rows: Rows) -> Rows:
        return rows[:-1]


class AnyBusyRefuses(Walks):
    def check_busy(self, rows: Rows, slot: int) -> None:
        for it, _ in rows:
            super().check_busy(rows, it)


class AnyBusyKeepsAll(Walks):
    def remove(self, state: RangeState, desc: RangeDesc) -> Change:
        rows = list(enumerate(state.slots))
        for slot, _ in rows:
            self.check_busy(rows, slot)
        return super().remove(state, desc)


class BusyNamesTheFirst(Walks):
    def refuse_busy(self, rows: Rows, slot: int) -> None:
        super().refuse_busy(rows, 0)


class BusySaysNothing(Walks):
    def refuse_busy(self, rows: Rows, slot: int) -> None:
        raise errors.RangeBusy("", obstacles=(errors.Obstacle(kind="claim", slot=slot),))


class BusyNamesNothing(Walks):
    def refuse_busy(self, rows: Rows, slot: int) -> None:
        raise errors.RangeBusy("it is busy")


class BusyWritesItsInput(Walks):
    def refuse_busy(self, rows: Rows, slot: int) -> None:
        object.__setattr__(rows[slot][1], "mr_owner", b"taken\0\0\0")
        super().refuse_busy(rows, slot)


class BusyIsUncacheable(Walks):
    def type_of(self, desc: RangeDesc) -> str | None:
        return "UC" if desc.mr_flags & abi.MDF_BUSY else super().type_of(desc)


#: The rule of each, and words of the message.
WRONG: dict[type[RangeDriver], tuple[str, str]] = {
    ConflictsOfTheFirst: ("other-ranges-decide", "without the ranges that touch neither"),
    ConflictsButTheLast: ("other-ranges-decide", "without the ranges that touch neither"),
    ConflictsUpToAHole: ("other-ranges-decide", "without the ranges that touch neither"),
    ThreeAttributesAgree: ("other-ranges-decide", "without the ranges that touch neither"),
    SameInTheFirst: ("duplicate-range", "it takes (1,), and then (2,) as well"),
    SameUpToAHole: ("duplicate-range", "it takes (1,), and then (0,) as well"),
    SameButTheLast: ("full-too-early", "but the slot that holds it can be taken"),
    AnyBusyRefuses: ("busy-changes-answer", "is BUSY (refused: EBUSY"),
    AnyBusyKeepsAll: ("busy-changes-answer", "is BUSY (refused: EBUSY"),
    BusyNamesTheFirst: ("obstacle-wrong", "names slot 0, which the request does not touch"),
    BusySaysNothing: ("refusal-without-reason", "EBUSY says nothing more"),
    BusyNamesNothing: ("refusal-without-obstacles", "it is busy: no slot is named"),
    BusyWritesItsInput: ("changes-its-input", "changed a descriptor of the state"),
    BusyIsUncacheable: ("busy-changes-answer", "where its slot is BUSY UC"),
}
