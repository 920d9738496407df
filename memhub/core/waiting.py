"""Requests that may wait: asked, queued, served in turn, given up. The queue is in `waits.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.core import events
from memhub.core.claim_requests import attempt_claim, attempt_free, check_span, refuse_claim
from memhub.core.decision import Decision
from memhub.core.instant import wait_end
from memhub.core.requests import AwaitFree, ClaimRange, SetRange, as_kept
from memhub.core.set_ranges import attempt_set, end_commit, refuse_set
from memhub.core.waits import (
    Wait,
    blockers_of,
    deadlock_error,
    passing_refusal,
    queue_error,
)
from memhub.errors import (
    BadHandle,
    Cancelled,
    DeviceError,
    LogFailed,
    TimedOut,
    WouldDeadlock,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.core.events import ClaimOp, WaitCause
    from memhub.core.files import Caller
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine
    from memhub.core.requests import Abandon
    from memhub.errors import RangeBusy

Asked = SetRange | ClaimRange | AwaitFree

_ATTEMPTS: Final[Mapping[type, Callable[[Machine, Caller, Any, Instant, int], Decision]]] = {
    SetRange: attempt_set,
    ClaimRange: attempt_claim,
    AwaitFree: attempt_free,
}

_CAUSES: Final[Mapping[type[DeviceError], WaitCause]] = {
    TimedOut: "timeout",
    WouldDeadlock: "deadlock",
    Cancelled: "cancelled",
    BadHandle: "close",
    LogFailed: "log",
}


def decide_asked(machine: Machine, request: Asked, now: Instant) -> Decision:
    """Answer a request that may wait: at once, or when its turn comes."""
    caller = machine.files[request.handle].caller
    if request.wait is None:
        return attempt(machine, caller, request, now, now.mono_ns)

    try:
        base, end = _wanted(request)
        deadline = wait_end(request.wait, now)
    except DeviceError as error:
        return _refuse(machine, caller, request, now, now.mono_ns, error)

    ahead = machine.waits.overlapping(base, end)
    if ahead:
        decision = _refuse(machine, caller, request, now, now.mono_ns, queue_error(ahead))
    else:
        decision = attempt(machine, caller, request, now, now.mono_ns)

    refusal = passing_refusal(decision.error)
    if refusal is None:
        return decision

    number = machine.waits.last + 1
    wait = Wait(number, caller, as_kept(request), base, end, now, deadline)
    circle = _find_circle(machine, wait, refusal, ahead)
    if circle:
        # Those ahead may wait for this very process, which needs nobody but itself.
        alone = attempt(machine, caller, request, now, now.mono_ns) if ahead else decision
        if passing_refusal(alone.error) is None:
            return alone

        deadlock = deadlock_error(base, end, circle)
        return _refuse(machine, caller, request, now, now.mono_ns, deadlock)

    event = events.WaitBegun(wait, now, machine.generation, refusal)

    return Decision(None, None, (event,), pending=wait)


def attempt(
    machine: Machine, caller: Caller, request: Asked, now: Instant, began_ns: int
) -> Decision:
    """Answer a request at once; EBUSY is an answer."""
    return _ATTEMPTS[type(request)](machine, caller, request, now, began_ns)


def _refuse(
    machine: Machine,
    caller: Caller,
    request: Asked,
    now: Instant,
    began_ns: int,
    error: DeviceError,
) -> Decision:
    if isinstance(request, SetRange):
        return refuse_set(machine, caller, request, now, began_ns, error)

    op: ClaimOp = "take" if isinstance(request, ClaimRange) else "wait"

    return refuse_claim(machine, caller, op, request, now, began_ns, error)


def _wanted(request: Asked) -> tuple[int, int]:
    if isinstance(request, SetRange):
        return request.desc.mr_base, request.desc.mr_end

    return check_span(request.base, request.length)


def _find_circle(machine: Machine, wait: Wait, refusal: RangeBusy, ahead: list[Wait]) -> list[int]:
    process = wait.caller.process.id

    return machine.waits.find_circle(process, blockers_of(process, refusal, ahead))


def decide_next(machine: Machine, now: Instant) -> Decision | None:
    """Try the waits in turn until one is done.

    Returns:
        the end of that wait and what it came to; None when all wait on.
    """
    for wait, ahead in machine.waits.in_turn():
        refusal = None
        if not ahead:
            decision = attempt(machine, wait.caller, wait.request, now, wait.since.mono_ns)
            refusal = passing_refusal(decision.error)
            if refusal is None:
                return end_wait(machine, wait, now, decision)

        machine.waits.note_trial(wait, refusal, ahead)

    return _break_circle(machine, now)


def _break_circle(machine: Machine, now: Instant) -> Decision | None:
    # A claim can change hands while others wait, so a circle can close without a new wait.
    waits = machine.waits
    if not waits.has_circle():
        return None

    for wait in reversed(list(waits)):
        process = wait.caller.process.id
        circle = waits.find_circle(process, waits.blockers.get(wait.number, frozenset()))
        if circle:
            # Those before it may wait for its own process, and nothing else hold it up.
            alone = attempt(machine, wait.caller, wait.request, now, wait.since.mono_ns)
            if passing_refusal(alone.error) is not None:
                error = deadlock_error(wait.base, wait.end, circle)
                return fail_wait(machine, wait, now, error)

            return end_wait(machine, wait, now, alone)

    return None


def end_wait(machine: Machine, wait: Wait, now: Instant, decision: Decision) -> Decision:
    """A wait ends with what its request came to.

    Returns:
        the decision, behind the end of the wait; its `pending` is a commit that it began.
    """
    error = decision.error
    cause: WaitCause = "granted" if error is None else _CAUSES.get(type(error), "refused")
    refusal = machine.waits.refusals.get(wait.number)
    first = refusal.obstacles[0] if refusal is not None and refusal.obstacles else None
    holder = (None, None) if first is None else (first.process, first.process_id)
    ended = events.WaitEnded(wait, now, machine.generation, cause, error, holder)

    return decision._replace(events=(ended, *decision.events), changes=True)


def fail_wait(machine: Machine, wait: Wait, now: Instant, error: DeviceError) -> Decision:
    """A wait ends without its request having been granted."""
    began = wait.since.mono_ns
    refused = _refuse(machine, wait.caller, wait.request, now, began, error)

    return end_wait(machine, wait, now, refused)


def decide_timeout(machine: Machine, wait: Wait, now: Instant) -> Decision:
    """A wait reaches its time limit."""
    what = f"{wait.base:#x}-{wait.end - 1:#x}"
    refusal = machine.waits.refusals.get(wait.number)
    why = refusal.reason if refusal is not None else "others were first"
    obstacles = refusal.obstacles if refusal is not None else ()
    error = TimedOut(f"{what} did not become free in time: {why}", obstacles=obstacles)

    return fail_wait(machine, wait, now, error)


def decide_abandon(machine: Machine, request: Abandon, now: Instant) -> Decision:
    """The caller of a wait or a commit is gone; nothing happens if it has ended."""
    wait = machine.waits.waits.get(request.wait) if request.wait is not None else None
    if wait is not None:
        return fail_wait(machine, wait, now, Cancelled("cancelled while it waited"))._replace(
            error=None
        )

    commits = machine.commits.commits
    commit = commits.get(request.commit) if request.commit is not None else None
    if commit is not None:
        error = Cancelled("cancelled before its effect")
        return end_commit(machine, commit, now, error)._replace(error=None)

    return Decision(changes=False)
