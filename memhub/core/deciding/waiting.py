"""A request that may wait: answered at once, queued, or refused because its wait would never end.

What the request is does not matter here: whoever asks gives the functions that try and refuse
it. The queue is in `waits.py`; `serving.py` serves it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from memhub.core import events
from memhub.core.decision import Decision
from memhub.core.holding.waits import Wait, deadlock_error, passing_refusal
from memhub.core.instant import SECOND, wait_end
from memhub.core.requests import AwaitFree, ClaimRange, SetRange
from memhub.errors import DeviceError, StaleClaim

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.core.files import Caller
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine

Asked = TypeVar("Asked", SetRange, ClaimRange, AwaitFree)


def decide_waiting(
    machine: Machine,
    caller: Caller,
    request: Asked,
    bounds: tuple[int, int],
    now: Instant,
    attempt: Callable[[Machine, Caller, Asked, Instant, int], Decision],
    refuse: Callable[[Machine, Caller, Asked, Instant, int, DeviceError], Decision],
) -> Decision:
    """Answer a request that waits while it is BUSY.

    Args:
        machine: the machine.
        caller: who asks.
        request: what is asked, with its `wait`.
        bounds: first byte of what is wanted, and one past the last.
        now: the present moment.
        attempt: answers it at once.
        refuse: makes the refusal of it.
    """
    assert request.wait is not None
    base, end = bounds
    try:
        deadline = wait_end(request.wait, now)
    except DeviceError as error:
        return refuse(machine, caller, request, now, now.mono_ns, error)

    ahead = machine.waits.queue_error(base, end)
    if ahead is not None:
        decision = refuse(machine, caller, request, now, now.mono_ns, ahead)
        if _may_be_stale(machine, caller, request):
            alone = attempt(machine, caller, request, now, now.mono_ns)
            decision = alone if isinstance(alone.error, StaleClaim) else decision
    else:
        decision = attempt(machine, caller, request, now, now.mono_ns)

    refusal = passing_refusal(decision.error)
    if refusal is None:
        return decision

    circle = machine.waits.find_circle(caller.process.id, base, end, refusal)
    if circle:
        # Those ahead may wait for this very process, which needs nobody but itself.
        alone = (
            attempt(machine, caller, request, now, now.mono_ns) if ahead is not None else decision
        )
        if passing_refusal(alone.error) is None:
            return alone

        deadlock = deadlock_error(base, end, circle)
        return refuse(machine, caller, request, now, now.mono_ns, deadlock)

    refusal.__traceback__ = None  # a fact keeps no frames: they hold the machine and the fact
    number = machine.waits.last + 1
    wait = Wait(number, caller, as_kept(request), base, end, now, deadline)
    event = events.WaitBegun(wait, now, machine.generation, refusal)

    return Decision(None, None, (event,), pending=wait)


def _may_be_stale(machine: Machine, caller: Caller, request: Asked) -> bool:
    """Whether a request may rely on a claim that is lost, which no wait brings back (rule 7)."""
    if not isinstance(request, SetRange):
        return False

    return request.fence is not None or caller.process.id in machine.claims.lost


def as_kept(request: SetRange | ClaimRange | AwaitFree) -> SetRange | ClaimRange | AwaitFree:
    """A request as a queue keeps it: its lease in whole nanoseconds, its wait gone.

    The log keeps nanoseconds, so that what is read from it equals what was written.
    """
    if isinstance(request, AwaitFree):
        return replace(request, wait=None)

    return replace(request, lease=_whole_lease(request.lease), wait=None)


def set_as_kept(request: SetRange) -> SetRange:
    """A MEMRANGE_SET as a commit keeps it; see `as_kept`."""
    return replace(request, lease=_whole_lease(request.lease), wait=None)


def _whole_lease(lease: float | None) -> float | None:
    return None if lease is None else round(lease * SECOND) / SECOND
