"""Facts of claims and waits to rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.arguments import wrong_fence
from memhub.audit.rows.columns import (
    asked_operation,
    error_columns,
    holder_columns,
    label_of,
    lease_ns,
    process_columns,
    stamp_columns,
    wall_time,
)
from memhub.core import events
from memhub.core.requests import AwaitFree, ClaimRange, SetRange

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.core.claims import Claim, ClaimChange
    from memhub.core.holding.waits import Wait
    from memhub.core.instant import Instant
    from memhub.errors import RangeBusy

    Row = dict[str, Any]

#: Where a claim's `op` stands in the log.
_CLAIM_EVENTS: Final = {
    "take": "claim.take",
    "renew": "claim.renew",
    "release": "claim.release",
    "wait": "claim.wait",
}
_CAUSE_EVENTS: Final = {"expire": "claim.expire", "break": "claim.break"}


def _claim_row(
    event: str,
    it: events.ClaimTaken | events.ClaimRenewed | events.ClaimsReleased | events.RangeFree,
    base: int,
    length: int,
    duration: int,
) -> Row:
    return {
        **stamp_columns(event, it.at),
        **it.caller.facts,
        "owner": None,
        "base": base,
        "length": length,
        "slots": (),
        "claim": None,
        "fence": None,
        "expires_ns": None,
        "cause": "request",
        **error_columns(None),
        "generation": it.generation,
        "duration_ns": duration,
    }


def _of_claim(change: ClaimChange, at: Instant) -> Row:
    after = change.after
    assert after is not None

    return {**_numbers(after), "expires_ns": wall_time(after.expires_ns, at)}


def _numbers(claim: Claim) -> Row:
    return {"claim": claim.fence, "fence": claim.fence}


def _claim_taken(it: events.ClaimTaken, ended: int) -> Row:
    row = _claim_row("claim.take", it, it.base, it.length, ended - it.began_ns)

    slots = it.change.after.slots if it.change.after is not None else ()

    return row | {"slots": list(slots)} | _of_claim(it.change, it.at)


def _claim_renewed(it: events.ClaimRenewed, ended: int) -> Row:
    after = it.claims[0].after
    assert after is not None
    length = after.end - after.base
    row = _claim_row("claim.renew", it, after.base, length, ended - it.at.mono_ns)

    return row | _of_claim(it.claims[0], it.at)


def _claims_released(it: events.ClaimsReleased, ended: int) -> Row:
    row = _claim_row("claim.release", it, it.base, it.length, ended - it.at.mono_ns)
    first = it.claims[0].before
    assert first is not None

    if it.named:
        row["cause"] = "fence"

    return row | {"slots": it.slots, **_numbers(first)}


def _range_free(it: events.RangeFree, ended: int) -> Row:
    return _claim_row("claim.wait", it, it.base, it.length, ended - it.began_ns)


def _claim_refused(it: events.ClaimRefused, ended: int) -> Row:
    fence = None if it.fence is None or wrong_fence(it.fence) else it.fence

    return {
        **stamp_columns(_CLAIM_EVENTS[it.op], it.at),
        **it.caller.facts,
        "owner": None,
        "base": it.base if 0 <= it.base < 1 << 64 else None,
        "length": it.length if 0 <= it.length < 1 << 64 else None,
        "slots": (),
        "claim": fence,
        "fence": fence,
        "expires_ns": None,
        "cause": "request",
        **error_columns(it.error),
        "generation": it.generation,
        "duration_ns": ended - it.began_ns,
        **holder_columns(it.error),
    }


def _claim_ended(it: events.ClaimEnded, _ended: int) -> Row:
    claim, by = it.claim, it.by
    row = {
        **stamp_columns(_CAUSE_EVENTS.get(it.cause, "claim.release"), it.at),
        "machine": it.machine,
        "arch": it.arch,
        **process_columns(claim.process),
        "owner": None,
        "base": claim.base,
        "length": claim.end - claim.base,
        "slots": list(claim.slots),
        **_numbers(claim),
        "cause": it.cause,
        "reason": None if it.lost is None or it.cause == "expire" else it.lost.reason,
        "generation": it.generation,
    }
    if by is not None:
        row |= {"holder": by.name, "holder_id": by.id}

    return row


# Waits


def _wait_columns(event: str, wait: Wait, at: Instant, generation: int) -> Row:
    op, owner = wait_words(wait)

    return {
        **stamp_columns(event, at),
        **wait.caller.facts,
        "op": op,
        "owner": owner,
        "base": wait.base,
        "length": wait.end - wait.base,
        "wait": wait.number,
        "generation": generation,
    }


def wait_words(wait: Wait) -> tuple[str, str | None]:
    """What a wait is for, in one word, and the label that was asked for."""
    request = wait.request
    if isinstance(request, SetRange):
        return asked_operation(request.arg), label_of(request.desc.mr_owner)

    return "claim" if isinstance(request, ClaimRange) else "wait", None


def _wait_begun(it: events.WaitBegun, _ended: int) -> Row:
    return wait_begun_row(it.wait, it.refusal, it.generation)


def wait_begun_row(wait: Wait, refusal: RangeBusy | None, generation: int = 0) -> Row:
    """The row of the beginning of a wait.

    Args:
        wait: the wait.
        refusal: what it was told.
        generation: the table's generation.
    """
    request = wait.request
    row = {
        **_wait_columns("wait.begin", wait, wait.since, generation),
        "reason": "" if refusal is None else refusal.reason,
        "expires_ns": wall_time(wait.deadline_ns, wait.since),
        **holder_columns(refusal),
    }
    if isinstance(request, SetRange):
        row |= {"flags": request.desc.mr_flags, "fence": request.fence}

    if not isinstance(request, AwaitFree):
        row["lease_ns"] = lease_ns(request.lease)

    return row


def _wait_ended(it: events.WaitEnded, _ended: int) -> Row:
    return {
        **_wait_columns("wait.end", it.wait, it.at, it.generation),
        "cause": it.cause,
        **error_columns(it.error),
        "duration_ns": it.at.mono_ns - it.wait.since.mono_ns,
        "holder": it.holder[0],
        "holder_id": it.holder[1],
    }


#: Writers of these rows, by the kind of fact.
CLAIM_WRITERS: Final[Mapping[type, Callable[[Any, int], Row]]] = {
    events.ClaimTaken: _claim_taken,
    events.ClaimRenewed: _claim_renewed,
    events.ClaimsReleased: _claims_released,
    events.RangeFree: _range_free,
    events.ClaimRefused: _claim_refused,
    events.ClaimEnded: _claim_ended,
    events.WaitBegun: _wait_begun,
    events.WaitEnded: _wait_ended,
}
