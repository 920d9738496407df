"""The machines of a hub: made of their descriptions, recorded as they start and end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from memhub.audit import records
from memhub.core.machine import Machine
from memhub.dispatch.context import Context
from memhub.journal import Journal
from memhub.plugin.loader import load_arches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from memhub.audit import AuditLog
    from memhub.clock import Clock
    from memhub.core.driver import Arch
    from memhub.core.spec import MachineSpec


def assemble(
    specs: Iterable[MachineSpec],
    default: str | None,
    arches: Mapping[str, Arch] | None,
    log: AuditLog | None,
    clock: Clock,
) -> Context:
    """Make the machines that some descriptions describe.

    Args:
        specs: the machines.
        default: the machine that a bare `/dev/mem` means; the first if None.
        arches: architectures by name; None loads those that are installed.
        log: an open audit log, or None.
        clock: where time comes from.

    Raises:
        ValueError: there is no machine, two have one name, the default is none of them, or a
            machine's description contradicts itself.
        ArchNotInstalled: a machine names an architecture that no plugin provides.
        OptionError: an option of an architecture is wrong.
    """
    known = load_arches() if arches is None else arches
    machines: dict[str, Machine] = {}
    for spec in specs:
        if spec.name in machines:
            raise ValueError(f"two machines are named {spec.name!r}")

        machines[spec.name] = Machine(spec, known[spec.arch])

    if not machines:
        raise ValueError("a hub needs at least one machine")

    first = next(iter(machines)) if default is None else default
    if first not in machines:
        raise ValueError(f"the default machine {first!r} is not among {sorted(machines)}")

    return Context(machines, first, Journal(log), clock)


def record_starts(context: Context) -> None:
    """Record every machine's whole table and registers, from which the log can rebuild them."""
    if not context.journal.active:
        return

    now = context.clock.now()
    with context.journal.batch():
        for machine in context.machines.values():
            table = machine.ranges.table
            state = table.state if table is not None else None
            context.journal.note(records.attach(machine, now, state, describe(machine.spec)))


def record_ends(context: Context) -> None:
    """Record that every machine is taken away."""
    if not context.journal.active:
        return

    now = context.clock.now()
    with context.journal.batch():
        for machine in context.machines.values():
            context.journal.note(records.detach(machine, now, machine.generation))


def describe(spec: MachineSpec) -> str:
    """A machine's description as JSON text, for the log."""
    fields: dict[str, Callable[[], Any]] = {
        "cpu": lambda: {
            "vendor": spec.cpu.vendor,
            "signature": spec.cpu.signature,
            "phys_bits": spec.cpu.phys_bits,
            "mtrr": spec.cpu.mtrr,
        },
        "options": lambda: dict(spec.options),
        "memory": lambda: [[r.base, r.length, r.kind] for r in spec.memory],
        "kmem": lambda: [[m.virtual, m.physical, m.length, m.writable] for m in spec.kmem],
        "securelevel": lambda: spec.securelevel,
        "wp_writes": lambda: spec.wp_writes,
    }

    return orjson.dumps({name: value() for name, value in fields.items()}).decode()
