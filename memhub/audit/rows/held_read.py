"""Rows of what a machine holds, back to values; see `held`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from memhub.abi import DATA_MODELS, RangeDesc
from memhub.audit.rows.columns import instant_of, mono_time, owner_of
from memhub.audit.rows.hardware import health_in
from memhub.audit.rows.held_check import check_items
from memhub.audit.rows.kernels import kernel_in
from memhub.audit.rows.read import ACCESS, caller_of, set_request_of, wait_of
from memhub.core.claims import Claim, LostClaim
from memhub.core.drivers.driver import RangeState
from memhub.core.files import OpenFile, Principal
from memhub.core.health.failure import Failure
from memhub.core.holding.commits import Commit
from memhub.core.holdings import Holdings
from memhub.core.instant import NEVER
from memhub.core.ranges.undo import UndoNotes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from memhub.core.holding.waits import Wait
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine
    from memhub.errors import RangeBusy

    Item = Mapping[str, Any]

_NUMBERS: Final = ("last_fence", "last_wait", "last_commit")
_MODELS: Final = {model.name: model for model in DATA_MODELS}


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


def _principal_in(it: Item) -> Principal:
    return Principal(it["process_id"], it["process"], it["pid"], it["uid"])


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


def _waits_in(items: Sequence[Item], machine: Machine, _at: Instant) -> Holdings:
    found: list[tuple[Wait, RangeBusy | None]] = [wait_of(it, machine) for it in items]

    return Holdings(waits=tuple(found))


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


def _notes_in(items: Sequence[Item], machine: Machine, _at: Instant) -> Holdings:
    before = dict(machine.notes.before)
    for it in items:
        states = [_state_in(state) for state in it["states"]]
        before[it["process_id"]] = {slot: states[number] for slot, number in it["slots"]}

    return Holdings(notes=UndoNotes(before))


def _state_in(it: Item) -> RangeState:
    return RangeState(tuple(map(_desc_in, it["slots"])), dict(it["msrs"]))


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
    "kernel": kernel_in,
    "numbers": _numbers_in,
}
