"""Machines from a log alone: each row's fact is applied as the live hub applied it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.audit.rows import event_of, machine_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from memhub.core.driver import Arch
    from memhub.core.machine import Machine


class Rebuilder:
    """The machines of a hub, as the records read so far have them.

    Memory is not rebuilt, since the log does not keep what was written, and neither is an offset
    that a seek has set.

    Args:
        arches: architectures by name.

    Attributes:
        machines: the machines by name.
    """

    def __init__(self, arches: Mapping[str, Arch]) -> None:
        self.machines: dict[str, Machine] = {}
        self._arches = arches

    def read(self, record: Mapping[str, Any]) -> None:
        """Take the next record.

        Args:
            record: a record of the log, in order.

        Raises:
            KeyError: it needs an architecture, a machine or a field that is not there.
        """
        name = record.get("machine")
        if record["event"] == "device.attach":
            self.machines[record["machine"]] = machine_of(record, self._arches)
        elif record["event"] == "device.detach":
            del self.machines[record["machine"]]
        elif name in self.machines:
            machine = self.machines[name]
            event = event_of(record, machine)
            if event is not None:
                machine.apply(event)


def rebuild(records: Iterable[Mapping[str, Any]], arches: Mapping[str, Arch]) -> dict[str, Machine]:
    """The machines that a log leaves.

    Args:
        records: the records of a log, from its start, in order.
        arches: architectures by name.

    Returns:
        the machines by name; those that were taken away are not among them.

    Raises:
        KeyError: a record needs an architecture, a machine or a field that is not there.
    """
    rebuilder = Rebuilder(arches)
    for record in records:
        rebuilder.read(record)

    return rebuilder.machines
