"""Why an address has its memory type: what changed it, and what was refused on the way."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, get_args

from memhub.abi import LP64, RangeDesc
from memhub.audit.asked import asked_spans
from memhub.audit.failure import AuditError
from memhub.audit.states import desc_facts, time_text
from memhub.core.asked_driver import Plan
from memhub.core.driver import Change, RangeState
from memhub.core.files import Caller, OpenFile, Principal
from memhub.core.hardware_events import HardwareOp
from memhub.core.kernel_health import other_cpus
from memhub.core.slot_extents import extent_of
from memhub.core.transfers import explain
from memhub.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.audit.rebuild import Rebuilder
    from memhub.audit.travel import At, Record, Travel
    from memhub.core.machine import Machine

    Facts = dict[str, Any]

#: How many of the latest steps are kept for each machine.
STEPS_MAX: Final = 1000

#: The records that can change a type, or say that it was not changed.
_EVENTS: Final = frozenset(
    {
        *("device.attach", "device.restore", "held.machine", "held.part"),
        *("request.set", "undo", "kernel.call"),
        *(f"hardware.{op}" for op in get_args(HardwareOp)),
    }
)

_EMPTY: Final = RangeDesc(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Step:
    """One record on the way to an address's type.

    Attributes:
        record: the record, as it is in the log.
        types: the type before and after; the first is None where a machine starts, both are None
            where nothing was changed.
        slots: the slots that changed and that cover the address before or after, each with both
            descriptors; of a machine that starts, all that cover it.
        cpus: the CPUs whose own type changed, beside CPU 0, each with the type before and after.
    """

    record: Record
    types: tuple[str | None, str | None]
    slots: Mapping[int, tuple[RangeDesc, RangeDesc]]
    cpus: Mapping[int, tuple[str | None, str | None]] = field(default_factory=dict)

    def facts(self) -> Facts:
        """The step as JSON."""
        get = self.record.get
        names = ("event", "op", "process", "process_id", "pid", "owner", "base", "length",
                 "attributes", "errno", "reason", "sickness")  # fmt: skip

        return {
            "seq": self.record["seq"],
            "time": time_text(self.record["wall_ns"]),
            **{name: get(name) for name in names},
            "before": self.types[0],
            "after": self.types[1],
            "slots": [
                {"slot": slot, "before": desc_facts(old), "after": desc_facts(new)}
                for slot, (old, new) in self.slots.items()
            ],
            "cpus": [
                {"cpu": cpu, "before": old, "after": new} for cpu, (old, new) in self.cpus.items()
            ],
        }


@dataclass(slots=True)
class Blame:
    """Why an address of one machine has its type at a moment.

    Attributes:
        machine: its name.
        arch: its architecture's name.
        address: the physical address.
        seq: the last record before the moment.
        wall_ns: when that was.
        type: the effective type; None where the machine has none for the address.
        cpus: the CPUs that are out of step with CPU 0 and have another type, each with it.
        why: which descriptor or register decides it, as `explain` says; or why there is no type.
        implementation_defined: the architecture leaves this combination to the CPU.
        steps: what changed the address, and what was refused, from the machine's start or the
            snapshot with which the log begins, oldest first; the latest STEPS_MAX.
        omitted: how many older steps there are.
        note: what the log does not tell, or None.
    """

    machine: str
    arch: str
    address: int
    seq: int = 0
    wall_ns: int = 0
    type: str | None = None
    cpus: dict[int, str] = field(default_factory=dict)
    why: str = ""
    implementation_defined: bool = False
    steps: deque[Step] = field(default_factory=lambda: deque(maxlen=STEPS_MAX))
    omitted: int = 0
    note: str | None = None

    def add(self, step: Step) -> None:
        """Keep one more step."""
        self.omitted += len(self.steps) == STEPS_MAX
        self.steps.append(step)

    def facts(self) -> Facts:
        """The answer as JSON; `note` is there where something is not known."""
        names = ("machine", "arch", "address", "seq", "type", "why", "implementation_defined")
        facts = {
            **{name: getattr(self, name) for name in names},
            "cpus": [{"cpu": cpu, "type": it} for cpu, it in self.cpus.items()],
            "time": time_text(self.wall_ns),
            "steps": [it.facts() for it in self.steps],
            "omitted": self.omitted,
        }

        return facts if self.note is None else facts | {"note": self.note}


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
    with travel.rebuilder() as rebuilder:
        walk = _Walk(travel, rebuilder, address)
        found = walk.found
        for record in travel.records_until(at):
            name = record.get("machine")
            if record["event"] not in _EVENTS or (machine is not None and name != machine):
                travel.apply(rebuilder, record)
            else:
                walk.follow(record)

        walk.settle([*walk.unsettled])
        state = travel.state(rebuilder)
        answers = [found[name] for name in state.machines if name in found]
        if not answers:
            raise AuditError(travel.name, state.without(machine))

        for it in answers:
            it.seq, it.wall_ns = state.seq, state.wall_ns
            it.note = "; ".join(state.notes_on(it.machine)) or None
            _explain(it, rebuilder)

    return answers


@dataclass(slots=True)
class _Walk:
    """The way through a log.

    Attributes:
        travel: the log.
        rebuilder: the machines so far.
        address: the address.
        found: what became of the address, by machine.
        unsettled: the machines of whose holdings records are still to follow: the record that
            announces them, and the range state before it. CPUs out of step are among what follows.
    """

    travel: Travel
    rebuilder: Rebuilder
    address: int
    found: dict[str, Blame] = field(default_factory=dict)
    unsettled: dict[str, tuple[Record, RangeState | None]] = field(default_factory=dict)

    def follow(self, record: Record) -> None:
        """Apply a record, and note it if it concerns the address."""
        name, event, machines = record.get("machine", ""), record["event"], self.rebuilder.machines
        machine = machines.get(name)
        before = None if machine is None or machine.table is None else machine.table.state
        begins = machine is None or event == "device.attach"
        self.travel.apply(self.rebuilder, record)
        machine = machines.get(name)
        if machine is None or (event == "held.machine" and not begins):
            return

        if begins:
            self.found[name] = Blame(name, machine.arch.name, self.address)
            before = None

        if event == "held.part":
            if name not in self.rebuilder.partial:
                self.settle([name] if name in self.unsettled else [])
        elif record.get("count") and name in self.rebuilder.partial:
            self.unsettled[name] = record, before
        else:
            self._note(machine, record, before)

    def settle(self, names: list[str]) -> None:
        """Note the records that announced what machines hold, which is known now."""
        for name in names:
            record, before = self.unsettled.pop(name)
            machine = self.rebuilder.machines.get(name)
            if machine is not None:
                self._note(machine, record, before)

    def _note(self, machine: Machine, record: Record, before: RangeState | None) -> None:
        so_far = self.found[machine.name]
        try:
            refused = record.get("errno") is not None
            step = None
            if not refused or record["event"] == "kernel.call":  # it may have done a part
                step = _change(machine, before, so_far, record)

            if refused and step is None:
                step = _refusal(record, self.address)
        except Exception as error:
            raise self.travel.misfit_of(record, error) from error

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

    if not record["event"].startswith(("hardware.", "kernel.", "device.")):  # change any address
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

    return Step(record, (old, new), changed, turned) if wrong else None


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
