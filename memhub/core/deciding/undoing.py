"""What is put back when a process leaves that asked for undo on close: slot by slot."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from memhub.abi import MDF_BUSY
from memhub.core import events
from memhub.core.claims import ClaimChange
from memhub.core.deciding.conflicts import check_commit_slots, check_commits, check_plan_types
from memhub.core.deciding.failing import failed_error
from memhub.core.deciding.ownership import check_slots
from memhub.core.deciding.set_ranges import outcome_of
from memhub.core.deciding.sick_plans import Was, follow_plan, suffer_plan
from memhub.core.replies import SetOutcome
from memhub.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.core.asking.asked_driver import Plan
    from memhub.core.claims import Claim
    from memhub.core.drivers.driver import RangeState
    from memhub.core.files import OpenFile
    from memhub.core.health.hardware_events import HardwareChanged
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine


def undo_slots(
    machine: Machine, file: OpenFile, claims: dict[int, Claim], now: Instant
) -> list[events.SlotUndone | HardwareChanged]:
    """Put back what the file's process changed and nobody else has changed since.

    A slot whose return would change a type inside another's claim stays as it is; its fact
    carries the error. What is in the way of a slot may itself go back, so a slot whose range is
    not whole yet waits for the others; where all do, one makes way for the rest. `claims`, the
    process's own, lose what is put back.
    """
    table = machine.table
    if table is None or not table.state.slots:
        return []

    undoing = _Undoing(Was(machine.health, table.state, table.generation), claims)
    left = machine.notes.of(file.caller.process.id)
    made_way: set[int] = set()
    while left:
        again = [it for it in left if not undoing.put_back(machine, file, it, now)]
        if len(again) == len(left):
            way = next((it for it in again if it[0] not in made_way), None)
            if way is None:
                break

            made_way.add(way[0])
            if not undoing.put_back(machine, file, way, now, whole=False):
                again.remove(way)

        left = again

    return undoing.facts


@dataclass(slots=True)
class _Undoing:
    """Slots that go back one after the other, as one process leaves.

    Attributes:
        was: what the next one begins with.
        claims: the process's own, less what went back.
        facts: what becomes true.
    """

    was: Was
    claims: dict[int, Claim]
    facts: list[events.SlotUndone | HardwareChanged] = field(default_factory=list)

    def put_back(
        self,
        machine: Machine,
        file: OpenFile,
        note: tuple[int, RangeState],
        now: Instant,
        *,
        whole: bool = True,
    ) -> bool:
        """Put a slot back; whether it was.

        Args:
            machine: the machine.
            file: the file that is closed.
            note: the slot, and the state before.
            now: the present moment.
            whole: do nothing where it cannot be all that it was. Without it, a driver may leave
                out what others' ranges do not allow, and a refusal becomes a fact.
        """
        fact, plan = _undo_slot(machine, file, note, self.was, self.claims, now)
        if plan is None or (whole and not _is_whole(note, plan)):
            if not whole:
                self.facts.append(fact)

            return False

        self.facts.append(fact)
        self.was = Was(self.was.health, fact.states[1], fact.generation)
        if self.was.health is not None:
            follows = follow_plan(machine, self.was.health, plan, fact)
            self.facts += follows
            self.was = Was.left_by(follows[0]) if follows else self.was

        for before, after in fact.claims:
            assert before is not None
            self.claims.pop(before.fence)
            if after is not None:
                self.claims[after.fence] = after

        return True


def _is_whole(note: tuple[int, RangeState], plan: Plan) -> bool:
    """Whether a slot that held a range holds it again; what a free one reads as is the driver's."""
    slot, then = note
    due, found = then.slots[slot], plan.after.slots[slot]

    return not due.mr_len or (
        (due.mr_base, due.mr_len, due.mr_owner) == (found.mr_base, found.mr_len, found.mr_owner)
        and (due.mr_flags ^ found.mr_flags) & ~MDF_BUSY == 0
    )


def _undo_slot(
    machine: Machine,
    file: OpenFile,
    note: tuple[int, RangeState],
    was: Was,
    claims: Mapping[int, Claim],
    now: Instant,
) -> tuple[events.SlotUndone, Plan | None]:
    (slot, then), (health, state, generation) = note, was
    caller, driver = file.caller, machine.require_table().driver
    commits = machine.commits.others(None, leaving=caller.handle)
    try:
        if machine.failed is not None:
            raise failed_error(machine)

        plan = driver.restore(state, {slot: then.slots[slot]}, then.msrs)
        if health is not None:
            plan = suffer_plan(machine, health, plan, {slot: then.slots[slot].mr_owner})

        check_slots(machine.claims, caller.process, (slot,), state.slots)
        check_commit_slots(commits, (slot,))
        check_plan_types(machine, caller.process, plan)
        check_commits(driver, caller.process, plan, commits)
    except DeviceError as error:
        row = (state.slots[slot],)
        kept = SetOutcome((slot,), row, row, {})
        return (
            events.SlotUndone(caller, now, slot, kept, (state, state), generation, (), error),
            None,
        )

    losing = [claim for claim in claims.values() if slot in claim.slots]
    changes = tuple(ClaimChange(claim, claim.without_slots((slot,))) for claim in losing)
    outcome = outcome_of(plan.change, state, plan.after)

    states, after = (state, plan.after), generation + 1

    return events.SlotUndone(caller, now, slot, outcome, states, after, changes, None), plan
