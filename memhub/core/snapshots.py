"""A machine at a moment, as a value that can be gone back to; and another machine like one.

What is on its way is not part of it: waits, and commits that have not taken effect. Times of
leases are those that were left, so that a lease runs as long after a restore as it would have.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from memhub.core.asking.asked_driver import AskedDriver
from memhub.core.caches.content import first_content
from memhub.core.caches.make import capture_caches, make_caches, make_transfer
from memhub.core.holdings import give_holdings, holdings_of
from memhub.core.machine import Machine
from memhub.core.memory.device_states import first_states, save_devices
from memhub.core.memory.image import MemoryImage
from memhub.core.memory.pages import first_pages
from memhub.core.ranges.range_table import RangeTable, TableState
from memhub.core.ranges.undo import UndoNotes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.core.caches.content import CachesContent
    from memhub.core.claims import Claim, LostClaim
    from memhub.core.drivers.served_kernel import KernelState
    from memhub.core.files import OpenFile
    from memhub.core.health.failure import Failure
    from memhub.core.health.health import Health
    from memhub.core.instant import Instant
    from memhub.core.memory.device_states import DeviceState
    from memhub.core.spec import MachineSpec


@dataclass(frozen=True, slots=True)
class MachineSnapshot:
    """One machine at a moment.

    Attributes:
        spec: what it is made of.
        table: its slots, registers and generation; None where it has no range operations. The
            generation does not count where two snapshots are compared.
        memory: what its RAM holds.
        files: the open files, oldest first.
        claims: the claims, oldest first; `expires_ns` is how long their leases have left.
        losses: the claims whose holders did not know that they had lost them; `lost_ns` is how
            long ago that was, as a negative number.
        notes: what was to be put back as files are closed.
        failed: why it was marked failed, or None.
        health: what was wrong with its registers, or that it was suspended; None for nothing.
        kernel: the state of its kernel, where that is another than FreeBSD.
        uareas: the u-areas by process id.
        devices: what device models kept.
        caches: what caches and combining buffers held; None where memory is coherent.
    """

    spec: MachineSpec
    table: TableState | None
    memory: MemoryImage = field(repr=False)
    files: tuple[OpenFile, ...] = ()
    claims: tuple[Claim, ...] = ()
    losses: tuple[LostClaim, ...] = ()
    notes: UndoNotes = field(default_factory=UndoNotes, repr=False)
    failed: Failure | None = None
    health: Health | None = None
    uareas: Mapping[int, bytes] = field(default_factory=dict, repr=False)
    devices: tuple[DeviceState, ...] = ()
    kernel: KernelState | None = None
    caches: CachesContent | None = field(default=None, repr=False)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MachineSnapshot):
            return NotImplemented

        return self._compared() == other._compared()

    __hash__ = None  # type: ignore[assignment]

    def _compared(self) -> tuple[object, ...]:
        state = None if self.table is None else self.table.state
        held = (self.files, self.claims, self.losses, self.notes, self.failed, self.health)

        rest = (dict(self.uareas), self.devices, self.caches, self.memory)

        return (self.spec, state, self.kernel, *held, *rest)


def take_snapshot(machine: Machine, now: Instant) -> MachineSnapshot:
    """A machine as it is now.

    Args:
        machine: the machine.
        now: the present moment.

    Raises:
        BadHandle: EBADF; its memory is closed.
        DeviceError: ENOMEM; the host has no memory or no descriptor left. EIO; a device model
            could not say what it keeps.
    """
    table, held = machine.table, holdings_of(machine)

    return MachineSnapshot(
        machine.spec,
        None if table is None else TableState(table.state, table.generation),
        machine.memory.capture(),
        tuple(replace(file) for file in held.files),
        tuple(shift_claim(claim, -now.mono_ns) for claim in held.claims),
        tuple(shift_loss(lost, -now.mono_ns) for lost in held.losses),
        machine.notes,
        machine.failed,
        machine.health,
        machine.kernel.held_uareas(),
        save_devices(machine.memory.windows),
        held.kernel,
        capture_caches(machine.caches),
    )


def first_snapshot(machine: Machine) -> MachineSnapshot:
    """A machine as it was at its start, without anybody who uses it."""
    table = None if machine.table is None else machine.table.first
    memory = MemoryImage(first_pages(machine.memory.extents))

    served = machine.served

    return MachineSnapshot(
        machine.spec,
        table,
        memory,
        devices=first_states(machine.memory.windows),
        caches=None if machine.caches is None else first_content(machine.spec.caches),
        kernel=None if served is None else served.first,
    )


def shift_claim(claim: Claim, by_ns: int) -> Claim:
    """A claim whose lease ends later by `by_ns` nanoseconds."""
    expires = claim.expires_ns

    return claim if expires is None else replace(claim, expires_ns=expires + by_ns)


def shift_loss(lost: LostClaim, by_ns: int) -> LostClaim:
    """A loss that was later by `by_ns` nanoseconds."""
    return replace(lost, lost_ns=lost.lost_ns + by_ns)


def fork_machine(machine: Machine) -> Machine:
    """Another machine like this one; what happens to one does not happen to the other.

    Open files, claims, waits and commits are there too, without anybody who waits for an answer.
    Memory that was not handed out is shared until one of both writes it. Device models are copied
    by `copy.deepcopy`.

    Args:
        machine: the machine.

    Raises:
        BadHandle: EBADF; its memory is closed.
        DeviceError: ENOMEM; the host has no memory or no descriptor left. EIO; a device model
            cannot be copied.
    """
    memory, kernel, old = machine.memory.fork(), machine.kernel.fork(), machine.table
    table = None
    if old is not None:
        driver = AskedDriver(old.driver.raw, old.driver.arch, old.driver.machine)
        driver.failures = old.driver.failures
        table = RangeTable(driver, old.state, old.generation, old.first)

    served = None if machine.served is None else replace(machine.served)
    caches = make_caches(machine.spec, memory, table, served)
    content = capture_caches(machine.caches)
    if caches is not None and content is not None:
        caches.put(content)

    transfer = make_transfer(machine.spec, memory, kernel, machine.transfer.rules, caches)
    parts = (machine.spec, machine.arch, table, memory, kernel, transfer)
    twin = Machine(*parts, commit_ns=machine.commit_ns, caches=caches)
    twin.devices, twin.served = machine.devices, served
    held = holdings_of(machine)
    give_holdings(twin, held._replace(files=tuple(replace(file) for file in held.files)))

    return twin
