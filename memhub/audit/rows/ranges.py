"""Facts of ranges to rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.abi import (
    FLAG_WORDS,
    MDF_ATTRMASK,
    ME_STATE_INVALID,
    ME_STATE_MAPPED,
    ME_STATE_VALID,
    flag_words,
)
from memhub.audit.rows.columns import (
    DESC_COLUMNS,
    OPERATIONS,
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
from memhub.core.extracted import AddressExtracted
from memhub.core.instant import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from memhub.abi import RangeDesc
    from memhub.core.holding.commits import Commit

    Row = dict[str, Any]

_STATES: Final = {ME_STATE_INVALID: "invalid", ME_STATE_VALID: "valid", ME_STATE_MAPPED: "mapped"}
_ATTRIBUTE_WORDS: Final = {0: (), **{bit: (word,) for bit, word in FLAG_WORDS}}


def desc_columns(side: str, rows: Sequence[RangeDesc]) -> Row:
    """Descriptors as parallel lists: `before_base`, `before_length`, …."""
    base, length, flags, owner = DESC_COLUMNS[side]
    if len(rows) == 1:
        row = rows[0]
        return {
            base: (row.mr_base,),
            length: (row.mr_len,),
            flags: (row.mr_flags,),
            owner: (row.mr_owner.rstrip(b"\0").decode("latin-1"),),
        }

    return {
        base: [row.mr_base for row in rows],
        length: [row.mr_len for row in rows],
        flags: [row.mr_flags for row in rows],
        owner: [label_of(row.mr_owner) for row in rows],
    }


def msr_columns(changed: Mapping[int, tuple[int, int]]) -> Row:
    """Registers that differ, as parallel lists."""
    before, after = zip(*changed.values(), strict=True)

    return {"msrs": list(changed), "before_msr": before, "after_msr": after}


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


def _address_extracted(it: AddressExtracted, ended: int) -> Row:
    return {
        **stamp_columns("request.extract", it.at),
        **it.caller.facts,
        "op": "extract",
        "base": it.address,
        "state": _STATES[it.found.state],
        "physical": it.found.physical or None,
        **error_columns(None),
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
    return commit_row(it.commit, it.generation)


def commit_row(commit: Commit, generation: int) -> Row:
    """The row of the beginning of a commit.

    Args:
        commit: the commit.
        generation: the table's generation.
    """
    request, since = commit.request, commit.since

    return {
        **stamp_columns("commit.begin", since),
        **commit.caller.facts,
        "op": asked_operation(request.arg),
        **_asked_columns(request.desc),
        "fence": request.fence,
        "lease_ns": lease_ns(request.lease),
        "slots": commit.wrote,
        "commit": commit.number,
        "expires_ns": wall_time(commit.due_ns if commit.due_ns < NEVER else None, since),
        "generation": generation,
        "duration_ns": since.mono_ns - commit.asked_ns,
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


#: Writers of these rows, by the kind of fact.
RANGE_WRITERS: Final[Mapping[type, Callable[[Any, int], Row]]] = {
    events.RangesRead: _ranges_read,
    events.IoctlRefused: _ioctl_refused,
    AddressExtracted: _address_extracted,
    events.RangesSet: _ranges_set,
    events.SetRefused: _set_refused,
    events.CommitBegun: _commit_begun,
    events.SlotUndone: _slot_undone,
}
