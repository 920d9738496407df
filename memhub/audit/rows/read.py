"""Rows to facts, given the machine as it was before them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from memhub.abi import DATA_MODELS, MEMRANGE_SET_REMOVE, MEMRANGE_SET_UPDATE, Errno, RangeDesc
from memhub.audit.rows.columns import descs_of, instant_of, mono_time, msrs_of, owner_of
from memhub.audit.rows.description import spec_of
from memhub.audit.rows.hardware import HARDWARE_READERS
from memhub.audit.rows.kernels import read_call
from memhub.core import events
from memhub.core.asking.asked_driver import Plan
from memhub.core.claims import ClaimChange
from memhub.core.deciding.claim_requests import claim_event, ended_event, lost_event
from memhub.core.deciding.open_close import closed_event
from memhub.core.deciding.ownership import release_inside
from memhub.core.deciding.set_ranges import make_commit, set_event
from memhub.core.drivers.driver import Change, RangeState
from memhub.core.files import DEVICES, Caller, OpenFile, Principal
from memhub.core.health.failure import Failure, MachineFailed
from memhub.core.holding.waits import Wait
from memhub.core.instant import NEVER
from memhub.core.machine import Machine
from memhub.core.replies import SetOutcome
from memhub.core.requests import AwaitFree, ClaimRange, SetRange
from memhub.errors import DeviceError, Obstacle, RangeBusy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.core.drivers.driver import Arch

    Row = Mapping[str, Any]

_ARGS: Final = {"update": MEMRANGE_SET_UPDATE, "remove": MEMRANGE_SET_REMOVE}
ACCESS: Final = {0: (True, False), 1: (False, True), 2: (True, True)}
_MODELS: Final = {model.name: model for model in DATA_MODELS}


def machine_of(row: Row, arches: Mapping[str, Arch]) -> Machine:
    """The machine that a `device.attach` row starts.

    Args:
        row: the row.
        arches: architectures by name.

    Raises:
        KeyError: its architecture is not among them.
    """
    msrs = dict(zip(row.get("msrs", ()), row.get("after_msr", ()), strict=True))
    spec = spec_of(row["machine"], row["arch"], row["config"], msrs)
    machine = Machine.make(spec, arches[spec.arch])
    if machine.table is not None:
        machine.table.start_as(RangeState(descs_of("after", row), msrs), row["generation"])

    return machine


def event_of(row: Row, machine: Machine) -> events.Event | None:
    """The fact of a row.

    Args:
        row: the row.
        machine: the machine that it is about, before the fact.

    Returns:
        the fact; None for a row that changes nothing.
    """
    reader = _READERS.get(row["event"])
    return None if reader is None else reader(row, machine)


def caller_of(row: Row, machine: Machine) -> Caller:
    """Who asked, and through which open file; one file has one Caller."""
    file = machine.files.files.get(row["handle"])
    if file is not None:
        return file.caller

    who = Principal(row["process_id"], row["process"], row["pid"], row["uid"])
    device = DEVICES[row["device"]]

    return Caller(row["machine"], row["arch"], device, who, row["handle"])


def _error(row: Row) -> DeviceError:
    return DeviceError(row["reason"] or "", code=Errno[row["errno"]])


def _asked(row: Row) -> RangeDesc:
    return RangeDesc(row["base"], row["length"], row["flags"], owner_of(row["owner"]))


def _arg(row: Row) -> int:
    op: str = row["op"]

    return _ARGS[op] if op in _ARGS else int(op.removeprefix("arg "))


def _began(row: Row) -> int:
    began: int = row["mono_ns"] - row["duration_ns"]

    return began


def _failed(row: Row, machine: Machine) -> events.Event:
    at = instant_of(row)
    failure = Failure(row["reason"], row["count"], at.wall_ns)

    return MachineFailed(machine.name, machine.arch.name, at, row["generation"], failure)


# Files


def _opened(row: Row, machine: Machine) -> events.Event | None:
    if row["errno"] is not None:
        return None

    readable, writable = ACCESS[row["flags"]]
    caller = caller_of(row, machine)
    file = OpenFile(caller, readable, writable, row["undo"], _MODELS[row["model"]])
    notes = (machine.notes, machine.notes.watch(caller.process.id)) if file.undo else None

    return events.Opened(file, instant_of(row), notes)


def _closed(row: Row, machine: Machine) -> events.Event:
    return closed_event(machine, machine.files[row["handle"]], row["cause"], instant_of(row))


def _read(row: Row, machine: Machine) -> events.Event:
    error = None if row["errno"] is None else _error(row)
    base, length = row["base"] or 0, row["length"] or 0
    at, began = instant_of(row), _began(row)
    caller, op, moved = caller_of(row, machine), row["op"], row["moved"]

    return events.MemoryRead(caller, at, began, op, base, length, moved, error)


def _written(row: Row, machine: Machine) -> events.Event:
    error = None if row["errno"] is None else _error(row)
    base, length = row["base"] or 0, row["length"] or 0
    at, began = instant_of(row), _began(row)
    caller, op, moved = caller_of(row, machine), row["op"], row["moved"]

    return events.MemoryWritten(caller, at, began, op, base, length, moved, error)


# Ranges


def _set(row: Row, machine: Machine) -> events.Event:
    number = row.get("commit")
    commit = None if number is None else machine.commits.commits[number]
    caller = caller_of(row, machine)
    at, began, arg = instant_of(row), _began(row), _arg(row)
    if row["errno"] is None:
        request = SetRange(caller.handle, arg, _asked(row))
        plan = plan_of(row, machine)
        expires = mono_time(row["expires_ns"], at)

        return set_event(machine, caller, request, plan, at, began, expires, commit)

    told = None
    if row.get("claim") is not None:
        told = machine.claims.lost[caller.process.id][row["claim"]]

    desc, error = _asked(row), _error(row)

    return events.SetRefused(caller, at, began, arg, desc, row["generation"], error, told, commit)


def plan_of(row: Row, machine: Machine) -> Plan:
    """What a row says that a table became.

    Args:
        row: a `request.set` or `undo` that succeeded.
        machine: the machine before it.
    """
    before = machine.require_table().state
    slots = dict(zip(row["slots"], descs_of("after", row), strict=True))
    changed = {slot: desc for slot, desc in slots.items() if before.slots[slot] != desc}
    msrs = {number: new for number, (_, new) in msrs_of(row).items()}
    change = Change(tuple(row.get("written", row["slots"])), changed, msrs)

    return Plan(change, before, before.apply(change))


def set_request_of(row: Row, caller: Caller) -> SetRange:
    """The MEMRANGE_SET that waits or is being committed."""
    lease = _seconds(row["lease_ns"])

    return SetRange(caller.handle, _arg(row), _asked(row), row["fence"], lease)


def _commit(row: Row, machine: Machine) -> events.Event:
    caller, at = caller_of(row, machine), instant_of(row)
    commit = make_commit(machine, caller, set_request_of(row, caller), at, _began(row))
    if row["expires_ns"] is None:  # a fault rule let it hang
        commit = replace(commit, due_ns=NEVER)

    return events.CommitBegun(commit, at, row["generation"])


def _seconds(lease_ns: int | None) -> float | None:
    return None if lease_ns is None else lease_ns / 1e9


def _undone(row: Row, machine: Machine) -> events.Event:
    caller = machine.files[row["handle"]].caller
    (slot,) = row.get("written", row["slots"])
    error = None if row["errno"] is None else _error(row)
    plan = plan_of(row, machine)
    rows = descs_of("before", row), descs_of("after", row)
    outcome = SetOutcome(tuple(row["slots"]), *rows, msrs_of(row))
    holder = machine.claims.holder(slot)
    claims: tuple[ClaimChange, ...] = ()
    if error is None and holder is not None:
        claims = (ClaimChange(holder, holder.without_slots((slot,))),)

    states = (plan.before, plan.after)

    return events.SlotUndone(
        caller, instant_of(row), slot, outcome, states, row["generation"], claims, error
    )


# Claims


def _taken(row: Row, machine: Machine) -> events.Event | None:
    if row["errno"] is not None:
        return None

    at, base = instant_of(row), row["base"]
    bounds = (base, base + row["length"])
    expires = mono_time(row["expires_ns"], at)

    return claim_event(machine, caller_of(row, machine), bounds, expires, at, _began(row))


def _renewed(row: Row, machine: Machine) -> events.Event | None:
    if row["errno"] is not None:
        return None

    at, claim = instant_of(row), machine.claims.claims[row["fence"]]
    change = ClaimChange(claim, claim.with_lease(mono_time(row["expires_ns"], at)))

    return events.ClaimRenewed(caller_of(row, machine), at, row["generation"], (change,))


def _released(row: Row, machine: Machine) -> events.Event | None:
    if row.get("errno") is not None:
        return None

    if row["cause"] not in ("request", "fence"):
        return _ended(row, machine)

    caller, base, named = caller_of(row, machine), row["base"], row["cause"] == "fence"
    end, fence = base + row["length"], row["fence"] if named else None
    slots, changes = release_inside(machine.claims, caller.process, base, end, fence)
    at, length, generation = instant_of(row), row["length"], row["generation"]

    return events.ClaimsReleased(caller, at, base, length, generation, slots, changes, named)


def _ended(row: Row, machine: Machine) -> events.Event:
    return ended_event(machine, machine.claims.claims[row["fence"]], row["cause"], instant_of(row))


def _expired(row: Row, machine: Machine) -> events.Event:
    claim = machine.claims.claims[row["fence"]]

    return lost_event(machine, claim, "expire", instant_of(row))


def _broken(row: Row, machine: Machine) -> events.Event:
    claim = machine.claims.claims[row["fence"]]
    by = None
    if row.get("holder_id") is not None:
        by = Principal(row["holder_id"], row["holder"])

    return lost_event(machine, claim, "break", instant_of(row), row["reason"], by)


# Waits


def _wait_begun(row: Row, machine: Machine) -> events.Event:
    wait, refusal = wait_of(row, machine)

    return events.WaitBegun(wait, wait.since, row["generation"], refusal)


def wait_of(row: Row, machine: Machine) -> tuple[Wait, RangeBusy]:
    """A wait, and what it was told when it began."""
    caller, at = caller_of(row, machine), instant_of(row)
    base, end = row["base"], row["base"] + row["length"]
    request, deadline = _request(row, caller), mono_time(row["expires_ns"], at)
    obstacles: tuple[Obstacle, ...] = ()
    if row.get("holder") is not None:
        obstacles = (Obstacle(kind="claim", process=row["holder"], process_id=row["holder_id"]),)

    refusal = RangeBusy(row["reason"], obstacles=obstacles)

    return Wait(row["wait"], caller, request, base, end, at, deadline), refusal


def _request(row: Row, caller: Caller) -> SetRange | ClaimRange | AwaitFree:
    handle, base, length = caller.handle, row["base"], row["length"]
    if row["op"] == "wait":
        return AwaitFree(handle, base, length)

    if row["op"] == "claim":
        return ClaimRange(handle, base, length, _seconds(row["lease_ns"]))

    return set_request_of(row, caller)


def _wait_ended(row: Row, machine: Machine) -> events.Event:
    wait = machine.waits.waits[row["wait"]]
    error = None if row["errno"] is None else _error(row)
    holder = (row["holder"], row["holder_id"])

    return events.WaitEnded(wait, instant_of(row), row["generation"], row["cause"], error, holder)


_READERS: Final[Mapping[str, Callable[[Row, Machine], events.Event | None]]] = {
    "device.fail": _failed,
    **HARDWARE_READERS,
    "kernel.call": lambda row, machine: read_call(row, machine, caller_of),
    "request.open": _opened,
    "request.close": _closed,
    "request.read": _read,
    "request.write": _written,
    "request.set": _set,
    "commit.begin": _commit,
    "undo": _undone,
    "claim.take": _taken,
    "claim.renew": _renewed,
    "claim.release": _released,
    "claim.expire": _expired,
    "claim.break": _broken,
    "wait.begin": _wait_begun,
    "wait.end": _wait_ended,
}
