"""MEMRANGE_SET and MEMRANGE_GET: what they come to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.abi import MEMRANGE_SET_REMOVE
from memhub.core import events
from memhub.core.claims import ClaimChange
from memhub.core.commits import Commit
from memhub.core.decision import Decision
from memhub.core.instant import SECOND, lease_end
from memhub.core.ownership import claim_for_update, drop_slots
from memhub.core.plan import plan_set
from memhub.core.replies import SetOutcome
from memhub.core.requests import set_as_kept
from memhub.errors import BadAddress, DeviceError, RangeBusy, StaleClaim

if TYPE_CHECKING:
    from memhub.core.driver import Change, RangeState
    from memhub.core.files import Caller
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine
    from memhub.core.plan import Plan
    from memhub.core.requests import GetRanges, RefuseIoctl, SetRange


def decide_get(machine: Machine, request: GetRanges, now: Instant) -> Decision:
    """MEMRANGE_GET (`sys/dev/mem/memutil.c`, `mem_range_attr_get`)."""
    file = machine.files.files[request.handle]
    count, reply = request.count, (0, b"")
    error: DeviceError | None = None
    try:
        table = machine.require_table()
        size = len(table.state.slots)
        if count <= 0:
            reply = (size, b"")
        else:
            image = machine.view(table, file.caller.process, file.model)
            if count < size:
                size, image = count, image[: count * file.model.desc.size]

            reply = (size, image)
            if request.room is not None and len(image) > request.room:
                raise BadAddress(
                    f"{size} descriptors take {len(image)} bytes, "
                    f"and only {request.room} are behind mo_desc"
                )
    except DeviceError as refusal:
        error = refusal

    event = events.RangesRead(file.caller, now, count, machine.generation, error)

    return Decision(reply, error, (event,), changes=False)


def decide_refuse_ioctl(machine: Machine, request: RefuseIoctl, now: Instant) -> Decision:
    """An ioctl that was refused before it was one."""
    caller, error = machine.files.files[request.handle].caller, request.error
    if request.needs_driver:
        try:
            machine.require_table()
        except DeviceError as earlier:
            error = earlier

    event = events.IoctlRefused(caller, now, request.number, error)

    return Decision(None, error, (event,), changes=False)


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
    latency = machine.commit_latency
    try:
        if latency > 0:
            lease_end(request.lease, now)
            return _begin_commit(machine, caller, request, now, began_ns)

        plan = plan_set(machine, caller.process, request)
        expires = lease_end(request.lease, now)
        event = set_event(machine, caller, request, plan, now, began_ns, expires)
    except DeviceError as error:
        return refuse_set(machine, caller, request, now, began_ns, error)

    return Decision(event.outcome, None, (event,))


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
    wrote = plan.change.wrote

    return Commit(
        number=machine.commits.last + 1,
        caller=caller,
        request=set_as_kept(request),
        wrote=wrote,
        after={slot: plan.after.slots[slot] for slot in wrote},
        bounds=plan.reach(machine.require_table().driver),
        since=now,
        asked_ns=began_ns,
        due_ns=now.mono_ns + round(machine.commit_latency * SECOND),
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
    except DeviceError as error:
        return refuse_set(machine, caller, request, now, commit.asked_ns, error, commit)

    return Decision(event.outcome, None, (event,))


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
    told = None
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
    claimed: tuple[int, ...] = ()
    released: tuple[int, ...] = ()
    fence = None
    if request.arg == MEMRANGE_SET_REMOVE:
        released, claims = drop_slots(machine.claims, change.wrote)
    else:
        claimed, claims, fence = _claim_written(machine, caller, change, after, now, expires_ns)

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
        machine.generation + 1,
        claims,
        notes,
        commit,
    )


def _claim_written(
    machine: Machine,
    caller: Caller,
    change: Change,
    after: RangeState,
    now: Instant,
    expires_ns: int | None,
) -> tuple[tuple[int, ...], tuple[ClaimChange, ...], int | None]:
    """What an UPDATE claims: the slots, what becomes of the claims, the fencing number."""
    slots, fence = after.slots, None
    spans = {}
    for slot in change.wrote:
        held = machine.claims.holder(slot)
        row = slots[slot]
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
    msrs = {number: (old.get(number, 0), new) for number, new in change.msrs.items()}
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
