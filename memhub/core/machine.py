"""One machine as a value, and the only code that changes it.

`apply` makes a fact true and `unapply` takes it back; nothing else changes a machine. What may
become true is decided in `memhub.core.deciding`. A machine is data: copied, compared, pickled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from memhub.core import events, memory_changes
from memhub.core.caches.make import make_caches, make_transfer
from memhub.core.claims import ClaimChange
from memhub.core.files import FileTable
from memhub.core.health.failure import Failure, MachineFailed, mark_failed, unmark_failed
from memhub.core.health.hardware_events import HardwareChanged, apply_change, unapply_change
from memhub.core.holding.claim_table import ClaimTable
from memhub.core.holding.commits import CommitList
from memhub.core.holding.waits import WaitQueue
from memhub.core.instant import SECOND
from memhub.core.memory.kmem import KernelMemory
from memhub.core.memory.physical import PhysicalMemory
from memhub.core.memory.placing import map_devices
from memhub.core.ranges.firmware import settle_firmware
from memhub.core.ranges.range_table import RangeTable
from memhub.core.ranges.undo import UndoNotes
from memhub.core.ranges.views import TableViews
from memhub.core.restored import RESTORES
from memhub.core.served import (
    KernelCalled,
    Served,
    apply_call,
    boot_served,
    unapply_call,
    why_no_ranges,
)
from memhub.core.touched_waits import touch_waits
from memhub.errors import NoRanges, NotSupported

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.core.caches.state import Caches
    from memhub.core.drivers.driver import Arch
    from memhub.core.effective.typemap import TypeMap
    from memhub.core.health.health import Health
    from memhub.core.memory.placed import PlacedDevice
    from memhub.core.memory.transfer import Transfer
    from memhub.core.spec import MachineSpec


@dataclass(slots=True)
class Machine:
    """One machine of a hub.

    Attributes:
        spec: what it is made of.
        arch: its architecture.
        table: its slots and registers; None where the architecture has no range operations.
        claims: who holds what.
        waits: who waits for what.
        commits: MEMRANGE_SETs on their way to all CPUs.
        files: the open files.
        notes: what to put back when files opened for undo are closed.
        memory: the physical memory.
        kernel: the kernel's address space.
        transfer: how `read` and `write` reach both.
        commit_ns: nanoseconds from the start of a commit to its effect; 0 where there is none.
        views: the packed table as each process sees it.
        recorded: whether anybody reads the records: then looks are facts, and writes keep the old.
        failed: why it is marked failed, or None.
        health: what is wrong with its registers, or that it is suspended; None for nothing.
        served: its kernel, where that is another than FreeBSD.
        refusing: whether requests are not FreeBSD's to answer: it is marked failed, or suspended,
            or has another kernel.
        caches: what CPUs see; None where memory is coherent.
        devices: the declared devices in its address space.
    """

    spec: MachineSpec
    arch: Arch = field(repr=False)
    table: RangeTable | None
    memory: PhysicalMemory = field(repr=False)
    kernel: KernelMemory = field(repr=False, compare=False)
    transfer: Transfer = field(repr=False, compare=False)
    claims: ClaimTable = field(default_factory=ClaimTable)
    waits: WaitQueue = field(default_factory=WaitQueue)
    commits: CommitList = field(default_factory=CommitList)
    files: FileTable = field(default_factory=FileTable)
    notes: UndoNotes = field(default_factory=UndoNotes)
    commit_ns: int = field(default=0, compare=False)
    recorded: bool = field(default=True, compare=False, repr=False)
    failed: Failure | None = None
    health: Health | None = None
    refusing: bool = field(default=False, compare=False, repr=False)
    caches: Caches | None = None
    served: Served | None = None
    devices: tuple[PlacedDevice, ...] = ()
    views: TableViews = field(default_factory=TableViews, compare=False, repr=False)

    @classmethod
    def make(cls, spec: MachineSpec, arch: Arch, devices: tuple[PlacedDevice, ...] = ()) -> Machine:
        """Make a machine as its firmware leaves it.

        Args:
            spec: what it is made of; its memory map has the memory of devices.
            arch: its architecture.
            devices: the declared devices, where they are to answer.

        Raises:
            ValueError: the memory map contradicts itself, or there is no such kernel.
            OptionError: an option of the architecture or of the kernel is wrong.
        """
        spec = settle_firmware(spec, arch)
        memory = PhysicalMemory(spec.cpu.phys_bits, spec.memory, spec.contents)
        map_devices(memory, devices, spec.contents)
        if spec.securelevel > 0:
            memory.files.seal_writes()

        chosen = arch.kernel_of(spec.options)
        kernel = KernelMemory.make(spec, chosen, memory)
        table = RangeTable.attach(spec, arch)
        served = boot_served(spec, arch, table)
        caches = make_caches(spec, memory, table, served)
        transfer = make_transfer(spec, memory, kernel, chosen.rules, caches)
        latency = arch.commit_latency if spec.commit_latency is None else spec.commit_latency
        commit_ns = round(latency * SECOND)

        machine = cls(spec, arch, table, memory, kernel, transfer, commit_ns=commit_ns)
        machine.caches, machine.served, machine.refusing = caches, served, served is not None
        machine.devices = devices

        return machine

    @property
    def name(self) -> str:
        """What clients put before the colon in `NAME:/dev/mem`."""
        return self.spec.name

    @property
    def generation(self) -> int:
        """How many times the range table has changed."""
        return 0 if self.table is None else self.table.generation

    @property
    def due_ns(self) -> int:
        """Monotonic nanoseconds before which no lease, wait or commit reaches its end."""
        return min(self.claims.first_expiry, self.waits.first_deadline, self.commits.first_due)

    def require_table(self) -> RangeTable:
        """The table; without range operations NotSupported: EOPNOTSUPP, or what the architecture
        answers; NoRanges (ENXIO) if the driver found no descriptors.
        """
        table = self.table
        if table is None:
            why = why_no_ranges(self.spec, self.arch, self.served)
            raise NotSupported(why, code=self.arch.no_ranges)

        if not table.state.slots:
            why = table.driver.no_slots()
            raise NoRanges(f"the range driver attached but found no descriptors: {why}")

        return table

    def protection(self) -> TypeMap | None:
        """Where memory is write-protected, or None where it is nowhere."""
        if self.table is None or self.spec.wp_writes == "allow":
            return None

        return self.table.protection()

    def apply(self, event: events.Event) -> None:
        """Make a fact true."""
        change = self._CHANGES.get(type(event))
        if change is not None:
            change[0](self, event)
            if self.waits.waits:
                touch_waits(self.waits, self.table, event)

    def unapply(self, event: events.Event) -> None:
        """Take back the fact that was applied last."""
        if (change := self._CHANGES.get(type(event))) is not None:
            change[1](self, event)

    def recount_due(self) -> None:
        """Find `due_ns` anew, after what was due has ended."""
        self.claims.recount_leases()
        self.waits.recount_deadlines()

    def close(self) -> None:
        """Release the memory."""
        self.memory.close()

    def _add_file(self, it: events.Opened) -> None:
        self.files.add(it.file)
        if it.notes is not None:
            self.notes = it.notes[1]

    def _drop_file(self, it: events.Opened) -> None:
        self.files.remove(it.file)
        if it.notes is not None:
            self.notes = it.notes[0]

    def _close_file(self, it: events.Closed) -> None:
        self.files.remove(it.file)
        for lost in it.forgotten:
            self.claims.drop_lost(lost)

        if it.notes is not None:
            self.notes = it.notes[1]

        if it.last:
            process = it.file.caller.process.id
            self.kernel.release(process)
            self.views.drop(process)

    def _reopen_file(self, it: events.Closed) -> None:
        self.files.add(it.file)
        for lost in it.forgotten:
            self.claims.add_lost(lost)

        if it.notes is not None:
            self.notes = it.notes[0]

    # Ranges

    def _set_ranges(self, it: events.RangesSet) -> None:
        table = self.table
        assert table is not None
        table.state, table.generation = it.states[1], it.generation
        if table.derived:
            table.refresh(it.outcome.slots)

        if it.claims:
            self.claims.change(it.claims)

        if it.notes is not None:
            self.notes = it.notes[1]

        if it.commit is not None:
            self.commits.remove(it.commit)

    def _restore_ranges(self, it: events.RangesSet) -> None:
        assert self.table is not None
        self.table.swap(it.states[0], it.generation - 1, it.outcome.slots)
        self.claims.revert(it.claims)
        if it.notes is not None:
            self.notes = it.notes[0]

        if it.commit is not None:
            self.commits.add(it.commit)

    def _note_refusal(self, it: events.SetRefused) -> None:
        if it.told is not None:
            self.claims.drop_lost(it.told)

        if it.commit is not None:
            self.commits.remove(it.commit)

    def _unnote_refusal(self, it: events.SetRefused) -> None:
        if it.told is not None:
            self.claims.add_lost(it.told)

        if it.commit is not None:
            self.commits.add(it.commit)

    def _begin_commit(self, it: events.CommitBegun) -> None:
        self.commits.last = it.commit.number
        self.commits.add(it.commit)

    def _unbegin_commit(self, it: events.CommitBegun) -> None:
        self.commits.remove(it.commit)
        self.commits.last = it.commit.number - 1

    def _undo_range(self, it: events.SlotUndone) -> None:
        if it.error is None and self.table is not None:
            self.table.swap(it.states[1], it.generation, it.outcome.slots)
            self.claims.change(it.claims)

    def _redo_range(self, it: events.SlotUndone) -> None:
        if it.error is None and self.table is not None:
            self.table.swap(it.states[0], it.generation - 1, it.outcome.slots)
            self.claims.revert(it.claims)

    # Claims

    def _take_claim(self, it: events.ClaimTaken) -> None:
        for lost in it.settled:
            self.claims.drop_lost(lost)

        self.claims.change((it.change,))

    def _untake_claim(self, it: events.ClaimTaken) -> None:
        self.claims.revert((it.change,))
        for lost in it.settled:
            self.claims.add_lost(lost)

    def _change_claims(self, it: events.ClaimsReleased | events.ClaimRenewed) -> None:
        self.claims.change(it.claims)

    def _revert_claims(self, it: events.ClaimsReleased | events.ClaimRenewed) -> None:
        self.claims.revert(it.claims)

    def _end_claim(self, it: events.ClaimEnded) -> None:
        self.claims.change((ClaimChange(it.claim, None),))
        if it.lost is not None:
            self.claims.add_lost(it.lost)

    def _restore_claim(self, it: events.ClaimEnded) -> None:
        if it.lost is not None:
            self.claims.drop_lost(it.lost)

        self.claims.revert((ClaimChange(it.claim, None),))

    # Waits

    def _add_wait(self, it: events.WaitBegun) -> None:
        self.waits.add(it.wait, it.refusal)

    def _drop_wait(self, it: events.WaitBegun) -> None:
        self.waits.remove(it.wait.number)
        self.waits.last = it.wait.number - 1

    def _end_wait(self, it: events.WaitEnded) -> None:
        self.waits.remove(it.wait.number)

    def _unend_wait(self, it: events.WaitEnded) -> None:
        self.waits.add(it.wait)

    #: What makes each kind of fact true, and what takes it back.
    _CHANGES: ClassVar[Mapping[type, tuple[Callable[..., None], Callable[..., None]]]] = {
        **RESTORES,
        MachineFailed: (mark_failed, unmark_failed),
        HardwareChanged: (apply_change, unapply_change),
        KernelCalled: (apply_call, unapply_call),
        events.Opened: (_add_file, _drop_file),
        events.Closed: (_close_file, _reopen_file),
        **memory_changes.CHANGES,
        events.RangesSet: (_set_ranges, _restore_ranges),
        events.SetRefused: (_note_refusal, _unnote_refusal),
        events.CommitBegun: (_begin_commit, _unbegin_commit),
        events.SlotUndone: (_undo_range, _redo_range),
        events.ClaimTaken: (_take_claim, _untake_claim),
        events.ClaimRenewed: (_change_claims, _revert_claims),
        events.ClaimsReleased: (_change_claims, _revert_claims),
        events.ClaimEnded: (_end_claim, _restore_claim),
        events.WaitBegun: (_add_wait, _drop_wait),
        events.WaitEnded: (_end_wait, _unend_wait),
    }
