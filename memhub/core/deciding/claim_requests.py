"""Claims by request: take, release, renew, break, expire. The rules are in `ownership.py`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from memhub.abi import MDF_ACTIVE
from memhub.arguments import wrong_fence, wrong_range
from memhub.core import events
from memhub.core.claims import ClaimChange, LostClaim, busy_error, name_blocking
from memhub.core.deciding.ownership import (
    claim_for_range,
    refuse_foreign,
    release_inside,
    require_claim,
    settled_losses,
)
from memhub.core.deciding.waiting import decide_waiting
from memhub.core.decision import Decision
from memhub.core.instant import lease_end
from memhub.core.requests import ReleaseRange
from memhub.errors import DeviceError, InvalidArgument, NoSuchRange

if TYPE_CHECKING:
    from memhub.core.claims import Claim, LossCause
    from memhub.core.events import ClaimOp
    from memhub.core.files import Caller, Principal
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine
    from memhub.core.requests import AwaitFree, BreakClaim, ClaimRange, RenewClaim


def check_span(base: int, length: int) -> tuple[int, int]:
    """The bounds `[base, end)` of a range given by a client.

    Raises:
        InvalidArgument: EINVAL; it is empty or does not fit 64 bits.
    """
    if reason := wrong_range(base, length):
        raise InvalidArgument(reason)

    return base, base + length


def decide_claim(machine: Machine, request: ClaimRange, now: Instant) -> Decision:
    """Claim a stretch of addresses: at once, or when its turn comes."""
    caller = machine.files.files[request.handle].caller
    if request.wait is None:
        return attempt_claim(machine, caller, request, now, now.mono_ns)

    try:
        bounds = check_span(request.base, request.length)
    except DeviceError as error:
        return refuse_claim(machine, caller, request, now, now.mono_ns, error)

    return decide_waiting(machine, caller, request, bounds, now, attempt_claim, refuse_claim)


def decide_free(machine: Machine, request: AwaitFree, now: Instant) -> Decision:
    """Say whether nobody else holds a byte of a range: at once, or when its turn comes."""
    caller = machine.files.files[request.handle].caller
    if request.wait is None:
        return attempt_free(machine, caller, request, now, now.mono_ns)

    try:
        bounds = check_span(request.base, request.length)
    except DeviceError as error:
        return refuse_free(machine, caller, request, now, now.mono_ns, error)

    return decide_waiting(machine, caller, request, bounds, now, attempt_free, refuse_free)


def attempt_claim(
    machine: Machine, caller: Caller, request: ClaimRange, now: Instant, began_ns: int
) -> Decision:
    """Claim a stretch of addresses, at once (rule 2)."""
    try:
        bounds = check_span(request.base, request.length)
        expires = lease_end(request.lease, now)
        _refuse_near_commits(machine, caller.process, bounds)
        refuse_foreign(machine.claims, caller.process, *bounds)
        event = claim_event(machine, caller, bounds, expires, now, began_ns)
    except DeviceError as error:
        return refuse_claim(machine, caller, request, now, began_ns, error)

    return Decision(event.change.after, None, (event,))


def claim_event(
    machine: Machine,
    caller: Caller,
    bounds: tuple[int, int],
    expires_ns: int | None,
    now: Instant,
    began_ns: int,
) -> events.ClaimTaken:
    """The fact of a claim, with all that follows from it.

    Args:
        machine: the machine, before the effect.
        caller: who asks.
        bounds: first byte, and one past the last.
        expires_ns: when the lease ends, monotonic nanoseconds, or None.
        now: the moment of the effect.
        began_ns: when it was asked for, monotonic nanoseconds.
    """
    base, end = bounds
    process, claims = caller.process, machine.claims
    inside = _slots_inside(machine, bounds)
    change = claim_for_range(claims, process, bounds, inside, now, expires_ns)
    settled = settled_losses(claims, process, base, end)

    return events.ClaimTaken(
        caller, now, began_ns, base, end - base, machine.generation, change, settled
    )


def _refuse_near_commits(machine: Machine, process: Principal, bounds: tuple[int, int]) -> None:
    """Refuse bytes that another process's commit in flight may change (rule 8)."""
    base, end = bounds
    blocked = [
        commit.obstacle()
        for commit in machine.commits
        if commit.caller.process.id != process.id
        and commit.bounds[0] < end
        and base < commit.bounds[1]
    ]
    if blocked:
        raise busy_error(blocked)


def _slots_inside(machine: Machine, bounds: tuple[int, int]) -> dict[int, tuple[int, int]]:
    if machine.table is None:
        return {}

    base, end = bounds

    return {
        slot: (desc.mr_base, desc.mr_end)
        for slot, desc in enumerate(machine.table.state.slots)
        if desc.mr_flags & MDF_ACTIVE and base <= desc.mr_base and desc.mr_end <= end
    }


def attempt_free(
    machine: Machine, caller: Caller, request: AwaitFree, now: Instant, began_ns: int
) -> Decision:
    """Say whether nobody else holds a byte of a range."""
    base, length = request.base, request.length
    try:
        lo, hi = check_span(base, length)
        claims, more = name_blocking(machine.claims.foreign(caller.process, lo, hi))
        commits = [c for c in machine.commits if c.bounds[0] < hi and lo < c.bounds[1]]
        if claims or commits:
            raise busy_error([*claims, *(c.obstacle() for c in commits)], more)
    except DeviceError as error:
        return refuse_free(machine, caller, request, now, began_ns, error)

    event = events.RangeFree(caller, now, began_ns, base, length, machine.generation)

    return Decision(None, None, (event,), changes=False)


def decide_release(machine: Machine, request: ReleaseRange, now: Instant) -> Decision:
    """Give back the claims of a process that lie inside a range, or the named one (rule 6)."""
    caller = machine.files[request.handle].caller
    process, claims = caller.process, machine.claims
    try:
        base, end = check_span(request.base, request.length)
        fence = request.fence
        if fence is not None:
            require_claim(claims, process, fence)

        slots, changes = release_inside(claims, process, base, end, fence)
        if not changes:
            what = f"{process.name} holds no claim" if fence is None else f"claim {fence} is not"
            raise NoSuchRange(f"{what} inside {base:#x}-{end - 1:#x}")
    except DeviceError as error:
        return _refuse_request(machine, caller, "release", request, now, now.mono_ns, error)

    event = events.ClaimsReleased(
        caller, now, base, end - base, machine.generation, slots, changes, fence is not None
    )

    return Decision(None, None, (event,))


def decide_renew(machine: Machine, request: RenewClaim, now: Instant) -> Decision:
    """Give a claim a new lease."""
    caller, fence = machine.files[request.handle].caller, request.fence
    try:
        expires = lease_end(request.lease, now)
        if request.span is not None:
            check_span(*request.span)

        claim = require_claim(machine.claims, caller.process, fence)
        _check_covers(claim, request.span)
        renewed = claim.with_lease(expires)
    except DeviceError as error:
        span = request.span or (0, 0)
        event = events.ClaimRefused(
            caller, now, now.mono_ns, "renew", *span, machine.generation, error, fence
        )
        return Decision(None, error, (event,), changes=False)

    changes = (ClaimChange(claim, renewed),)

    return Decision(renewed, None, (events.ClaimRenewed(caller, now, machine.generation, changes),))


def _check_covers(claim: Claim, span: tuple[int, int] | None) -> None:
    """Refuse to renew a claim that does not cover the range which is named with it."""
    base, length = span or (claim.base, 0)
    if length and not claim.covers(base, base + length):
        raise NoSuchRange(
            f"claim {claim.fence} is on {claim.base:#x}-{claim.end - 1:#x}, "
            f"which does not cover {base:#x}/{length:#x}"
        )


def decide_break(machine: Machine, request: BreakClaim, now: Instant) -> Decision:
    """Take a claim from its holder (rule 6)."""
    if reason := wrong_fence(request.fence):
        return Decision(None, InvalidArgument(reason), changes=False)

    claim = machine.claims.claims.get(request.fence)
    if claim is None:
        return Decision(None, NoSuchRange(f"there is no claim {request.fence}"), changes=False)

    event = lost_event(machine, claim, "break", now, request.reason, request.by)

    return Decision(None, None, (event,))


def decide_expiry(machine: Machine, now: Instant) -> Decision:
    """End every claim whose lease has ended (rule 6)."""
    ended, before = [], Counter[int]()
    for claim in machine.claims.expired(now.mono_ns):
        number = claim.process.id
        ended.append(lost_event(machine, claim, "expire", now, before=before[number]))
        before[number] += 1

    return Decision(None, None, tuple(ended))


def lost_event(
    machine: Machine,
    claim: Claim,
    cause: LossCause,
    now: Instant,
    reason: str = "its lease ran out",
    by: Principal | None = None,
    before: int = 0,
) -> events.ClaimEnded:
    """The fact that a holder lost its claim (rule 7), after `before` others of this decision."""
    lost = LostClaim(
        claim.fence,
        claim.process,
        claim.base,
        claim.end,
        claim.since_ns,
        now.mono_ns,
        cause,
        reason,
        by,
        machine.claims.next_loss(claim.process) + before,
    )

    return ended_event(machine, claim, cause, now, lost, by)


def ended_event(
    machine: Machine,
    claim: Claim,
    cause: str,
    now: Instant,
    lost: LostClaim | None = None,
    by: Principal | None = None,
) -> events.ClaimEnded:
    """The fact that a claim ended beside a request."""
    return events.ClaimEnded(
        machine.name, machine.arch.name, now, machine.generation, claim, cause, lost, by
    )


def refuse_claim(
    machine: Machine,
    caller: Caller,
    request: ClaimRange,
    now: Instant,
    began_ns: int,
    error: DeviceError,
) -> Decision:
    """The refusal of a claim."""
    return _refuse_request(machine, caller, "take", request, now, began_ns, error)


def refuse_free(
    machine: Machine,
    caller: Caller,
    request: AwaitFree,
    now: Instant,
    began_ns: int,
    error: DeviceError,
) -> Decision:
    """The refusal of a wait for a free range."""
    return _refuse_request(machine, caller, "wait", request, now, began_ns, error)


def _refuse_request(
    machine: Machine,
    caller: Caller,
    op: ClaimOp,
    request: ClaimRange | AwaitFree | ReleaseRange,
    now: Instant,
    began_ns: int,
    error: DeviceError,
) -> Decision:
    fence = request.fence if isinstance(request, ReleaseRange) else None
    event = events.ClaimRefused(
        caller, now, began_ns, op, request.base, request.length, machine.generation, error, fence
    )

    return Decision(None, error, (event,), changes=False)
