"""Machines from a log alone: each row's fact is applied as the live hub applied it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.audit.rows import event_of, machine_of, plan_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from memhub.core.driver import Arch
    from memhub.core.machine import Machine


class Rebuilder:
    """The machines of a hub, as the records read so far have them.

    Memory is not rebuilt, since the log does not keep what was written, and neither is an offset
    that a seek has set.

    A file that was begun by a rotation has the table of each machine, but not who held or waited
    for what. Of such a machine only the table is rebuilt: its slots, registers and generation.

    Args:
        arches: architectures by name.

    Attributes:
        machines: the machines by name.
        partial: those of them of which only the table is known, and where the log goes back to.
    """

    def __init__(self, arches: Mapping[str, Arch]) -> None:
        self.machines: dict[str, Machine] = {}
        self.partial: dict[str, str] = {}
        self._arches = arches
        self._resumed = False

    def read(self, record: Mapping[str, Any]) -> None:
        """Take the next record.

        Args:
            record: a record of the log, in order.

        Raises:
            KeyError: it needs an architecture, a machine or a field that is not there.
        """
        name, event = record.get("machine"), record["event"]
        if event == "device.attach":
            self._attach(record)
        elif event == "device.detach":
            self._remove(record["machine"])
        elif event == "log.resume":
            self._resumed = True
        elif name in self.machines:
            self._resumed = False
            self._change(self.machines[name], record)

    def _attach(self, record: Mapping[str, Any]) -> None:
        if self._resumed:
            # machines of a process that was killed have no end in the log
            for name in [*self.machines]:
                self._remove(name)

            self._resumed = False

        name = record["machine"]
        made = machine_of(record, self._arches)
        if name in self.machines:
            self._remove(name)

        self.machines[name] = made
        if record.get("cause") == "reopen":
            self.partial[name] = record["reason"]

    def _remove(self, name: str) -> None:
        self.machines.pop(name).close()
        self.partial.pop(name, None)

    def _change(self, machine: Machine, record: Mapping[str, Any]) -> None:
        if machine.name not in self.partial:
            event = event_of(record, machine)
            if event is not None:
                machine.apply(event)
        elif record["event"] in ("request.set", "undo") and record["errno"] is None:
            slots, generation = record["slots"], record["generation"]
            machine.require_table().swap(plan_of(record, machine).after, generation, slots)


def rebuild(records: Iterable[Mapping[str, Any]], arches: Mapping[str, Arch]) -> dict[str, Machine]:
    """The machines that a log leaves.

    Args:
        records: the records of a log, from its start, in order.
        arches: architectures by name.

    Returns:
        the machines by name; those that were taken away are not among them. Of a log that begins
        in the middle, see `Rebuilder`, they have no claims, waits and commits.

    Raises:
        KeyError: a record needs an architecture, a machine or a field that is not there.
    """
    rebuilder = Rebuilder(arches)
    for record in records:
        rebuilder.read(record)

    return rebuilder.machines
