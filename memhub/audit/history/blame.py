"""Why an address has its memory type: what changed it, and what was refused on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, get_args

from memhub.abi import LP64, RangeDesc
from memhub.audit.failure import AuditError
from memhub.audit.history.blame_steps import Blame as Blame
from memhub.audit.history.blame_steps import Step as Step
from memhub.audit.history.blame_steps import is_of_hardware
from memhub.audit.reading.asked import asked_spans
from memhub.core.asking.asked_driver import Plan
from memhub.core.deciding.kernel_health import other_cpus
from memhub.core.deciding.transfers import explain
from memhub.core.drivers.driver import Change, RangeState
from memhub.core.files import Caller, OpenFile, Principal
from memhub.core.health.hardware_events import HardwareOp
from memhub.core.ranges.slot_extents import extent_of
from memhub.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from memhub.audit.history.rebuild import Rebuilder
    from memhub.audit.history.travel import At, Record, Travel
    from memhub.core.machine import Machine

#: The records that can change a type, or say that it was not changed.
_EVENTS: Final = frozenset(
    {
        *("device.attach", "device.restore", "held.machine", "request.set", "undo", "kernel.call"),
        *(f"hardware.{op}" for op in get_args(HardwareOp)),
    }
)

_EMPTY: Final = RangeDesc(0, 0, 0)


def blame(travel: Travel, address: int, at: At = None, machine: str | None = None) -> list[Blame]:
    """Why an address has its type at a moment, on each machine.

    Args:
        travel: the log to read.
        address: a physical address.
        at: the moment, as for `state_at`.
        machine: only this machine.

    Returns:
        an answer for each machine that there is at the moment.

    Raises:
        DamagedLog: the chain breaks before the moment.
        AuditError: the log cannot be read up to there, does not reach there, or has no such machine
            then.
    """
    found: dict[str, Blame] = {}
    with travel.rebuilder() as rebuilder:
        for record in travel.records_until(at):
            name = record.get("machine")
            if record["event"] not in _EVENTS or (machine is not None and name != machine):
                travel.apply(rebuilder, record)
            else:
                _step(travel, rebuilder, record, address, found)

            if name in found and name not in rebuilder.partial:
                _end_restore(travel, rebuilder, found[name])

        for it in found.values():
            _end_restore(travel, rebuilder, it)

        state = travel.state(rebuilder)
        answers = [found[name] for name in state.machines if name in found]
        if not answers:
            raise AuditError(travel.name, state.without(machine))

        for it in answers:
            it.seq, it.wall_ns = state.seq, state.wall_ns
            it.note = "; ".join(state.notes_on(it.machine)) or None
            _explain(it, rebuilder)

    return answers


def _step(
    travel: Travel, rebuilder: Rebuilder, record: Record, address: int, found: dict[str, Blame]
) -> None:
    """Apply a record, and note it if it concerns the address."""
    name = record.get("machine", "")
    machine = rebuilder.machines.get(name)
    before = None if machine is None or machine.table is None else machine.table.state
    begins = machine is None or record["event"] == "device.attach"
    travel.apply(rebuilder, record)
    machine = rebuilder.machines.get(name)
    if machine is None or (record["event"] == "held.machine" and not begins):
        return

    if begins:
        found[name] = Blame(name, machine.arch.name, address)
        before = None

    if record.get("count") and name in rebuilder.partial:
        found[name].restore = (record, before)
        return

    try:
        refused, step = record.get("errno") is not None, None
        if not refused or record["event"] == "kernel.call":  # it may have done a part
            step = _change(machine, before, found[name], record)

        if refused and step is None:
            step = _refusal(record, address)
    except Exception as error:
        raise travel.misfit_of(record, error) from error

    if step is not None:
        found[name].add(step)


def _end_restore(travel: Travel, rebuilder: Rebuilder, so_far: Blame) -> None:
    """Note a restore once all that the machine held is known: it is in the records behind it."""
    machine = rebuilder.machines.get(so_far.machine)
    if so_far.restore is None or machine is None:
        return

    (record, before), so_far.restore = so_far.restore, None
    try:
        step = _change(machine, before, so_far, record)
    except Exception as error:
        raise travel.misfit_of(record, error) from error

    if step is not None:
        so_far.add(step)


def _refusal(record: Record, address: int) -> Step | None:
    if record["event"] == "undo":
        spans = [*zip(*(record.get(f"before_{it}", ()) for it in ("base", "length")), strict=False)]
    else:
        spans = asked_spans(record)

    touches = any(base <= address < base + max(length, 1) for base, length in spans)

    return Step(record, (None, None), {}) if touches else None


def _change(
    machine: Machine, before: RangeState | None, so_far: Blame, record: Record
) -> Step | None:
    table, address = machine.table, so_far.address
    if table is None:
        return None

    after = table.state
    if before is None:
        covering = {
            slot: (_EMPTY, desc)
            for slot, desc in enumerate(after.slots)
            if address in extent_of(table, slot)
        }
        so_far.type = table.types.at(address)
        so_far.cpus = _types_of_cpus(machine, address)

        return Step(record, (None, so_far.type), covering, _changed_cpus({}, so_far.cpus, None))

    old, cpus = so_far.type, so_far.cpus
    if record["event"] == "kernel.call":
        slots = _slots_between(before, after)
    else:
        slots = record.get("slots", ())

    whole = ("hardware.", "kernel.", "device.")
    if not record["event"].startswith(whole):  # which may change any address
        lo, hi = table.driver.bounds(Plan(Change(()), before, after), slots)
        if not lo <= address < hi:
            return None

    new = so_far.type = table.types.at(address)
    so_far.cpus = _types_of_cpus(machine, address)
    turned = _changed_cpus(cpus, so_far.cpus, (old, new))
    pairs = {slot: (before.slots[slot], after.slots[slot]) for slot in slots}
    changed = {
        slot: pair
        for slot, pair in pairs.items()
        if pair[0] != pair[1] and any(it.mr_base <= address < it.mr_end for it in pair)
    }

    wrong = changed or turned or old != new
    sickness = _sicknesses(so_far, record)

    return Step(record, (old, new), changed, turned, sickness) if wrong else None


def _sicknesses(so_far: Blame, record: Record) -> Sequence[str] | None:
    """Those that a record names; a call of the hardware's is with the record before it."""
    if record["event"].startswith("hardware."):
        so_far.hardware = record

    before = so_far.hardware
    if before is not None and is_of_hardware(record) and before["seq"] + 1 == record["seq"]:
        record = before

    return record.get("sickness")


def _types_of_cpus(machine: Machine, address: int) -> dict[int, str]:
    """The CPUs whose registers give an address another type than those of CPU 0, with it."""
    table = machine.table
    if table is None:
        return {}

    state = table.state
    found: dict[int, str] = {}
    for cpu, msrs in other_cpus(machine).items():
        own = RangeState(state.slots, msrs)
        found[cpu] = table.driver.types(own).at(address)

    return {cpu: it for cpu, it in found.items() if it != table.types.at(address)}


def _changed_cpus(
    before: Mapping[int, str],
    after: Mapping[int, str],
    first: tuple[str | None, str | None] | None,
) -> dict[int, tuple[str | None, str | None]]:
    """The CPUs whose type changed otherwise than that of CPU 0, which is `first`."""
    old, new = first or (None, None)
    pairs = {cpu: (before.get(cpu, old), after.get(cpu, new)) for cpu in {**before, **after}}

    return {cpu: it for cpu, it in pairs.items() if it[0] != it[1] and it != first}


def _slots_between(before: RangeState, after: RangeState) -> list[int]:
    """The slots in which two states differ; a call to another kernel names none."""
    pairs = zip(before.slots, after.slots, strict=True)

    return [slot for slot, (old, new) in enumerate(pairs) if old != new]


def _explain(answer: Blame, rebuilder: Rebuilder) -> None:
    """Say what the type is, as a client that asks `explain` is told."""
    name = answer.machine
    caller = Caller(name, answer.arch, "mem", Principal(0, "audit"), 0)
    file = OpenFile(caller, readable=True, writable=False, undo=False, model=LP64)
    try:
        told = explain(rebuilder.machines[name], file, answer.address)
    except DeviceError as error:
        answer.type, answer.why = None, error.reason
    else:
        answer.type, answer.why = told.type, told.why
        answer.implementation_defined = told.implementation_defined
