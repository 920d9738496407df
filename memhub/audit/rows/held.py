"""What machines hold, as rows, both ways: a file of the log that has them can be read by itself.

A `held.machine` row has the machine's table and how many `held.part` rows follow with the rest.
Each of those has a list of one kind as JSON text, of bounded length. A stretch of addresses is
given by its first and its last byte there, since its end may not fit 64 bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from memhub.abi import DATA_MODELS, RangeDesc
from memhub.audit.rows.claims import wait_begun_row
from memhub.audit.rows.columns import (
    instant_of,
    label_of,
    mono_time,
    owner_of,
    process_columns,
    stamp_columns,
    wall_time,
)
from memhub.audit.rows.description import describe_spec
from memhub.audit.rows.files import ACCESS_FLAGS, table_columns
from memhub.audit.rows.hardware import health_in, health_item
from memhub.audit.rows.held_check import check_items
from memhub.audit.rows.ranges import commit_row
from memhub.audit.rows.read import ACCESS, caller_of, set_request_of, wait_of
from memhub.core.claims import Claim, LostClaim
from memhub.core.commits import Commit
from memhub.core.driver import RangeState
from memhub.core.failure import Failure
from memhub.core.files import OpenFile, Principal
from memhub.core.holdings import Holdings, holdings_of
from memhub.core.instant import NEVER
from memhub.core.undo import UndoNotes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from memhub.core.instant import Instant
    from memhub.core.machine import Machine
    from memhub.core.waits import Wait
    from memhub.errors import RangeBusy

    Row = dict[str, Any]
    Item = Mapping[str, Any]

#: Things that one row holds at most.
PART_MAX: Final = 1000

_NUMBERS: Final = ("last_fence", "last_wait", "last_commit")
_MODELS: Final = {model.name: model for model in DATA_MODELS}


def held_rows(machine: Machine, at: Instant) -> list[Row]:
    """A machine as rows: its table, then what it holds.

    Args:
        machine: the machine.
        at: the moment; times of the monotonic clock are written as those of the wall clock then.
    """
    parts, spec, table = part_rows(machine, at), machine.spec, machine.table
    state = None if table is None else table.state
    first = {
        **stamp_columns("held.machine", at),
        **table_columns(machine.name, machine.arch.name, spec.cpu.phys_bits, state),
        "config": describe_spec(spec),
        "generation": machine.generation,
        "count": len(parts),
    }

    return [first, *parts]


def part_rows(machine: Machine, at: Instant) -> list[Row]:
    """What a machine holds beside its table, as `held.part` rows; the numbers are in the last."""
    held = holdings_of(machine)
    numbers = {key: getattr(held, key) for key in _NUMBERS}
    lists: list[tuple[str, list[Row]]] = [
        ("files", [_file_item(it) for it in held.files]),
        ("claims", [_claim_item(it, at) for it in held.claims]),
        ("losses", [_loss_item(it, at) for it in held.losses]),
        ("waits", [wait_begun_row(wait, refusal) for wait, refusal in held.waits]),
        ("commits", [_commit_item(it) for it in held.commits]),
        ("notes", _note_items(held.notes)),
        ("failed", [] if held.failed is None else [held.failed._asdict()]),
        ("health", [] if held.health is None else [health_item(held.health)]),
        ("numbers", [numbers]),
    ]

    return [
        {
            **stamp_columns("held.part", at),
            "machine": machine.name,
            "arch": machine.arch.name,
            "part": part,
            "held": orjson.dumps(some).decode(),
        }
        for part, items in lists
        for some in _slices(items)
    ]


def _slices(items: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for first in range(0, len(items), PART_MAX):
        yield items[first : first + PART_MAX]


def holdings_in(row: Mapping[str, Any], machine: Machine) -> Holdings:
    """What a `held.part` row says that a machine holds.

    Args:
        row: the row.
        machine: the machine with what the rows before gave it.

    Raises:
        KeyError: it has no such part, or a member is missing.
        ValueError: it is not JSON, or a value has the wrong type or is out of range.
    """
    items, at, table = orjson.loads(row["held"]), instant_of(row), machine.table
    check_items(row["part"], items, 0 if table is None else len(table.state.slots))

    return _READERS[row["part"]](items, machine, at)


# Files


def _file_item(file: OpenFile) -> Row:
    caller = file.caller

    return {
        "handle": caller.handle,
        "device": f"/dev/{caller.device}",
        **process_columns(caller.process),
        "flags": ACCESS_FLAGS[file.readable, file.writable],
        "undo": file.undo,
        "model": file.model.name,
        "offset": file.offset,
    }


def _files_in(items: Sequence[Item], machine: Machine, _at: Instant) -> Holdings:
    whose = {"machine": machine.name, "arch": machine.arch.name}

    return Holdings(
        files=tuple(
            OpenFile(
                caller_of({**whose, **it}, machine),
                *ACCESS[it["flags"]],
                it["undo"],
                _MODELS[it["model"]],
                it["offset"],
            )
            for it in items
        )
    )


# Claims


def _principal_in(it: Item) -> Principal:
    return Principal(it["process_id"], it["process"], it["pid"], it["uid"])


def _claim_item(claim: Claim, at: Instant) -> Row:
    return {
        "fence": claim.fence,
        "kind": claim.kind,
        **process_columns(claim.process),
        "base": claim.base,
        "last": claim.end - 1,
        "since_ns": claim.since_ns,
        "expires_ns": wall_time(claim.expires_ns, at),
        "slots": [[slot, base, end - 1] for slot, (base, end) in claim.slots.items()],
    }


def _claims_in(items: Sequence[Item], _machine: Machine, at: Instant) -> Holdings:
    return Holdings(
        claims=tuple(
            Claim(
                it["fence"],
                _principal_in(it),
                it["kind"],
                it["base"],
                it["last"] + 1,
                it["since_ns"],
                mono_time(it["expires_ns"], at),
                {slot: (base, last + 1) for slot, base, last in it["slots"]},
            )
            for it in items
        )
    )


def _loss_item(lost: LostClaim, at: Instant) -> Row:
    return {
        "fence": lost.fence,
        **process_columns(lost.process),
        "base": lost.base,
        "last": lost.end - 1,
        "since_ns": lost.since_ns,
        "lost_ns": wall_time(lost.lost_ns, at),
        "cause": lost.cause,
        "reason": lost.reason,
        "by": None if lost.by is None else process_columns(lost.by),
        "order": lost.order,
    }


def _losses_in(items: Sequence[Item], _machine: Machine, at: Instant) -> Holdings:
    return Holdings(
        losses=tuple(
            LostClaim(
                it["fence"],
                _principal_in(it),
                it["base"],
                it["last"] + 1,
                it["since_ns"],
                at.mono_ns + it["lost_ns"] - at.wall_ns,
                it["cause"],
                it["reason"],
                None if it["by"] is None else _principal_in(it["by"]),
                it["order"],
            )
            for it in items
        )
    )


# Waits and commits


def _waits_in(items: Sequence[Item], machine: Machine, _at: Instant) -> Holdings:
    found: list[tuple[Wait, RangeBusy | None]] = [wait_of(it, machine) for it in items]

    return Holdings(waits=tuple(found))


def _commit_item(commit: Commit) -> Row:
    lo, hi = commit.bounds

    return {
        **commit_row(commit, 0),
        "asked_ns": commit.asked_ns,
        "after": [[slot, *_desc_item(desc)] for slot, desc in commit.after.items()],
        "bounds": [lo, hi - 1],
    }


def _commits_in(items: Sequence[Item], machine: Machine, _at: Instant) -> Holdings:
    return Holdings(commits=tuple(_commit_in(it, machine) for it in items))


def _commit_in(it: Item, machine: Machine) -> Commit:
    caller, since, (lo, last) = caller_of(it, machine), instant_of(it), it["bounds"]
    due = mono_time(it["expires_ns"], since)

    return Commit(
        it["commit"],
        caller,
        set_request_of(it, caller),
        tuple(it["slots"]),
        {slot: _desc_in(desc) for slot, *desc in it["after"]},
        (lo, last + 1),
        since,
        it["asked_ns"],
        NEVER if due is None else due,
    )


# Undo notes


def _note_items(notes: UndoNotes | None) -> list[Row]:
    """Each process's notes; a state that several slots share is written once."""
    items = []
    for process, kept in (notes.before if notes is not None else {}).items():
        states: dict[int, RangeState] = {id(state): state for state in kept.values()}
        index = {key: number for number, key in enumerate(states)}
        items.append(
            {
                "process_id": process,
                "slots": [[slot, index[id(state)]] for slot, state in kept.items()],
                "states": [_state_item(state) for state in states.values()],
            }
        )

    return items


def _notes_in(items: Sequence[Item], machine: Machine, _at: Instant) -> Holdings:
    before = dict(machine.notes.before)
    for it in items:
        states = [_state_in(state) for state in it["states"]]
        before[it["process_id"]] = {slot: states[number] for slot, number in it["slots"]}

    return Holdings(notes=UndoNotes(before))


def _state_item(state: RangeState) -> Row:
    return {
        "slots": [_desc_item(desc) for desc in state.slots],
        "msrs": [[number, value] for number, value in state.msrs.items()],
    }


def _state_in(it: Item) -> RangeState:
    return RangeState(tuple(map(_desc_in, it["slots"])), dict(it["msrs"]))


def _desc_item(desc: RangeDesc) -> list[Any]:
    return [desc.mr_base, desc.mr_len, desc.mr_flags, label_of(desc.mr_owner)]


def _desc_in(it: Sequence[Any]) -> RangeDesc:
    base, length, flags, owner = it

    return RangeDesc(base, length, flags, owner_of(owner))


def _numbers_in(items: Sequence[Item], _machine: Machine, _at: Instant) -> Holdings:
    (numbers,) = items

    return Holdings(**{key: numbers[key] for key in _NUMBERS})


def _failed_in(items: Sequence[Item], _machine: Machine, _at: Instant) -> Holdings:
    (it,) = items

    return Holdings(failed=Failure(it["reason"], it["failures"], it["since_ns"]))


_READERS: Final[Mapping[str, Callable[[Sequence[Item], Machine, Instant], Holdings]]] = {
    "files": _files_in,
    "claims": _claims_in,
    "losses": _losses_in,
    "waits": _waits_in,
    "commits": _commits_in,
    "notes": _notes_in,
    "failed": _failed_in,
    "health": health_in,
    "numbers": _numbers_in,
}
