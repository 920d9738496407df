"""A rig's view of its machines: who holds what, who waits for what, since when. Plain data."""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from memhub.core.caches.report import hazards_of
from memhub.core.deciding.kernel_health import out_of_step
from memhub.core.ranges.slot_extents import used_slots
from memhub.core.requests import ClaimRange, SetRange

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from memhub.abi import RangeDesc
    from memhub.core.caches.hazards import Hazard
    from memhub.core.claims import Claim
    from memhub.core.files import Principal
    from memhub.core.holding.commits import Commit
    from memhub.core.holding.waits import Wait
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine
    from memhub.core.ranges.range_table import RangeTable


def report(machines: Iterable[Machine], now: Instant) -> dict[str, Any]:
    """Describe machines as they are now.

    Args:
        machines: which.
        now: the present moment.

    Returns:
        `{"wall": seconds, "machines": [...]}`; each machine with its `slots`, how many of them
        hold a range (`used`), why it is marked `failed` or None, whether it is `sick` or None (with
        the names of its `sicknesses`, the `cpus` that are out of step, and since when it is
        `suspended` or None), `processes`, `claims` (with the
        labels in their slots as `owners`), `commits`, `waits` and the wait-for graph as
        `waits_for`: pairs of process ids. A machine that is not coherent has its `hazards` too,
        and one of another kernel than FreeBSD that kernel's name as `kernel`, the `files` that it
        answers itself, and as `dead` why it answers nothing more, or None; its `slots` are the
        registers that this kernel has.
    """
    views = [view_machine(machine, now) for machine in machines]

    return {
        "wall": now.wall_ns / 1e9,
        "machines": [
            {key: list(it) if isinstance(it, map) else it for key, it in view.items()}
            for view in views
        ],
    }


def view_machine(machine: Machine, now: Instant) -> dict[str, Any]:
    """Describe one machine; what may be long is made row by row, as it is asked for.

    Returns:
        as in `report`, with a `map` in place of each list: its rows are of what there was when
        this was called, while who waits for whom is of when the row is made.
    """
    table, files = machine.table, machine.files
    slots = table.state.slots if table is not None else ()
    registers = None if machine.served is None else machine.served.ranges()
    waits = tuple(machine.waits)

    return {
        "machine": machine.name,
        "arch": machine.arch.name,
        **_kernel_row(machine),
        "slots": len(slots) if registers is None else registers.total,
        "used": _count_used(table) if registers is None else len(registers.used),
        "generation": machine.generation,
        "failed": _failure_row(machine, now),
        "sick": _health_row(machine, now),
        "processes": map(partial(_machine_process, machine), tuple(files.processes())),
        "claims": map(partial(_claim_row, slots, now), tuple(machine.claims.claims.values())),
        "commits": map(partial(_commit_row, now), tuple(machine.commits)),
        "waits": map(partial(_wait_row, machine, now), waits),
        "waits_for": map(list, chain.from_iterable(map(machine.waits.edges, waits))),
        **(
            {}
            if machine.caches is None
            else {"hazards": map(hazard_row, hazards_of(machine.caches))}
        ),
    }


def _kernel_row(machine: Machine) -> dict[str, Any]:
    served = machine.served
    if served is None:
        return {}

    return {
        "kernel": machine.spec.kernel_name,
        "files": sorted(served.kernel.files),
        "dead": served.why_dead() or None,
    }


def _count_used(table: RangeTable | None) -> int:
    return 0 if table is None else len(used_slots(table))


def hazard_row(hazard: Hazard) -> dict[str, Any]:
    """A hazard with its level and cure, as plain data."""
    return {**hazard._asdict(), "level": hazard.level, "cure": hazard.cure}


def _failure_row(machine: Machine, now: Instant) -> dict[str, Any] | None:
    failure = machine.failed
    if failure is None:
        return None

    times = _since_columns(failure.since_ns, now)

    return {"reason": failure.reason, "failures": failure.failures, **times}


def _health_row(machine: Machine, now: Instant) -> dict[str, Any] | None:
    health = machine.health
    if health is None:
        return None

    since = health.suspended_ns

    return {
        "sicknesses": [it.sickness.name for it in health.sicknesses],
        "cpus": out_of_step(machine),
        "suspended": None if since is None else _since_columns(since, now),
    }


def _process_row(process: Principal) -> dict[str, Any]:
    return {"process": process.name, "process_id": process.id, "pid": process.pid}


def _since_columns(since_ns: int, now: Instant) -> dict[str, Any]:
    return {"since": since_ns / 1e9, "seconds": (now.wall_ns - since_ns) / 1e9}


def _machine_process(machine: Machine, process: Principal) -> dict[str, Any]:
    return {**_process_row(process), "uid": process.uid, "handles": len(machine.files.of(process))}


def _claim_row(slots: Sequence[RangeDesc], now: Instant, claim: Claim) -> dict[str, Any]:
    expires = claim.expires_ns

    return {
        **_process_row(claim.process),
        "fence": claim.fence,
        "kind": claim.kind,
        "base": claim.base,
        "length": claim.end - claim.base,
        "slots": sorted(claim.slots),
        "owners": sorted({slots[slot].owner for slot in claim.slots}),
        **_since_columns(claim.since_ns, now),
        "lease": None if expires is None else max(0, expires - now.mono_ns) / 1e9,
    }


def _commit_row(now: Instant, commit: Commit) -> dict[str, Any]:
    desc = commit.request.desc

    return {
        **_process_row(commit.caller.process),
        "base": desc.mr_base,
        "length": desc.mr_len,
        "slots": list(commit.wrote),
        **_since_columns(commit.since.wall_ns, now),
    }


def _wait_row(machine: Machine, now: Instant, wait: Wait) -> dict[str, Any]:
    request = wait.request
    op = "set" if isinstance(request, SetRange) else "wait"

    return {
        **_process_row(wait.caller.process),
        "op": "claim" if isinstance(request, ClaimRange) else op,
        "base": wait.base,
        "length": wait.end - wait.base,
        **_since_columns(wait.since.wall_ns, now),
        "waits_for": sorted(machine.waits.blockers(wait)),
    }
