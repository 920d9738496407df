"""A rig's view of its machines: who holds what, who waits for what, since when. Plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.abi import MDF_ACTIVE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from memhub.abi import RangeDesc
    from memhub.core.claims.claim import Claim
    from memhub.core.claims.waiting import Ticket
    from memhub.core.machine import Machine
    from memhub.core.ranges.commits import Commit, Instant
    from memhub.core.requests import Principal


def report(machines: Iterable[Machine], now: Instant) -> dict[str, Any]:
    """Describe machines as they are now.

    Args:
        machines: which.
        now: the present moment.

    Returns:
        `{"wall": seconds, "machines": [...]}`; each machine with its `slots`, how many of them
        are active (`used`), `processes`, `claims` (with the labels in their slots as `owners`),
        `commits`, `waits` and the wait-for graph as `waits_for`: pairs of process ids.
    """
    return {"wall": now.wall, "machines": [_machine(machine, now) for machine in machines]}


def _machine(machine: Machine, now: Instant) -> dict[str, Any]:
    table = machine.ranges.table
    slots = table.state.slots if table is not None else ()
    claims = machine.ranges.ownership.claims.values()

    return {
        "machine": machine.name,
        "arch": machine.arch.name,
        "slots": len(table) if table is not None else 0,
        "used": sum(1 for desc in slots if desc.mr_flags & MDF_ACTIVE),
        "generation": machine.generation,
        "processes": [_process(machine, process) for process in machine.processes()],
        "claims": [_claim(claim, slots, now) for claim in claims],
        "commits": [_commit(commit, now) for commit in machine.ranges.commits],
        "waits": [_wait(ticket, now) for ticket in machine.queue.tickets],
        "waits_for": [[process.id, other] for process, other in machine.queue.edges()],
    }


def _who(process: Principal) -> dict[str, Any]:
    return {"process": process.name, "process_id": process.id, "pid": process.pid}


def _process(machine: Machine, process: Principal) -> dict[str, Any]:
    return {**_who(process), "uid": process.uid, "handles": len(machine.files[process.id])}


def _claim(claim: Claim, slots: Sequence[RangeDesc], now: Instant) -> dict[str, Any]:
    return {
        **_who(claim.process),
        "fence": claim.fence,
        "kind": claim.kind,
        "base": claim.base,
        "length": claim.end - claim.base,
        "slots": sorted(claim.slots),
        "owners": sorted({slots[slot].owner for slot in claim.slots}),
        "since": claim.since,
        "seconds": now.wall - claim.since,
        "lease": None if claim.expires is None else claim.expires - now.mono,
    }


def _commit(commit: Commit, now: Instant) -> dict[str, Any]:
    desc = commit.request.desc

    return {
        **_who(commit.request.process),
        "base": desc.mr_base,
        "length": desc.mr_len,
        "slots": list(commit.wrote),
        "since": commit.since,
        "seconds": now.wall - commit.since,
    }


def _wait(ticket: Ticket, now: Instant) -> dict[str, Any]:
    return {
        **_who(ticket.process),
        "op": ticket.op,
        "base": ticket.base,
        "length": ticket.end - ticket.base,
        "since": ticket.since,
        "seconds": now.wall - ticket.since,
        "waits_for": sorted(ticket.blockers),
    }
