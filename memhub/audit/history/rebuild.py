"""Machines from a log alone: each row's fact is applied as the live hub applied it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.audit.rows import event_of, holdings_in, machine_of, plan_of
from memhub.core.holdings import give_holdings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from memhub.core.drivers.driver import Arch
    from memhub.core.machine import Machine


#: The events that say all that they change, also of a machine of which only the table is known.
_WHOLE: Final = ("device.fail", "hardware.")


class Rebuilder:
    """The machines of a hub, as the records read so far have them.

    Memory is not rebuilt, since the log does not keep what was written, and neither is an offset
    that a seek has set.

    A file that goes on where another ended begins with what each machine is and holds, and a
    longer one has it again every few thousand records. Reading can begin there. Earlier versions
    wrote a machine's table alone: of such a machine only its slots, registers and generation are
    rebuilt.

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
        self._parts: dict[str, int] = {}

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
        elif event == "device.restore":
            if name in self.machines:
                self._remove(record["machine"])

            self._begin(record, "its restore is not whole")
        elif event == "held.machine":
            if name not in self.machines:
                self._begin(record, "its snapshot is not whole")
        elif event == "held.part":
            if name in self._parts:
                self._hold(record)
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
        if name in self.machines:
            self._remove(name)

        if record.get("cause") == "reopen":
            self._begin(record, record["reason"])
        else:
            self.machines[name] = machine_of(record, self._arches)

    def _begin(self, record: Mapping[str, Any], partial: str) -> None:
        """Make a machine that is in use; `count` records with what it holds follow."""
        name = record["machine"]
        self.machines[name] = machine_of(record, self._arches)
        self.partial[name] = partial
        if record.get("count"):
            self._parts[name] = record["count"]

    def _hold(self, record: Mapping[str, Any]) -> None:
        name = record["machine"]
        machine = self.machines[name]
        give_holdings(machine, holdings_in(record, machine))
        self._parts[name] -= 1
        if not self._parts[name]:
            del self._parts[name], self.partial[name]

    def _remove(self, name: str) -> None:
        self.machines.pop(name).close()
        self.partial.pop(name, None)
        self._parts.pop(name, None)

    def _change(self, machine: Machine, record: Mapping[str, Any]) -> None:
        if machine.name not in self.partial or record["event"].startswith(_WHOLE):
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
