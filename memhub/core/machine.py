"""One machine as a value, and the only code that changes it.

`apply` makes a fact true and `unapply` takes it back; nothing else changes a machine. What may
become true is decided in `memhub.core.decide`. A machine holds data alone, so that it can be
copied, compared and pickled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from memhub.core import events
from memhub.core.claim_table import ClaimTable
from memhub.core.claims import ClaimChange
from memhub.core.commits import CommitList
from memhub.core.files import FileTable
from memhub.core.memory.kmem import KernelMemory
from memhub.core.memory.physical import PhysicalMemory
from memhub.core.memory.transfer import Transfer
from memhub.core.range_table import RangeTable, mark_busy
from memhub.core.undo import UndoNotes
from memhub.core.waits import WaitQueue
from memhub.errors import NoRanges, NotSupported

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.abi import DataModel
    from memhub.core.commits import Commit
    from memhub.core.driver import Arch
    from memhub.core.effective.typemap import TypeMap
    from memhub.core.files import Principal
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
        keeps_before: whether a write keeps what it replaces, so that it can be taken back.
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
    keeps_before: bool = field(default=True, compare=False, repr=False)
    _views: dict[tuple[int, str], tuple[tuple[int, int, int], bytes]] = field(
        default_factory=dict, compare=False, repr=False
    )
    _wp_seen: tuple[int, TypeMap | None] = field(default=(-1, None), compare=False, repr=False)

    @classmethod
    def make(cls, spec: MachineSpec, arch: Arch) -> Machine:
        """Make a machine as its firmware leaves it.

        Args:
            spec: what it is made of.
            arch: its architecture.

        Raises:
            ValueError: the memory map contradicts itself.
            OptionError: an option of the architecture is wrong.
        """
        memory = PhysicalMemory(spec.cpu.phys_bits, spec.memory)
        if spec.securelevel > 0:
            memory.seal_writes()

        chosen = arch.kernel_of(spec.options)
        kernel = KernelMemory(
            spec.kernel or chosen.layout,
            spec.kmem,
            memory,
            entries=spec.kmem_entries,
            rules=chosen.rules,
            upages=spec.upages,
        )
        transfer = Transfer(memory, kernel, chosen.rules, spec.wp_writes)

        return cls(spec, arch, _attach(spec, arch), memory, kernel, transfer)

    # Looking

    @property
    def name(self) -> str:
        """What clients put before the colon in `NAME:/dev/mem`."""
        return self.spec.name

    @property
    def generation(self) -> int:
        """How many times the range table has changed."""
        return self.table.generation if self.table is not None else 0

    @property
    def commit_latency(self) -> float:
        """Seconds from the start of a commit to its effect."""
        latency = self.spec.commit_latency

        return self.arch.commit_latency if latency is None else latency

    @property
    def due_ns(self) -> int:
        """Monotonic nanoseconds before which no lease, wait or commit reaches its end."""
        due = min(self.claims.first_expiry, self.waits.first_deadline)

        return min(due, self.commits.first_due) if self.commits else due

    def require_table(self) -> RangeTable:
        """The table.

        Raises:
            NotSupported: EOPNOTSUPP (or what the architecture answers): no range operations.
            NoRanges: ENXIO: the driver found no descriptors.
        """
        table = self.table
        if table is None:
            raise NotSupported(
                "this architecture has no range operations", code=self.arch.no_ranges
            )

        if not table.state.slots:
            raise NoRanges(
                "the range driver attached but found no descriptors: the MTRRs are off (bit 11 of "
                "register 0x2ff is clear), or there are none"
            )

        return table

    def busy_slots(self, process: Principal, but: Commit | None = None) -> list[int]:
        """Slots that are BUSY to `process`: claimed by others, or in a commit other than `but`."""
        slots = self.claims.busy_slots(process)
        for commit in self.commits.others(but):
            slots.extend(commit.wrote)

        return slots

    def view(self, table: RangeTable, process: Principal, model: DataModel) -> bytes:
        """The packed table as `process` sees it: others' slots show MDF_BUSY."""
        claims = self.claims
        if not claims.claims and not self.commits:
            return table.image(model)

        stamp = (table.generation, claims.epoch, self.commits.epoch)
        key = (process.id, model.name)
        kept = self._views.get(key)
        if kept is not None and kept[0] == stamp:
            return kept[1]

        slots = self.busy_slots(process)
        image = table.image(model)
        if slots:
            image = mark_busy(image, model, slots)

        self._views[key] = (stamp, image)

        return image

    def protection(self) -> TypeMap | None:
        """Where memory is write-protected, or None where it is nowhere."""
        table = self.table
        if table is None or self.spec.wp_writes == "allow":
            return None

        if self._wp_seen[0] != table.generation:
            types = table.types
            self._wp_seen = (table.generation, types if types.has("WP") else None)

        return self._wp_seen[1]

    # Changing

    def apply(self, event: events.Event) -> None:
        """Make a fact true."""
        change = self._APPLY.get(type(event))
        if change is not None:
            change(self, event)

    def unapply(self, event: events.Event) -> None:
        """Take back the fact that was applied last."""
        change = self._UNAPPLY.get(type(event))
        if change is not None:
            change(self, event)

    def recount_due(self) -> int:
        """Find `due_ns` anew, after what was due has ended."""
        self.claims.recount_leases()
        self.waits.recount_deadlines()

        return self.due_ns

    def close(self) -> None:
        """Release the memory."""
        self.memory.close()

    # Files

    def _open(self, it: events.Opened) -> None:
        self.files.add(it.file)
        if it.notes is not None:
            self.notes = it.notes[1]

    def _unopen(self, it: events.Opened) -> None:
        self.files.remove(it.file)
        if it.notes is not None:
            self.notes = it.notes[0]

    def _close(self, it: events.Closed) -> None:
        self.files.remove(it.file)
        for lost in it.forgotten:
            self.claims.drop_lost(lost)

        if it.notes is not None:
            self.notes = it.notes[1]

        if it.last:
            process = it.file.caller.process.id
            self.kernel.release(process)
            for key in [key for key in self._views if key[0] == process]:
                del self._views[key]

    def _unclose(self, it: events.Closed) -> None:
        self.files.add(it.file)
        for lost in it.forgotten:
            self.claims.add_lost(lost)

        if it.notes is not None:
            self.notes = it.notes[0]

    # Memory

    def _seek(self, it: events.Sought) -> None:
        self.files[it.caller.handle].offset = it.after

    def _unseek(self, it: events.Sought) -> None:
        self.files[it.caller.handle].offset = it.before

    def _read(self, it: events.MemoryRead) -> None:
        if it.op == "read":
            self.files[it.caller.handle].move(it.moved)

    def _unread(self, it: events.MemoryRead) -> None:
        if it.op == "read":
            self.files[it.caller.handle].move(-it.moved)

    def _write(self, it: events.MemoryWritten) -> None:
        if it.pieces:
            self.transfer.store(it.pieces, it.data)

        if it.op == "write":
            self.files[it.caller.handle].move(it.moved)

    def _unwrite(self, it: events.MemoryWritten) -> None:
        if it.before is not None:
            self.transfer.store(it.pieces, it.before)

        if it.op == "write":
            self.files[it.caller.handle].move(-it.moved)

    # Ranges

    def _set(self, it: events.RangesSet) -> None:
        assert self.table is not None
        self.table.swap(it.states[1], it.generation, it.outcome.slots)
        if it.claims:
            self.claims.change(it.claims)

        if it.notes is not None:
            self.notes = it.notes[1]

        if it.commit is not None:
            self.commits.remove(it.commit)

    def _unset(self, it: events.RangesSet) -> None:
        assert self.table is not None
        self.table.swap(it.states[0], it.generation - 1, it.outcome.slots)
        self.claims.revert(it.claims)
        if it.notes is not None:
            self.notes = it.notes[0]

        if it.commit is not None:
            self.commits.add(it.commit)

    def _refuse(self, it: events.SetRefused) -> None:
        if it.told is not None:
            self.claims.drop_lost(it.told)

        if it.commit is not None:
            self.commits.remove(it.commit)

    def _unrefuse(self, it: events.SetRefused) -> None:
        if it.told is not None:
            self.claims.add_lost(it.told)

        if it.commit is not None:
            self.commits.add(it.commit)

    def _begin(self, it: events.CommitBegun) -> None:
        self.commits.last = it.commit.number
        self.commits.add(it.commit)

    def _unbegin(self, it: events.CommitBegun) -> None:
        self.commits.remove(it.commit)
        self.commits.last = it.commit.number - 1

    def _undo(self, it: events.SlotUndone) -> None:
        if it.error is None:
            assert self.table is not None
            self.table.swap(it.states[1], it.generation, it.outcome.slots)
            self.claims.change(it.claims)

    def _redo(self, it: events.SlotUndone) -> None:
        if it.error is None:
            assert self.table is not None
            self.table.swap(it.states[0], it.generation - 1, it.outcome.slots)
            self.claims.revert(it.claims)

    # Claims

    def _take(self, it: events.ClaimTaken) -> None:
        for lost in it.settled:
            self.claims.drop_lost(lost)

        self.claims.change((it.change,))

    def _untake(self, it: events.ClaimTaken) -> None:
        self.claims.revert((it.change,))
        for lost in it.settled:
            self.claims.add_lost(lost)

    def _renew(self, it: events.ClaimRenewed) -> None:
        self.claims.change((it.change,))

    def _unrenew(self, it: events.ClaimRenewed) -> None:
        self.claims.revert((it.change,))

    def _release(self, it: events.ClaimsReleased) -> None:
        self.claims.change(it.claims)

    def _unrelease(self, it: events.ClaimsReleased) -> None:
        self.claims.revert(it.claims)

    def _end(self, it: events.ClaimEnded) -> None:
        self.claims.change((ClaimChange(it.claim, None),))
        if it.lost is not None:
            self.claims.add_lost(it.lost)

    def _unend(self, it: events.ClaimEnded) -> None:
        if it.lost is not None:
            self.claims.drop_lost(it.lost)

        self.claims.revert((ClaimChange(it.claim, None),))

    # Waits

    def _wait(self, it: events.WaitBegun) -> None:
        wait, waits = it.wait, self.waits
        ahead = waits.overlapping(wait.base, wait.end)
        waits.add(wait)
        waits.note_trial(wait, it.refusal, ahead)

    def _unwait(self, it: events.WaitBegun) -> None:
        self.waits.remove(it.wait.number)
        self.waits.last = it.wait.number - 1

    def _end_wait(self, it: events.WaitEnded) -> None:
        self.waits.remove(it.wait.number)

    def _unend_wait(self, it: events.WaitEnded) -> None:
        self.waits.add(it.wait)

    _APPLY: ClassVar[Mapping[type, Callable[..., None]]] = {
        events.Opened: _open,
        events.Closed: _close,
        events.Sought: _seek,
        events.MemoryRead: _read,
        events.MemoryWritten: _write,
        events.RangesSet: _set,
        events.SetRefused: _refuse,
        events.CommitBegun: _begin,
        events.SlotUndone: _undo,
        events.ClaimTaken: _take,
        events.ClaimRenewed: _renew,
        events.ClaimsReleased: _release,
        events.ClaimEnded: _end,
        events.WaitBegun: _wait,
        events.WaitEnded: _end_wait,
    }
    _UNAPPLY: ClassVar[Mapping[type, Callable[..., None]]] = {
        events.Opened: _unopen,
        events.Closed: _unclose,
        events.Sought: _unseek,
        events.MemoryRead: _unread,
        events.MemoryWritten: _unwrite,
        events.RangesSet: _unset,
        events.SetRefused: _unrefuse,
        events.CommitBegun: _unbegin,
        events.SlotUndone: _redo,
        events.ClaimTaken: _untake,
        events.ClaimRenewed: _unrenew,
        events.ClaimsReleased: _unrelease,
        events.ClaimEnded: _unend,
        events.WaitBegun: _unwait,
        events.WaitEnded: _unend_wait,
    }


def _attach(spec: MachineSpec, arch: Arch) -> RangeTable | None:
    if arch.driver is None:
        return None

    driver = arch.driver(spec.cpu, spec.options)
    try:
        return RangeTable(driver, driver.attach(spec.msrs))
    except NotSupported:
        return None
