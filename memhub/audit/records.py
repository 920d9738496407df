"""What each thing that happens says in the log: core values in, flat records out.

Pure functions; the fields are those of `schema.py`. `facts` is what an open file says of itself
in every record (machine, architecture, device, process, pid, uid, handle).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.abi import (
    FLAG_WORDS,
    MDF_ATTRMASK,
    MEMRANGE_SET_REMOVE,
    MEMRANGE_SET_UPDATE,
    flag_words,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from memhub.abi import RangeDesc
    from memhub.core.claims import Claim
    from memhub.core.commits import Instant, SetRequest
    from memhub.core.driver import RangeState
    from memhub.core.machine import Machine, OpenFile
    from memhub.core.requests import Effect, Outcome, Principal
    from memhub.core.waiting import Ticket
    from memhub.errors import DeviceError

    Record = dict[str, Any]

_OPERATIONS: Final = {MEMRANGE_SET_UPDATE: "update", MEMRANGE_SET_REMOVE: "remove"}
_COLUMNS: Final = {
    side: (f"{side}_base", f"{side}_length", f"{side}_flags", f"{side}_owner")
    for side in ("before", "after")
}
_ATTRIBUTE_WORDS: Final = {0: (), **{bit: (word,) for bit, word in FLAG_WORDS}}


def _failure(error: DeviceError | None) -> Record:
    if error is None:
        return {"errno": None, "reason": None}

    return {"errno": error.code.name, "reason": error.reason}


def _stamp(event: str, now: Instant) -> Record:
    return {"event": event, "wall_ns": now.wall_ns, "mono_ns": now.mono_ns}


def _columns(side: str, rows: Sequence[RangeDesc]) -> Record:
    base, length, flags, owner = _COLUMNS[side]
    if len(rows) == 1:
        row = rows[0]
        return {
            base: (row.mr_base,),
            length: (row.mr_len,),
            flags: (row.mr_flags,),
            owner: (_label(row.mr_owner),),
        }

    return {
        base: [row.mr_base for row in rows],
        length: [row.mr_len for row in rows],
        flags: [row.mr_flags for row in rows],
        owner: [_label(row.mr_owner) for row in rows],
    }


def _label(mr_owner: bytes) -> str:
    return mr_owner.rstrip(b"\0").decode("latin-1")


def _msrs(changed: Mapping[int, tuple[int, int]]) -> Record:
    if not changed:
        return {}

    before, after = zip(*changed.values(), strict=True)

    return {"msrs": list(changed), "before_msr": before, "after_msr": after}


def who(process: Principal) -> Record:
    """The fields that name a process."""
    return {
        "process": process.name,
        "process_id": process.id,
        "pid": process.pid,
        "uid": process.uid,
    }


def attach(machine: Machine, now: Instant, state: RangeState | None, config: str) -> Record:
    """A machine starts: its whole table and its registers."""
    slots = state.slots if state is not None else ()
    msrs = state.msrs if state is not None else {}
    return {
        **_stamp("device.attach", now),
        "machine": machine.name,
        "arch": machine.arch.name,
        "phys_bits": machine.spec.cpu.phys_bits,
        "slots": list(range(len(slots))),
        **_columns("after", slots),
        "msrs": list(msrs),
        "after_msr": list(msrs.values()),
        "config": config,
        "generation": 0,
    }


def detach(machine: Machine, now: Instant, generation: int) -> Record:
    """A machine is taken away."""
    return {
        **_stamp("device.detach", now),
        "machine": machine.name,
        "arch": machine.arch.name,
        "generation": generation,
    }


def opened(
    facts: Mapping[str, Any], now: Instant, began: int, flags: int, error: DeviceError | None
) -> Record:
    """A device was opened, or was not."""
    return {
        **_stamp("request.open", now),
        **facts,
        "op": "open",
        "flags": flags,
        **_failure(error),
        "duration_ns": now.mono_ns - began,
    }


def closed(file: OpenFile, now: Instant, began: int, cause: str) -> Record:
    """A handle was closed."""
    return {
        **_stamp("request.close", now),
        **file.facts,
        "op": "close",
        "cause": cause,
        **_failure(None),
        "duration_ns": now.mono_ns - began,
    }


def got(
    file: OpenFile,
    now: Instant,
    began: int,
    count: int,
    generation: int,
    error: DeviceError | None = None,
) -> Record:
    """MEMRANGE_GET."""
    return {
        "event": "request.get",
        "wall_ns": now.wall_ns,
        "mono_ns": now.mono_ns,
        **file.facts,
        "op": "list" if count > 0 else "count",
        "count": count,
        "generation": generation,
        "errno": None if error is None else error.code.name,
        "reason": None if error is None else error.reason,
        "duration_ns": now.mono_ns - began,
    }


def was_set(
    request: SetRequest, now: Instant, began: int, generation: int, outcome: Outcome
) -> Record:
    """MEMRANGE_SET, with what it changed."""
    desc, error = request.desc, outcome.error
    asked = desc.mr_flags & MDF_ATTRMASK
    words = _ATTRIBUTE_WORDS.get(asked)
    record = {
        "event": "request.set",
        "wall_ns": now.wall_ns,
        "mono_ns": now.mono_ns,
        **request.file.facts,
        "op": _OPERATIONS.get(request.arg) or f"arg {request.arg}",
        "owner": desc.owner,
        "base": desc.mr_base,
        "length": desc.mr_len,
        "attributes": flag_words(asked) if words is None else words,
        "flags": desc.mr_flags,
        "errno": None if error is None else error.code.name,
        "reason": None if error is None else error.reason,
        "slots": outcome.slots,
        **_columns("before", outcome.before),
        **_columns("after", outcome.after),
        "claimed": outcome.claimed,
        "released": outcome.released,
        "fence": outcome.fence,
        "generation": generation,
        "duration_ns": now.mono_ns - began,
    }
    if outcome.msrs:
        record |= _msrs(outcome.msrs)

    if error is not None and error.obstacles:
        record |= _obstacles(error)

    return record


def _obstacles(error: DeviceError) -> Record:
    first = error.obstacles[0]

    return {"holder": first.process, "holder_id": first.process_id}


def malformed(file: OpenFile, now: Instant, began: int, ioctl: int, error: DeviceError) -> Record:
    """An ioctl that is none of mem(4)'s, or whose buffers are wrong."""
    return {
        **_stamp("request.ioctl", now),
        **file.facts,
        "op": "ioctl",
        "ioctl": ioctl,
        **_failure(error),
        "duration_ns": now.mono_ns - began,
    }


def moved(
    file: OpenFile,
    now: Instant,
    began: int,
    op: str,
    base: int,
    length: int,
    count: int,
    error: DeviceError | None = None,
) -> Record:
    """A read or write: `op` is `read`, `pread`, `write` or `pwrite`."""
    return {
        "event": "request.read" if op.endswith("read") else "request.write",
        "wall_ns": now.wall_ns,
        "mono_ns": now.mono_ns,
        **file.facts,
        "op": op,
        "base": base if 0 <= base < 1 << 64 else None,
        "length": length if 0 <= length < 1 << 64 else None,
        "moved": count,
        "errno": None if error is None else error.code.name,
        "reason": None if error is None else error.reason,
        "duration_ns": now.mono_ns - began,
    }


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
        **_stamp(event, now),
        **file.facts,
        "owner": None,
        "base": base if 0 <= base < 1 << 64 else None,
        "length": length if 0 <= length < 1 << 64 else None,
        "slots": list(slots),
        "claim": outcome.fence,
        "fence": outcome.fence,
        "expires_ns": _expires_ns(held, now),
        "cause": "request",
        **_failure(outcome.error),
        "generation": generation,
        "duration_ns": now.mono_ns - began,
        **(_obstacles(outcome.error) if outcome.error and outcome.error.obstacles else {}),
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
            **_stamp(it.event, now),
            **where,
            **who(it.process),
            "slots": list(it.slots),
            **_columns("before", it.before),
            **_columns("after", it.after),
            **_msrs(it.msrs),
            "cause": it.cause,
            **_failure(it.error),
            "generation": generation,
        }

    return {
        **_stamp(it.event, now),
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
        **_stamp("wait.begin", now),
        **ticket.file.facts,
        "owner": None,
        "base": ticket.base,
        "length": ticket.end - ticket.base,
        "reason": refusal.reason if refusal is not None else "earlier tickets",
    }
    if refusal is not None and refusal.obstacles:
        record |= _obstacles(refusal)

    return record


def waited(ticket: Ticket, now: Instant, cause: str, error: DeviceError | None) -> Record:
    """A wait ended: granted, refused, or by `timeout`, `deadlock`, `cancelled`, `close`."""
    return {
        **_stamp("wait.end", now),
        **ticket.file.facts,
        "owner": None,
        "base": ticket.base,
        "length": ticket.end - ticket.base,
        "cause": cause,
        **_failure(error),
        "duration_ns": max(0, now.wall_ns - round(ticket.since * 1e9)),
    }
