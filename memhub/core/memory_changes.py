"""What transfers, seeks and accesses of the bus change in a machine, and what takes it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from memhub.core import events
from memhub.core.caches.facts import BusAccessed, CachesChanged

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.core.caches.state import Caches
    from memhub.core.files import FileTable
    from memhub.core.memory.physical import PhysicalMemory
    from memhub.core.memory.transfer import Transfer


class Machine(Protocol):
    """What of a machine these facts change."""

    files: FileTable
    caches: Caches | None

    @property
    def memory(self) -> PhysicalMemory:
        """The physical memory."""

    @property
    def transfer(self) -> Transfer:
        """How transfers reach it."""


def _move_offset(machine: Machine, it: events.Sought) -> None:
    machine.files[it.caller.handle].offset = it.after


def _restore_offset(machine: Machine, it: events.Sought) -> None:
    machine.files[it.caller.handle].offset = it.before


def _count_read(machine: Machine, it: events.MemoryRead) -> None:
    if it.op == "read":
        machine.files[it.caller.handle].move(it.moved)


def _uncount_read(machine: Machine, it: events.MemoryRead) -> None:
    if it.op == "read":
        machine.files[it.caller.handle].move(-it.moved)


def _write_memory(machine: Machine, it: events.MemoryWritten) -> None:
    if it.pieces:
        machine.transfer.store(it.pieces, it.data)

    if it.op == "write":
        machine.files[it.caller.handle].move(it.moved)


def _restore_memory(machine: Machine, it: events.MemoryWritten) -> None:
    if it.before is not None:
        machine.transfer.store(it.pieces, it.before)

    if it.op == "write":
        machine.files[it.caller.handle].move(-it.moved)


def _apply_caches(machine: Machine, it: CachesChanged) -> None:
    """Make a change of caches true."""
    assert machine.caches is not None
    machine.caches.apply(it.change)


def _revert_caches(machine: Machine, it: CachesChanged) -> None:
    """Take a change of caches back, in both views."""
    assert machine.caches is not None
    machine.caches.revert(it.change)


def _apply_access(machine: Machine, it: BusAccessed) -> None:
    """Write what a device wrote to coherent memory."""
    if it.written is not None:
        machine.memory.write(it.base, it.written[0])


def _revert_access(machine: Machine, it: BusAccessed) -> None:
    """Take it back."""
    if it.written is not None:
        machine.memory.write(it.base, it.written[1])


#: What makes each kind of fact true, and what takes it back.
CHANGES: Final[
    Mapping[type, tuple[Callable[[Machine, Any], None], Callable[[Machine, Any], None]]]
] = {
    events.Sought: (_move_offset, _restore_offset),
    events.MemoryRead: (_count_read, _uncount_read),
    events.MemoryWritten: (_write_memory, _restore_memory),
    CachesChanged: (_apply_caches, _revert_caches),
    BusAccessed: (_apply_access, _revert_access),
}
