"""Who holds what: the rules of BUSY, complete, in one place.

Theory
======
mem(4) defines MDF_BUSY as "owned by another process and may not be altered", and ends with
"busy range attributes are not yet managed correctly": FreeBSD tests the bit and never sets it.
These rules set it.

A *process* (Principal) is whoever opened a device. The `mr_owner` text is a label and decides
nothing. A process may have many handles on a machine.

A *claim* is what a process holds. It has a fencing number, which rises with every claim taken
on the machine and never comes back; a set of slots; and bytes that it protects.

1. A successful UPDATE claims every slot that it wrote and that its process did not hold
   already. It protects the bytes of those slots.
2. `claim(base, length)` claims a stretch of addresses without changing an attribute: the bytes,
   and the active slots that lie wholly inside. Another process's claim on one of the bytes
   refuses it (EBUSY).
3. A slot belongs to one claim at most. To every other process it shows MDF_BUSY; to its own it
   does not.
4. An UPDATE or REMOVE that writes a slot of another process's claim is EBUSY. So is one that
   changes the effective type of a byte that another process's claim protects. One that
   overlaps such bytes and changes none of their types goes through.
5. A claim loses the slots that its process removes or undoes. A claim that UPDATE took ends
   with its last slot; a claim of addresses stays until it is released.
6. A claim ends by release, when its process closes its last handle on the machine, when its
   lease runs out, or when the embedder breaks it. The ranges stay programmed.
7. Whoever lost a claim to a lease or a break is told: its next UPDATE or REMOVE that touches
   those bytes is refused once (EBUSY, the reason says when and why), as is every use of the
   lost fencing number. Both are said of a BUSY range too, at once, also to a request that would
   wait. Claiming the bytes anew settles the matter.
8. A *commit* is an UPDATE or REMOVE on its way to all CPUs. The slots it will write are BUSY
   to everybody, its own process included. Whatever would alter what it is about to do is
   refused, and nobody else may set or claim the bytes that it may change, so that the plan made
   at its start is exact at its effect.

The driver's own checks come first and keep their order: a malformed request is EINVAL, busy or
not. Nothing here waits; `waiting.py` queues requests that were refused by these rules.

The functions here ask and compute; they change nothing. `claim_table.py` holds the claims.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memhub.arguments import wrong_fence
from memhub.core.claims import (
    NAMED_MAX,
    Claim,
    ClaimChange,
    LostClaim,
    busy_error,
    describe_claim,
    name_blocking,
)
from memhub.errors import InvalidArgument, Obstacle, RangeBusy, StaleClaim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from memhub.abi import RangeDesc
    from memhub.core.effective.typemap import TypeMap
    from memhub.core.files import Principal
    from memhub.core.holding.claim_table import ClaimTable
    from memhub.core.instant import Instant
    from memhub.core.requests import SetRange

    Span = tuple[int, int]

# What is refused


def check_slots(
    claims: ClaimTable, process: Principal, wrote: Iterable[int], slots: tuple[RangeDesc, ...]
) -> None:
    """Refuse to write a slot of another process's claim (rule 4).

    Raises:
        RangeBusy: EBUSY; the obstacles are the claims in the way.
    """
    blocked = [
        claim.obstacle(slot=slot, desc=slots[slot])
        for slot in wrote
        if (claim := claims.holder(slot)) is not None and claim.process.id != process.id
    ]
    if blocked:
        raise busy_error(blocked)


def check_types(
    claims: ClaimTable,
    process: Principal,
    bounds: Span,
    before: Callable[[], TypeMap],
    after: Callable[[], TypeMap],
) -> None:
    """Refuse to change the type of a byte that another's claim protects (rule 4).

    Args:
        claims: the claims on the machine.
        process: who asks.
        bounds: `[lo, hi)` outside which no type changes.
        before: gives the present types; called only if a foreign claim is near.
        after: gives the types as they would be.

    Raises:
        RangeBusy: EBUSY; the obstacles are the claims, the reason names a byte of the first.
    """
    lo, hi = bounds
    if not claims.has_foreign(process, lo, hi):
        return

    old, new = before(), after()
    reason = ""
    blocked: dict[int, Obstacle] = {}
    met: set[int] = set()
    for base, end, claim in claims.overlapping(lo, hi):
        who = claim.process.id
        if (
            who == process.id
            or claim.fence in blocked
            or (who in met and len(blocked) >= NAMED_MAX)
        ):
            continue

        address = old.first_difference(new, max(base, lo), min(end, hi))
        if address is not None:
            met.add(who)
            blocked[claim.fence] = claim.obstacle()
            reason = reason or (
                f"the type of {address:#x} would change from {old.at(address)} to "
                f"{new.at(address)}, inside {describe_claim(claim)}"
            )

    if blocked:
        raise RangeBusy(reason, obstacles=tuple(blocked.values()))


def require_claim(claims: ClaimTable, process: Principal, fence: int) -> Claim:
    """Find the live claim of `process` that has this fencing number (rule 7).

    Raises:
        StaleClaim: EBUSY; the claim is lost, ended, or somebody else's.
        InvalidArgument: EINVAL; no claim can have that number.
    """
    if reason := wrong_fence(fence):
        raise InvalidArgument(reason)

    claim = claims.claims.get(fence)
    if claim is not None and claim.process.id == process.id:
        return claim

    lost = claims.lost.get(process.id, {}).get(fence)
    if lost is not None:
        raise StaleClaim(f"fenced: {lost}", obstacles=(replace(lost.obstacle(), kind="fence"),))

    raise StaleClaim(
        f"fenced: claim {fence} is not held by {process.name}",
        obstacles=(() if claim is None else (claim.obstacle(),)),
    )


def check_held(claims: ClaimTable, process: Principal, request: SetRange) -> None:
    """Refuse a MEMRANGE_SET that relies on a claim which its process does not hold (rule 7).

    Raises:
        StaleClaim: EBUSY; see `require_claim` and `check_untold_losses`.
        InvalidArgument: EINVAL; no claim can have the fencing number that it names.
    """
    if request.fence is not None:
        require_claim(claims, process, request.fence)

    if claims.lost:
        check_untold_losses(claims, process, request.desc.mr_base, request.desc.mr_end)


def check_untold_losses(claims: ClaimTable, process: Principal, lo: int, hi: int) -> None:
    """Refuse once a request that touches bytes of a claim its process lost (rule 7).

    Raises:
        StaleClaim: EBUSY, with what became of the claim; its `lost_fence` names the claim, which
            the fact of the refusal forgets.
    """
    for lost in claims.lost_by(process):
        if lost.base < hi and lo < lost.end:
            error = StaleClaim(
                f"{lost}; repeat the request to go on without it", obstacles=(lost.obstacle(),)
            )
            error.lost_fence = lost.fence
            raise error


def refuse_foreign(claims: ClaimTable, process: Principal, base: int, end: int) -> None:
    """Refuse bytes that another process's claim protects (rule 2).

    Raises:
        RangeBusy: EBUSY; the obstacles are the claims.
    """
    others, more = name_blocking(claims.foreign(process, base, end))
    if others:
        raise busy_error(others, more)


# What follows


def claim_for_update(
    claims: ClaimTable,
    process: Principal,
    slots: Mapping[int, Span],
    now: Instant,
    expires_ns: int | None,
) -> Claim:
    """The claim that an UPDATE takes on the slots that it wrote (rule 1).

    Args:
        claims: the claims on the machine.
        process: the writer.
        slots: slot to the bytes `[base, end)` that it covers now; none is held already.
        now: the moment of the effect.
        expires_ns: when the lease ends, monotonic nanoseconds, or None.
    """
    base, end = min(slots.values())
    if len(slots) > 1:
        end = max(stop for _, stop in slots.values())

    return Claim(
        claims.last_fence + 1, process, "update", base, end, now.wall_ns, expires_ns, slots
    )


def claim_for_range(
    claims: ClaimTable,
    process: Principal,
    bounds: Span,
    inside: Mapping[int, Span],
    now: Instant,
    expires_ns: int | None,
) -> ClaimChange:
    """The claim of a stretch of addresses (rule 2).

    Args:
        claims: the claims on the machine.
        process: who asks.
        bounds: first byte, and one past the last.
        inside: the active slots wholly inside, with their bytes.
        now: the moment of the effect.
        expires_ns: when the lease ends, monotonic nanoseconds, or None.

    Returns:
        the new claim; or the one that the process holds on just these bytes, with the lease.
    """
    base, end = bounds
    held = claims.find_range(process, base, end)
    if held is not None:
        return ClaimChange(held, held.with_lease(expires_ns))

    free = {slot: span for slot, span in inside.items() if claims.holder(slot) is None}
    fence = claims.last_fence + 1

    return ClaimChange(
        None, Claim(fence, process, "range", base, end, now.wall_ns, expires_ns, free)
    )


def drop_slots(
    claims: ClaimTable, slots: Iterable[int]
) -> tuple[tuple[int, ...], tuple[ClaimChange, ...]]:
    """Take slots out of whatever claims hold them (rule 5).

    Returns:
        the slots that were held, and what becomes of their claims.
    """
    held = [(slot, claim) for slot in slots if (claim := claims.holder(slot)) is not None]
    if not held:
        return (), ()

    losing: dict[int, tuple[Claim, list[int]]] = {}
    for slot, claim in held:
        losing.setdefault(claim.fence, (claim, []))[1].append(slot)

    changes = tuple(ClaimChange(c, c.without_slots(gone)) for c, gone in losing.values())

    return tuple(slot for slot, _ in held), changes


def release_inside(
    claims: ClaimTable, process: Principal, base: int, end: int, fence: int | None = None
) -> tuple[tuple[int, ...], tuple[ClaimChange, ...]]:
    """End the claims of `process` inside `[base, end)`, or only the one with `fence` (rule 6).

    A claim that an UPDATE took on several slots gives up those that lie inside.

    Returns:
        the slots that become free, and what becomes of the claims, oldest first.
    """
    near = {
        claim.fence: claim
        for _, _, claim in claims.overlapping(base, end)
        if claim.process.id == process.id and fence in (None, claim.fence)
    }
    slots: list[int] = []
    changes: list[ClaimChange] = []
    for _, claim in sorted(near.items()):
        if base <= claim.base and claim.end <= end:
            slots += claim.slots
            changes.append(ClaimChange(claim, None))
        elif claim.kind == "update":
            inside = [s for s, (lo, hi) in claim.slots.items() if base <= lo and hi <= end]
            if inside:
                slots += inside
                changes.append(ClaimChange(claim, claim.without_slots(inside)))

    return tuple(slots), tuple(changes)


def settled_losses(
    claims: ClaimTable, process: Principal, base: int, end: int
) -> tuple[LostClaim, ...]:
    """The losses that claiming these bytes anew settles (rule 7)."""
    return tuple(it for it in claims.lost_by(process) if it.base < end and base < it.end)
