"""Claims and waits: asked for, ended, undone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memhub.core.claims.claim import Claim
    from memhub.core.claims.waiting import Ticket
    from memhub.core.machine import Machine, OpenFile
    from memhub.core.ranges.commits import Instant
    from memhub.core.requests import Effect, Outcome
    from memhub.errors import DeviceError

    Record = dict[str, Any]

from memhub.audit.records.parts import columns, failure, msrs, obstacles, stamp, who


def claim(
    event: str,
    file: OpenFile,
    now: Instant,
    began: int,
    base: int,
    length: int,
    generation: int,
    outcome: Outcome,
    held: Claim | None = None,
) -> Record:
    """A claim asked for, renewed or released by its process."""
    slots = outcome.claimed or outcome.released
    return {
        **stamp(event, now),
        **file.facts,
        "owner": None,
        "base": base if 0 <= base < 1 << 64 else None,
        "length": length if 0 <= length < 1 << 64 else None,
        "slots": list(slots),
        "claim": outcome.fence,
        "fence": outcome.fence,
        "expires_ns": _expires_ns(held, now),
        "cause": "request",
        **failure(outcome.error),
        "generation": generation,
        "duration_ns": now.mono_ns - began,
        **(obstacles(outcome.error) if outcome.error and outcome.error.obstacles else {}),
    }


def _expires_ns(held: Claim | None, now: Instant) -> int | None:
    if held is None or held.expires is None:
        return None

    return now.wall_ns + round(held.expires * 1e9) - now.mono_ns


def effect(machine: Machine, now: Instant, generation: int, it: Effect) -> Record:
    """Something that happened beside a request: an undo, or the end of a claim."""
    where = {"machine": machine.name, "arch": machine.arch.name}
    if it.event == "undo":
        return {
            **stamp(it.event, now),
            **where,
            **who(it.process),
            "slots": list(it.slots),
            **columns("before", it.before),
            **columns("after", it.after),
            **msrs(it.msrs),
            "cause": it.cause,
            **failure(it.error),
            "generation": generation,
        }

    return {
        **stamp(it.event, now),
        **where,
        **who(it.process),
        "owner": None,
        "base": it.base,
        "length": it.length,
        "slots": list(it.slots),
        "claim": it.fence,
        "fence": it.fence,
        "cause": it.cause,
        "reason": it.reason,
        "generation": generation,
    }


def waiting(ticket: Ticket, now: Instant) -> Record:
    """A process begins to wait for a range."""
    refusal = ticket.refusal
    record = {
        **stamp("wait.begin", now),
        **ticket.file.facts,
        "owner": None,
        "base": ticket.base,
        "length": ticket.end - ticket.base,
        "reason": refusal.reason if refusal is not None else "earlier tickets",
    }
    if refusal is not None and refusal.obstacles:
        record |= obstacles(refusal)

    return record


def waited(ticket: Ticket, now: Instant, cause: str, error: DeviceError | None) -> Record:
    """A wait ended: granted, refused, or by `timeout`, `deadlock`, `cancelled`, `close`."""
    return {
        **stamp("wait.end", now),
        **ticket.file.facts,
        "owner": None,
        "base": ticket.base,
        "length": ticket.end - ticket.base,
        "cause": cause,
        **failure(error),
        "duration_ns": max(0, now.wall_ns - round(ticket.since * 1e9)),
    }
