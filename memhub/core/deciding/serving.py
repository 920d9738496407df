"""Serving those who wait, ending their waits, and what time brings about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.core import events
from memhub.core.deciding.claim_requests import (
    attempt_claim,
    attempt_free,
    decide_expiry,
    refuse_claim,
    refuse_free,
)
from memhub.core.deciding.set_ranges import attempt_set, decide_commit, end_commit, refuse_set
from memhub.core.decision import Decision
from memhub.core.health.failure import is_suspended
from memhub.core.holding.waits import deadlock_error, passing_refusal
from memhub.core.requests import AwaitFree, ClaimRange, SetRange
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

    from memhub.core.events import WaitCause
    from memhub.core.files import Caller
    from memhub.core.holding.waits import Wait
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine
    from memhub.core.requests import Abandon, Tick

_ATTEMPTS: Final[Mapping[type, Callable[[Machine, Caller, Any, Instant, int], Decision]]] = {
    SetRange: attempt_set,
    ClaimRange: attempt_claim,
    AwaitFree: attempt_free,
}
_REFUSALS: Final[
    Mapping[type, Callable[[Machine, Caller, Any, Instant, int, DeviceError], Decision]]
] = {SetRange: refuse_set, ClaimRange: refuse_claim, AwaitFree: refuse_free}

_CAUSES: Final[Mapping[type[DeviceError], WaitCause]] = {
    TimedOut: "timeout",
    WouldDeadlock: "deadlock",
    Cancelled: "cancelled",
    BadHandle: "close",
    LogFailed: "log",
}


def decide_next(machine: Machine, now: Instant) -> Decision | None:
    """Try the waits in turn until one is done.

    Returns:
        the end of that wait and what it came to; None when all wait on, and while the machine is
        suspended.
    """
    if is_suspended(machine):
        return None

    for wait in machine.waits.in_turn():
        decision = _attempt_wait(machine, wait, now)
        refusal = passing_refusal(decision.error)
        if refusal is None:
            return end_wait(machine, wait, now, decision)

        machine.waits.note_trial(wait, refusal)

    return _break_circle(machine, now)


def _attempt_wait(machine: Machine, wait: Wait, now: Instant) -> Decision:
    began = wait.since.mono_ns

    return _ATTEMPTS[type(wait.request)](machine, wait.caller, wait.request, now, began)


def _break_circle(machine: Machine, now: Instant) -> Decision | None:
    # A claim can change hands while others wait, so a circle can close without a new wait.
    waits = machine.waits
    if not waits.graph.has_circle():
        return None

    on_circle: dict[int, bool] = {}
    for wait in reversed(list(waits)):
        process = wait.caller.process.id
        if process not in on_circle:
            on_circle[process] = waits.graph.on_circle(process)

        circle = on_circle[process] and waits.graph.find_circle(process, waits.blockers(wait))
        if circle:
            # Those before it may wait for its own process, and nothing else hold it up.
            alone = _attempt_wait(machine, wait, now)
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
    refuse = _REFUSALS[type(wait.request)]
    refused = refuse(machine, wait.caller, wait.request, now, wait.since.mono_ns, error)

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


def decide_tick(machine: Machine, _request: Tick, now: Instant) -> Decision:
    """The next thing that is due.

    Leases end first, then commits take effect, oldest first, then waits give up; whoever can go
    on after one of these is served before the next.

    Returns:
        one decision; one without facts when nothing is due.
    """
    if machine.claims.expired(now.mono_ns):
        return decide_expiry(machine, now)

    for commit in machine.commits:
        if commit.due_ns <= now.mono_ns:
            return decide_commit(machine, commit, now)

    ended = [decide_timeout(machine, wait, now) for wait in machine.waits.overdue(now.mono_ns)]
    facts = tuple(event for decision in ended for event in decision.events)

    return Decision(None, None, facts, changes=bool(facts))


def decide_unlogged(
    machine: Machine, decision: Decision, now: Instant, error: LogFailed
) -> Decision | None:
    """What becomes of waits and commits whose end the log cannot have: they end with EIO.

    Args:
        machine: the machine.
        decision: how they would have ended; it has been taken back.
        now: the present moment.
        error: what the log said.

    Returns:
        their end; None if the decision ends none.
    """
    instead: list[events.Event] = []
    for event in decision.events:
        if isinstance(event, events.WaitEnded):
            instead += fail_wait(machine, event.wait, now, error).events
        elif isinstance(event, (events.RangesSet, events.SetRefused)) and event.commit is not None:
            instead += end_commit(machine, event.commit, now, error).events

    return Decision(None, error, tuple(instead)) if instead else None
