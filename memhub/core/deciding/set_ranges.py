"""MEMRANGE_SET: what it would change, or why it may not, and what follows from it.

The order of the answers: EOPNOTSUPP and ENXIO for what is not there, the driver's own checks but
that for BUSY slots, a stale fencing number, a claim lost, slots and bytes of others (rules 7 and 4
of `ownership.py`), commits in flight (rule 8).

Source: FreeBSD `sys/dev/mem/memutil.c` (mem_range_attr_set), `sys/x86/x86/x86_mem.c` (x86_mrset).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.abi import MEMRANGE_SET_REMOVE, MEMRANGE_SET_UPDATE
from memhub.core import events
from memhub.core.claims import ClaimChange
from memhub.core.deciding.advice import advise
from memhub.core.deciding.cache_requests import flush_before
from memhub.core.deciding.conflicts import (
    ask_driver_busy,
    check_commit_slots,
    check_commits,
    check_order,
    check_plan_types,
)
from memhub.core.deciding.ownership import check_held, check_slots, claim_for_update, drop_slots
from memhub.core.deciding.sick_plans import (
    asked_row,
    follow_plan,
    meant_slots,
    set_labels,
    suffer_plan,
)
from memhub.core.deciding.waiting import decide_waiting, set_as_kept
from memhub.core.decision import Decision
from memhub.core.holding.commits import Commit
from memhub.core.instant import lease_end
from memhub.core.ranges.views import busy_slots
from memhub.core.replies import SetOutcome
from memhub.errors import DeviceError, NotSupported, RangeBusy, StaleClaim

if TYPE_CHECKING:
    from memhub.core.asking.asked_driver import Plan
    from memhub.core.drivers.driver import Change, RangeState
    from memhub.core.files import Caller, Principal
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine
    from memhub.core.requests import SetRange


def decide_set(machine: Machine, request: SetRange, now: Instant) -> Decision:
    """MEMRANGE_SET: at once, or when its turn comes."""
    caller = machine.files.files[request.handle].caller
    if request.wait is None:
        return attempt_set(machine, caller, request, now, now.mono_ns)

    bounds = (request.desc.mr_base, request.desc.mr_end)
    return decide_waiting(machine, caller, request, bounds, now, attempt_set, refuse_set)


def attempt_set(
    machine: Machine, caller: Caller, request: SetRange, now: Instant, began_ns: int
) -> Decision:
    """MEMRANGE_SET, at once: its effect, the start of its commit, or its refusal.

    Args:
        machine: the machine.
        caller: who asks.
        request: what is asked.
        now: the present moment.
        began_ns: when it was asked for, monotonic nanoseconds.
    """
    try:
        expires = None if request.lease is None else lease_end(request.lease, now)
        if machine.commit_ns:
            return _begin_commit(machine, caller, request, now, began_ns)

        plan = plan_set(machine, caller.process, request)
        event = set_event(machine, caller, request, plan, now, began_ns, expires)
        health = machine.health
        follows = () if health is None else follow_plan(machine, health, plan, event)
    except DeviceError as error:
        return refuse_set(machine, caller, request, now, began_ns, error)
    done = Decision(event.outcome, None, (event, *follows))
    return done if machine.caches is None else flush_before(machine, done, now)


def plan_set(
    machine: Machine, process: Principal, request: SetRange, but: Commit | None = None
) -> Plan:
    """Work out what a MEMRANGE_SET would change; nothing is changed.

    Args:
        machine: the machine.
        process: who asks.
        request: what is asked.
        but: the commit in flight that is this request itself.

    Raises:
        DeviceError: the request is refused, by the driver or an owner, or the driver failed.
    """
    table, claims, commits = machine.table, machine.claims, machine.commits
    if table is None or not table.state.slots:
        table = machine.require_table()
    arg, desc, state = request.arg, request.desc, table.state
    if arg not in (MEMRANGE_SET_UPDATE, MEMRANGE_SET_REMOVE):
        raise NotSupported(f"mo_arg[0] is {arg}; MEMRANGE_SET knows UPDATE (0) and REMOVE (1)")

    alone = not commits.commits and claims.by_process.keys() <= {process.id}
    busy = [] if alone else busy_slots(claims, commits, process, but)
    if busy:
        plan = ask_driver_busy(machine, process, state, request, busy)
    else:
        plan = table.driver.plan_set(state, request)

    if machine.health is not None:
        labels = set_labels(plan, desc, remove=arg == MEMRANGE_SET_REMOVE)
        plan = suffer_plan(machine, machine.health, plan, labels)

    if request.fence is not None or claims.lost:
        check_held(claims, process, request)

    if not alone:
        _check_others(machine, process, request, plan, but)

    return plan


def _check_others(
    machine: Machine, process: Principal, request: SetRange, plan: Plan, but: Commit | None
) -> None:
    """Refuse what would take from another's claim, or alter a commit in flight."""
    table, wrote = machine.require_table(), plan.change.wrote
    check_slots(machine.claims, process, wrote, plan.before.slots)
    others = machine.commits.others(but)
    check_commit_slots(others, wrote)
    check_plan_types(machine, process, plan)
    if others:
        check_commits(table.driver, process, plan, others, moving=but is None)
        if but is None:
            check_order(table.driver, plan.before, request, others)


def _begin_commit(
    machine: Machine, caller: Caller, request: SetRange, now: Instant, began_ns: int
) -> Decision:
    commit = make_commit(machine, caller, request, now, began_ns)
    event = events.CommitBegun(commit, now, machine.generation)

    return Decision(None, None, (event,), pending=commit)


def make_commit(
    machine: Machine, caller: Caller, request: SetRange, now: Instant, began_ns: int
) -> Commit:
    """The commit that a MEMRANGE_SET would begin.

    Raises:
        DeviceError: the request is refused.
    """
    plan = plan_set(machine, caller.process, request)
    wrote, meant = plan.change.wrote, meant_slots(plan)

    return Commit(
        number=machine.commits.last + 1,
        caller=caller,
        request=set_as_kept(request),
        wrote=wrote,
        after={slot: meant[slot] for slot in wrote},
        bounds=plan.reach(machine.require_table().driver),
        since=now,
        asked_ns=began_ns,
        due_ns=now.mono_ns + machine.commit_ns,
    )


def decide_commit(machine: Machine, commit: Commit, now: Instant) -> Decision:
    """A commit takes effect, or is refused after all."""
    caller, request = commit.caller, commit.request
    try:
        plan = plan_set(machine, caller.process, request, but=commit)
        if plan.change.wrote != commit.wrote:
            raise RangeBusy(
                "the table changed under the commit, which would now write other slots",
                obstacles=(commit.obstacle(),),
            )

        expires = lease_end(request.lease, now)
        asked = commit.asked_ns
        event = set_event(machine, caller, request, plan, now, asked, expires, commit)
        health = machine.health
        follows = () if health is None else follow_plan(machine, health, plan, event)
    except DeviceError as error:
        return refuse_set(machine, caller, request, now, commit.asked_ns, error, commit)

    done = Decision(event.outcome, None, (event, *follows))
    return done if machine.caches is None else flush_before(machine, done, now)


def end_commit(machine: Machine, commit: Commit, now: Instant, error: DeviceError) -> Decision:
    """A commit ends without effect."""
    return refuse_set(machine, commit.caller, commit.request, now, commit.asked_ns, error, commit)


def refuse_set(
    machine: Machine,
    caller: Caller,
    request: SetRange,
    now: Instant,
    began_ns: int,
    error: DeviceError,
    commit: Commit | None = None,
) -> Decision:
    """The refusal of a MEMRANGE_SET; it ends `commit`, if that is given."""
    told, error = None, advise(machine, caller.process, request, error)
    if isinstance(error, StaleClaim) and error.lost_fence is not None:
        told = machine.claims.lost[caller.process.id][error.lost_fence]

    event = events.SetRefused(
        caller, now, began_ns, request.arg, request.desc, machine.generation, error, told, commit
    )

    return Decision(None, error, (event,), changes=told is not None or commit is not None)


def set_event(
    machine: Machine,
    caller: Caller,
    request: SetRange,
    plan: Plan,
    now: Instant,
    began_ns: int,
    expires_ns: int | None,
    commit: Commit | None = None,
) -> events.RangesSet:
    """The fact of a MEMRANGE_SET, with all that follows from it.

    Args:
        machine: the machine, before the effect.
        caller: who asks.
        request: what is asked.
        plan: what it changes.
        now: the moment of the effect.
        began_ns: when it was asked for, monotonic nanoseconds.
        expires_ns: when the lease of a new claim ends, monotonic nanoseconds, or None.
        commit: the commit that it ends, or None.
    """
    change, before, after = plan
    table = machine.table
    generation = 1 if table is None else table.generation + 1
    claimed: tuple[int, ...] = ()
    released: tuple[int, ...] = ()
    fence = None
    if request.arg == MEMRANGE_SET_REMOVE:
        released, claims = drop_slots(machine.claims, change.wrote)
    else:
        claimed, claims, fence = _claim_written(machine, caller, request, plan, now, expires_ns)

    notes = None
    if machine.notes.before:
        noted = machine.notes.note_change(caller.process.id, change.wrote, before, after)
        notes = (machine.notes, noted)

    outcome = outcome_of(change, before, after, claimed, released, fence)

    return events.RangesSet(
        caller,
        now,
        began_ns,
        request.arg,
        request.desc,
        outcome,
        change.wrote,
        (before, after),
        generation,
        claims,
        notes,
        commit,
    )


def _claim_written(
    machine: Machine,
    caller: Caller,
    request: SetRange,
    plan: Plan,
    now: Instant,
    expires_ns: int | None,
) -> tuple[tuple[int, ...], tuple[ClaimChange, ...], int | None]:
    """What an UPDATE claims: the slots, what becomes of the claims, the fencing number."""
    slots, fence = plan.after.slots, None
    spans = {}
    for slot in plan.change.wrote:
        held = machine.claims.by_slot.get(slot)
        row = slots[slot] if machine.health is None else asked_row(slots[slot], request.desc)
        if held is not None:
            fence = held.fence
        elif row.mr_len:  # powerpc takes a length of 0 and leaves the slot free
            spans[slot] = (row.mr_base, row.mr_base + row.mr_len)

    if not spans:
        return (), (), fence

    claim = claim_for_update(machine.claims, caller.process, spans, now, expires_ns)

    return tuple(spans), (ClaimChange(None, claim),), claim.fence


def outcome_of(
    change: Change,
    before: RangeState,
    after: RangeState,
    claimed: tuple[int, ...] = (),
    released: tuple[int, ...] = (),
    fence: int | None = None,
) -> SetOutcome:
    """What a change makes of a table, slot by slot.

    Args:
        change: the change.
        before: the state before.
        after: the state after.
        claimed: slots that are newly claimed.
        released: slots whose claim ends.
        fence: the fencing number concerned, or None.
    """
    wrote, old = change.wrote, before.msrs
    msrs = {}
    for number, new in change.msrs.items():
        msrs[number] = (old.get(number, 0), new)

    if len(wrote) == 1 and change.slots.keys() <= {wrote[0]}:
        slot = wrote[0]
        was, now = (before.slots[slot],), (after.slots[slot],)

        return SetOutcome(wrote, was, now, msrs, claimed, released, fence)

    slots = tuple(sorted({*change.slots, *wrote}))

    return SetOutcome(
        slots,
        tuple([before.slots[slot] for slot in slots]),
        tuple([after.slots[slot] for slot in slots]),
        msrs,
        claimed,
        released,
        fence,
    )
