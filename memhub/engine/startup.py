"""Machines from their descriptions, and the records of their start and end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from memhub.arches import load_arches
from memhub.arguments import take_kind, take_text
from memhub.audit import AuditLog
from memhub.audit.rows.description import describe_spec
from memhub.clock import Clock
from memhub.core import events
from memhub.core.deciding.kernel_files import boot_fact
from memhub.core.deciding.restoring import tell_fork
from memhub.core.machine import Machine
from memhub.core.memory.placed import DeviceRefused
from memhub.core.ranges.firmware import settle_firmware
from memhub.core.ranges.range_table import TableState
from memhub.core.served import go_on_at
from memhub.core.spec import MachineSpec
from memhub.core.spec_rules import checked_spec, machine_name
from memhub.device_kinds import DeviceBook, place_devices
from memhub.engine.engine import Engine
from memhub.escape import escape_controls

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memhub.core.drivers.driver import Arch
    from memhub.core.instant import Instant


def make_engine(
    specs: Iterable[MachineSpec],
    default: str | None,
    arches: Mapping[str, Arch] | None,
    log: AuditLog | None,
    clock: Clock,
    tables: Mapping[str, TableState] | None = None,
    device_kinds: DeviceBook | None = None,
) -> Engine:
    """Make the machines that some descriptions describe, and the engine that serves them.

    Args:
        specs: the machines.
        default: the machine that a bare `/dev/mem` means; the first if None.
        arches: architectures by name; None loads those that are installed.
        log: an open audit log, or None.
        clock: where time comes from.
        tables: what machines begin with instead of what firmware left, by name.
        device_kinds: the kinds of devices; None loads those that are installed.

    Raises:
        ValueError: there is no machine, two have one name, the default is not one of them, a
            machine's description contradicts itself, or a table is of no machine or not one
            of its machine's.
        ArchNotInstalled: a machine names an architecture that no plugin provides.
        TypeError: an argument has the wrong type.
        OptionError: an option of an architecture is wrong.
    """
    known = load_arches() if arches is None else arches
    machines: dict[str, Machine] = {}
    folded: dict[str, str] = {}
    started = {} if tables is None else tables
    _check_tables(started)
    for spec in specs:
        take_kind("machine", spec, MachineSpec)
        try:
            name = machine_name(spec.name, folded)
        except ValueError as error:
            raise ValueError(f"machine {spec.name!r}: {error}") from None

        if name in machines:
            raise ValueError(f"two machines are named {name!r}")

        arch = known[take_text(f"machine {name!r}: arch", spec.arch)]
        machines[name] = make_machine(checked_spec(spec, arch), arch, device_kinds)
        if name in started:
            _begin_at(machines[name], started[name])

    if not machines:
        raise ValueError("a hub needs at least one machine")

    for name in started:
        if name not in machines:
            raise ValueError(f"the table of {name!r} is of none of the machines {sorted(machines)}")

    first = next(iter(machines)) if default is None else take_text("default", default)
    if first not in machines:
        raise ValueError(f"the default machine {first!r} is not among {sorted(machines)}")

    if log is not None:
        take_kind("log", log, AuditLog)

    take_kind("clock", clock, Clock)

    return Engine(machines, first, clock, log)


def make_machine(spec: MachineSpec, arch: Arch, device_kinds: DeviceBook | None = None) -> Machine:
    """Make a machine, with its devices.

    Args:
        spec: a checked description.
        arch: its architecture.
        device_kinds: the kinds of devices; None loads those that are installed.

    Raises:
        ValueError: a device, or the memory map, contradicts itself.
        OptionError: an option of the architecture is wrong.
    """
    spec = settle_firmware(spec, arch)
    try:
        spec, devices = place_devices(spec, device_kinds)
        return Machine.make(spec, arch, devices)
    except ValueError as error:
        if type(error) is not ValueError and not isinstance(error, DeviceRefused):
            raise

        raise ValueError(f"machine {spec.name!r}: {escape_controls(str(error))}") from error


def _check_tables(tables: Mapping[str, TableState]) -> None:
    take_kind("tables", tables, Mapping)
    for name, table in tables.items():
        take_kind(f"tables: the table of {take_text('tables: name', name)!r}", table, TableState)


def _begin_at(machine: Machine, start: TableState) -> None:
    if machine.table is None:
        raise ValueError(f"machine {machine.name!r} has no ranges to begin with")

    try:
        machine.table.begin_at(start)
        if machine.served is not None:
            go_on_at(machine.served, start)
    except ValueError as error:
        raise ValueError(f"machine {machine.name!r}: {error}") from None


def record_starts(engine: Engine) -> None:
    """Record every machine's whole table and registers, from which the log can rebuild them."""
    now = engine.now()
    engine.note(*(attached_event(machine, now) for machine in engine.machines.values()))
    for machine in engine.machines.values():
        if machine.served is not None:
            engine.note(boot_fact(machine, now))

        if machine.files.files or machine.failed or machine.health:  # it was forked
            engine.note(*tell_fork(machine, now))


def record_ends(engine: Engine) -> None:
    """Record that every machine is taken away."""
    now = engine.now()
    engine.note(
        *(
            events.Detached(it.name, it.arch.name, now, it.generation)
            for it in engine.machines.values()
        )
    )


def attached_event(machine: Machine, now: Instant) -> events.Attached:
    """The fact that a machine starts."""
    spec, table = machine.spec, machine.table
    state = table.state if table is not None else None

    return events.Attached(
        spec.name,
        machine.arch.name,
        now,
        spec.cpu.phys_bits,
        state,
        describe_spec(spec),
        machine.generation,
    )
