"""Facts to rows. The fields are those of `schema.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.abi import (
    FLAG_WORDS,
    MDF_ATTRMASK,
    flag_words,
)
from memhub.audit.rows.claims import CLAIM_WRITERS
from memhub.audit.rows.columns import (
    OPERATIONS,
    asked_operation,
    desc_columns,
    error_columns,
    holder_columns,
    label_of,
    lease_ns,
    msr_columns,
    process_columns,
    stamp_columns,
    wall_time,
)
from memhub.audit.rows.service import SERVICE_WRITERS
from memhub.core import events
from memhub.core.open_close import MODES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.abi import RangeDesc
    from memhub.core.service_events import ServiceEvent

    Row = dict[str, Any]

_ATTRIBUTE_WORDS: Final = {0: (), **{bit: (word,) for bit, word in FLAG_WORDS}}


def row_of(event: events.Event | ServiceEvent, ended_ns: int) -> Row | None:
    """The row of a fact.

    Args:
        event: the fact.
        ended_ns: the moment of the record, monotonic nanoseconds; what began earlier took the
            time between.

    Returns:
        a flat record without its place in the chain; None for a fact that leaves no record.
    """
    writer = _WRITERS.get(type(event))

    return None if writer is None else writer(event, ended_ns)


# Machines


def _attached(it: events.Attached, _ended: int) -> Row:
    slots = it.state.slots if it.state is not None else ()
    msrs = it.state.msrs if it.state is not None else {}

    return {
        **stamp_columns("device.attach", it.at),
        "machine": it.machine,
        "arch": it.arch,
        "phys_bits": it.phys_bits,
        "slots": list(range(len(slots))),
        **desc_columns("after", slots),
        "msrs": list(msrs),
        "after_msr": list(msrs.values()),
        "config": it.config,
        "generation": 0,
    }


def _detached(it: events.Detached, _ended: int) -> Row:
    return {
        **stamp_columns("device.detach", it.at),
        "machine": it.machine,
        "arch": it.arch,
        "generation": it.generation,
    }


# Files


def _opened(it: events.Opened, ended: int) -> Row:
    file = it.file
    flags = {(True, False): 0, (False, True): 1, (True, True): 2}[file.readable, file.writable]

    return {
        **stamp_columns("request.open", it.at),
        **file.caller.facts,
        "op": "open",
        "flags": flags,
        "undo": file.undo,
        "model": file.model.name,
        **error_columns(None),
        "duration_ns": ended - it.at.mono_ns,
    }


def _open_refused(it: events.OpenRefused, ended: int) -> Row:
    return {
        **stamp_columns("request.open", it.at),
        **process_columns(it.process),
        "machine": it.machine,
        "arch": it.arch,
        "device": it.device,
        "op": "open",
        "flags": MODES.get(it.mode, (0, 0, -1))[2],
        **error_columns(it.error),
        "duration_ns": ended - it.at.mono_ns,
    }


def _closed(it: events.Closed, ended: int) -> Row:
    return {
        **stamp_columns("request.close", it.at),
        **it.file.caller.facts,
        "op": "close",
        "cause": it.cause,
        **error_columns(None),
        "duration_ns": ended - it.at.mono_ns,
    }


# Memory


def _read(it: events.MemoryRead, ended: int) -> Row:
    base, length, error = it.base, it.length, it.error

    return {
        "event": "request.read",
        "wall_ns": it.at.wall_ns,
        "mono_ns": it.at.mono_ns,
        **it.caller.facts,
        "op": it.op,
        "base": base if 0 <= base < 1 << 64 else None,
        "length": length if 0 <= length < 1 << 64 else None,
        "moved": it.moved,
        "errno": None if error is None else error.code.name,
        "reason": None if error is None else error.reason,
        "duration_ns": ended - it.began_ns,
    }


def _written(it: events.MemoryWritten, ended: int) -> Row:
    base, length, error = it.base, it.length, it.error

    return {
        "event": "request.write",
        "wall_ns": it.at.wall_ns,
        "mono_ns": it.at.mono_ns,
        **it.caller.facts,
        "op": it.op,
        "base": base if 0 <= base < 1 << 64 else None,
        "length": length if 0 <= length < 1 << 64 else None,
        "moved": it.moved,
        "errno": None if error is None else error.code.name,
        "reason": None if error is None else error.reason,
        "duration_ns": ended - it.began_ns,
    }


# Ranges


def _ranges_read(it: events.RangesRead, ended: int) -> Row:
    error = it.error

    return {
        "event": "request.get",
        "wall_ns": it.at.wall_ns,
        "mono_ns": it.at.mono_ns,
        **it.caller.facts,
        "op": "list" if it.wanted > 0 else "count",
        "count": it.wanted,
        "generation": it.generation,
        "errno": None if error is None else error.code.name,
        "reason": None if error is None else error.reason,
        "duration_ns": ended - it.at.mono_ns,
    }


def _ioctl_refused(it: events.IoctlRefused, ended: int) -> Row:
    return {
        **stamp_columns("request.ioctl", it.at),
        **it.caller.facts,
        "op": "ioctl",
        "ioctl": it.ioctl,
        **error_columns(it.error),
        "duration_ns": ended - it.at.mono_ns,
    }


def _ranges_set(it: events.RangesSet, ended: int) -> Row:
    desc, outcome, at = it.desc, it.outcome, it.at
    asked = desc.mr_flags & MDF_ATTRMASK
    words = _ATTRIBUTE_WORDS.get(asked)
    row = {
        "event": "request.set",
        "wall_ns": at.wall_ns,
        "mono_ns": at.mono_ns,
        **it.caller.facts,
        "op": OPERATIONS[it.arg],
        "owner": desc.mr_owner.rstrip(b"\0").decode("latin-1"),
        "base": desc.mr_base,
        "length": desc.mr_len,
        "attributes": flag_words(asked) if words is None else words,
        "flags": desc.mr_flags,
        "errno": None,
        "reason": None,
        "slots": outcome.slots,
        **desc_columns("before", outcome.before),
        **desc_columns("after", outcome.after),
        "claimed": outcome.claimed,
        "released": outcome.released,
        "fence": outcome.fence,
        "expires_ns": None,
        "generation": it.generation,
        "duration_ns": ended - it.began_ns,
    }
    if outcome.msrs:
        row |= msr_columns(outcome.msrs)

    if it.wrote != outcome.slots:
        row["written"] = it.wrote

    if it.claims and (claim := it.claims[0].after) is not None:
        row["expires_ns"] = wall_time(claim.expires_ns, at)

    if it.commit is not None:
        row["commit"] = it.commit.number

    return row


_NOTHING: Final = {
    "slots": (),
    **desc_columns("before", ()),
    **desc_columns("after", ()),
    "claimed": (),
    "released": (),
}


def _set_refused(it: events.SetRefused, ended: int) -> Row:
    told = it.told
    row = {
        **stamp_columns("request.set", it.at),
        **it.caller.facts,
        "op": asked_operation(it.arg),
        **_asked_columns(it.desc),
        **error_columns(it.error),
        **_NOTHING,
        "fence": None,
        "generation": it.generation,
        "duration_ns": ended - it.began_ns,
        **holder_columns(it.error),
    }
    if told is not None:
        row["claim"] = told.fence

    if it.commit is not None:
        row["commit"] = it.commit.number

    return row


def _asked_columns(desc: RangeDesc) -> Row:
    return {
        "owner": label_of(desc.mr_owner),
        "base": desc.mr_base,
        "length": desc.mr_len,
        "attributes": flag_words(desc.mr_flags & MDF_ATTRMASK),
        "flags": desc.mr_flags,
    }


def _commit_begun(it: events.CommitBegun, _ended: int) -> Row:
    commit = it.commit
    request = commit.request

    return {
        **stamp_columns("commit.begin", it.at),
        **commit.caller.facts,
        "op": asked_operation(request.arg),
        **_asked_columns(request.desc),
        "fence": request.fence,
        "lease_ns": lease_ns(request.lease),
        "slots": commit.wrote,
        "commit": commit.number,
        "expires_ns": wall_time(commit.due_ns, it.at),
        "generation": it.generation,
        "duration_ns": it.at.mono_ns - commit.asked_ns,
    }


def _slot_undone(it: events.SlotUndone, _ended: int) -> Row:
    outcome, caller = it.outcome, it.caller
    row = {
        **stamp_columns("undo", it.at),
        "machine": caller.machine,
        "arch": caller.arch,
        **process_columns(caller.process),
        "handle": caller.handle,
        "slots": list(outcome.slots),
        **desc_columns("before", outcome.before),
        **desc_columns("after", outcome.after),
        "cause": "undo",
        **error_columns(it.error),
        "generation": it.generation,
    }
    if outcome.slots != (it.slot,):
        row["written"] = (it.slot,)

    return row | msr_columns(outcome.msrs) if outcome.msrs else row


_WRITERS: Final[Mapping[type, Callable[[Any, int], Row]]] = {
    events.Attached: _attached,
    events.Detached: _detached,
    events.Opened: _opened,
    events.OpenRefused: _open_refused,
    events.Closed: _closed,
    events.MemoryRead: _read,
    events.MemoryWritten: _written,
    events.RangesRead: _ranges_read,
    events.IoctlRefused: _ioctl_refused,
    events.RangesSet: _ranges_set,
    events.SetRefused: _set_refused,
    events.CommitBegun: _commit_begun,
    events.SlotUndone: _slot_undone,
    **CLAIM_WRITERS,
    **SERVICE_WRITERS,
}
