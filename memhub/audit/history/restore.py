"""What machines were where a log ends, to go on from there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from memhub.audit.failure import AuditError
from memhub.audit.history.travel import Travel
from memhub.core.deciding.decide import decide
from memhub.core.instant import Instant
from memhub.core.ranges.range_table import TableState
from memhub.core.requests import Close

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from memhub.audit.history.travel import At
    from memhub.audit.seals.note_keys import VerifierKey
    from memhub.core.drivers.driver import Arch
    from memhub.core.machine import Machine
    from memhub.core.spec import MachineSpec


class RestoredMachine(NamedTuple):
    """A machine as a log leaves it.

    Attributes:
        spec: what it is made of, as the log describes it; the bytes of its memory are not there.
        table: its slots, registers and generation; None where it has no range operations.
    """

    spec: MachineSpec
    table: TableState | None


class Restored(NamedTuple):
    """The machines of a log at a moment, without whoever used them.

    Attributes:
        seq: the last record before the moment.
        machines: the machines by name.
        notes: what should be known of the log, in words.
    """

    seq: int
    machines: Mapping[str, RestoredMachine]
    notes: tuple[str, ...] = ()


def restore_machines(
    path: str | os.PathLike[str],
    at: At = None,
    *,
    arches: Mapping[str, Arch] | None = None,
    progress: Callable[[int, int], None] | None = None,
    keys: Sequence[VerifierKey] = (),
) -> Restored:
    """Find what each machine of a log is to begin with, to go on where the log ended.

    Those who used the machines are gone: every open file is closed, as at the end of a process.
    So claims end, and slots that were changed "undo on close" are put back. A machine that was
    taken away in order, as at the end of a service, is as it was then.

    Args:
        path: a file or a folder of segments.
        at: the moment; None for the end of the log.
        arches: architectures by name; None loads those that are installed.
        progress: called with the bytes done and the bytes in all.
        keys: as of `Travel`.

    Returns:
        the machines.

    Raises:
        DamagedLog: the chain breaks before the moment.
        AuditError: the log cannot be read up to there, or has no machine there.
    """
    travel = Travel(path, arches, progress=progress, keys=keys)
    ended: dict[str, Machine] = {}
    seq, now = 0, Instant(0, 0)
    with travel.rebuilder() as rebuilder:
        try:
            for record in travel.records_until(at, shortly=True):
                name = record.get("machine", "")
                seq, now = record["seq"], Instant(record["wall_ns"], record["mono_ns"])
                if record["event"] == "device.detach" and name in rebuilder.machines:
                    ended[name] = rebuilder.machines.pop(name)
                    continue

                if record["event"] == "device.attach" and name in ended:
                    ended.pop(name).close()

                travel.apply(rebuilder, record)

            machines = {**ended, **rebuilder.machines}
            found = {name: _without_users(it, now) for name, it in machines.items()}
        finally:
            for machine in ended.values():
                machine.close()

    if not found:
        raise AuditError(travel.name, f"there is no machine up to record {seq}")

    return Restored(seq, found, travel.notes)


def _without_users(machine: Machine, now: Instant) -> RestoredMachine:
    """Close what is open, and take the table."""
    for handle in [file.caller.handle for file in machine.files]:
        decision = decide(machine, Close(handle, "stop"), now)
        for event in decision.events:
            machine.apply(event)

    table, served = machine.table, machine.served
    kernel = None
    if served is not None:  # it boots, so that its CPUs are in step
        state = served.state
        kernel = replace(state, cpus=(state.msrs,) * len(state.cpus))

    kept = None if table is None else TableState(table.state, table.generation, kernel)

    return RestoredMachine(machine.spec, kept)
