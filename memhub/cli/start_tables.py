"""What machines begin with that go on where an audit log ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.cli.failures import CommandFailed
from memhub.cli.terminal import complain, late_progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from memhub.audit.history.restore import Restored
    from memhub.audit.history.travel import At
    from memhub.audit.seals.note_keys import VerifierKey
    from memhub.config import HubConfig
    from memhub.core.drivers.driver import Arch
    from memhub.core.ranges.range_table import TableState


def find_tables(
    path: str, config: HubConfig, arches: Mapping[str, Arch], keys: Sequence[VerifierKey] = ()
) -> Mapping[str, TableState]:
    """The tables that the machines of a configuration had at the end of a log.

    Args:
        path: the log.
        config: whose machines.
        arches: the architectures.
        keys: whose seals the log has to bear; empty where seals are not checked.

    Raises:
        DamagedLog: the chain of the log is broken.
        AuditError: it cannot be read.
        CommandFailed: a machine is not in the log, or was another one there.
    """
    found = restore(path, None, arches, keys)
    for name, spec in config.machines.items():
        before = found.machines.get(name)
        if before is None:
            known = ", ".join(found.machines)
            raise CommandFailed(f"--restore {path}: it has no machine {name!r} ({known})")

        for what, now, then in (
            ("architecture", spec.arch, before.spec.arch),
            ("kernel", spec.kernel_name, before.spec.kernel_name),
            ("phys_bits", spec.cpu.phys_bits, before.spec.cpu.phys_bits),
        ):
            if now != then:
                why = f"machine {name!r} had {what} {then} there, and has {now} now"
                raise CommandFailed(f"--restore {path}: {why}")

    tables = tables_of(found)

    return {name: tables[name] for name in config.machines if name in tables}


def restore(
    path: str, at: At, arches: Mapping[str, Arch], keys: Sequence[VerifierKey] = ()
) -> Restored:
    """The machines of a log at a moment, as `restore_machines` finds them; notes are printed."""
    from memhub.audit import DamagedLog
    from memhub.audit.history.restore import restore_machines

    try:
        with late_progress("read") as tell:
            found = restore_machines(path, at, arches=arches, progress=tell, keys=keys)
    except DamagedLog as error:
        raise CommandFailed(str(error), 1) from error

    for note in found.notes:
        complain(f"{path}: {note}")

    return found


def tables_of(found: Restored) -> dict[str, TableState]:
    """What the machines that have ranges begin with."""
    return {name: it.table for name, it in found.machines.items() if it.table is not None}
