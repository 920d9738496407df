"""One machine: its ranges, its memory, who has it open, and who waits.

The hub calls in here and nothing in here calls out. A method that changes something returns an
Outcome, and `ranges.revert` takes it back as long as nothing else has been done; the hub does
so when the record of it cannot be written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from memhub.abi import ILP32, LP64
from memhub.core.claims.desk import ClaimDesk
from memhub.core.claims.waiting import Ticket, WaitQueue
from memhub.core.memory.kmem import KernelMemory
from memhub.core.memory.physical import PhysicalMemory
from memhub.core.memory.transfer import Transfer
from memhub.core.ranges.owned import OwnedRanges
from memhub.core.ranges.table import RangeTable
from memhub.core.requests import Outcome
from memhub.errors import BadHandle, NotPermitted, NotSupported, TimedOut

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.abi import DataModel
    from memhub.core.driver import Arch
    from memhub.core.ranges.commits import Instant
    from memhub.core.requests import Principal
    from memhub.core.spec import MachineSpec
    from memhub.core.types.typemap import TypeMap

Device = Literal["mem", "kmem"]


@dataclass(slots=True, eq=False)
class OpenFile:
    """One open of a device file; what a descriptor refers to.

    Attributes:
        id: unique in the hub.
        machine: the machine.
        process: who opened it.
        device: `mem` or `kmem`.
        readable: opened for reading.
        writable: opened for writing.
        undo: opened "undo on close".
        model: the data model of its ioctls.
        offset: where the next `read` or `write` begins.
        closed: no longer open.
        facts: what every record of it says.
    """

    id: int
    machine: Machine
    process: Principal
    device: Device
    readable: bool
    writable: bool
    undo: bool
    model: DataModel
    offset: int = 0
    closed: bool = False
    facts: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        process = self.process
        self.facts = {
            "machine": self.machine.name,
            "arch": self.machine.arch.name,
            "device": f"/dev/{self.device}",
            "process": process.name,
            "process_id": process.id,
            "pid": process.pid,
            "uid": process.uid,
            "handle": self.id,
        }

    @property
    def path(self) -> str:
        """`NAME:/dev/mem`."""
        return f"{self.machine.name}:/dev/{self.device}"


class Machine:
    """One machine of a hub.

    Args:
        spec: what it is made of.
        arch: its architecture.

    Raises:
        NotSupported: never; a CPU that the driver does not serve leaves a machine without
            range operations, as the kernel does.
        ValueError: the memory map contradicts itself.
        OptionError: an option of the architecture is wrong.
    """

    def __init__(self, spec: MachineSpec, arch: Arch) -> None:
        self.spec = spec
        self.arch = arch
        self.name = spec.name
        self.ranges = OwnedRanges(_attach(spec, arch), arch.no_ranges, (LP64, ILP32))
        self.claims = ClaimDesk(self.ranges)
        self.queue = WaitQueue()
        self.memory = PhysicalMemory(spec.cpu.phys_bits, spec.memory)
        if spec.securelevel > 0:
            self.memory.seal_writes()

        self.kernel = KernelMemory(arch.kernel, spec.kmem, self.memory, upages=spec.upages)
        self.transfer = Transfer(self.memory, self.kernel, arch.transfer, spec.wp_writes)
        self.files: dict[int, dict[int, OpenFile]] = {}

        #: Files closed for their users whose close could not be recorded yet.
        self.owed = 0
        latency = spec.commit_latency

        #: Seconds from the start of a commit to its effect.
        self.commit_latency = arch.commit_latency if latency is None else latency
        self._wp_seen: tuple[int, TypeMap | None] = (-1, None)

    # Opening and closing

    def check_open(self, *, writable: bool) -> None:
        """Whether the device may be opened (`sys/dev/mem/memdev.c`, `memopen`).

        Raises:
            NotPermitted: EPERM; for writing at a raised securelevel.
        """
        if writable and self.spec.securelevel > 0:
            raise NotPermitted(
                f"{self.name} is at securelevel {self.spec.securelevel}: "
                "its memory cannot be opened for writing"
            )

    def opened(self, file: OpenFile) -> None:
        """Take in a file that was just opened."""
        self.files.setdefault(file.process.id, {})[file.id] = file
        if file.undo:
            self.ranges.remember(file.process)

    def closing(self, file: OpenFile) -> Outcome:
        """End what a file holds: undo, then the claims if it is its process's last here.

        To be followed by `closed`, or taken back by `ranges.revert`.
        """
        return self.ranges.attempt(lambda: self._closing(file))

    def _closing(self, file: OpenFile) -> Outcome:
        others = [f for f in self.files.get(file.process.id, {}).values() if f is not file]
        outcome = Outcome()
        if file.undo and not any(f.undo for f in others):
            outcome.effects += self.ranges.undo(file.process)

        if not others:
            outcome.effects += self.claims.leave(file.process)

        return outcome

    def closed(self, file: OpenFile) -> list[Ticket]:
        """Forget a file.

        Returns:
            its tickets, which end with EBADF; the caller wakes them.
        """
        mine = self.files[file.process.id]
        del mine[file.id]
        if not mine:
            del self.files[file.process.id]
            self.kernel.release(file.process.id)
            self.ranges.forget_views(file.process)

        for commit in [c for c in self.ranges.commits if c.request.file is file]:
            self.ranges.abort(commit)

        return self._end_tickets(file)

    def _end_tickets(self, file: OpenFile) -> list[Ticket]:
        ended = [ticket for ticket in self.queue.tickets if ticket.file is file]
        for ticket in ended:
            self.queue.discard(ticket)
            ticket.outcome = Outcome(error=BadHandle(f"{file.path} was closed while it waited"))

        return ended

    # Memory

    def write(self, file: OpenFile, offset: int, data: bytes | bytearray | memoryview) -> int:
        """Write without waiting; arguments and errors are those of `Transfer.write`."""
        return self.transfer.write(file.device, offset, data, file.process.id, self.protection())

    def protection(self) -> TypeMap | None:
        """Where memory is write-protected, or None where it is nowhere."""
        table = self.ranges.table
        if table is None or self.spec.wp_writes == "allow":
            return None

        if self._wp_seen[0] != table.generation:
            types = table.types
            self._wp_seen = (table.generation, types if types.has("WP") else None)

        return self._wp_seen[1]

    # Time

    @property
    def has_deadlines(self) -> bool:
        """Whether a lease or a wait may reach its end, or a close is owed."""
        return bool(self.ranges.ownership.leases or self.queue.tickets or self.owed)

    def overdue(self, now: Instant) -> bool:
        """Whether a lease or a wait has reached its end."""
        return self.claims.overdue(now) or any(
            ticket.deadline is not None and ticket.deadline <= now.mono
            for ticket in self.queue.tickets
        )

    def give_up(self, now: Instant) -> list[Ticket]:
        """End every wait whose time is up; each gets ETIMEDOUT, unless it can go on now.

        Returns:
            the tickets, with their outcomes; the caller wakes them.
        """
        due = [t for t in self.queue.tickets if t.deadline is not None and t.deadline <= now.mono]
        for ticket in due:
            self.queue.discard(ticket)
            what = f"{ticket.base:#x}-{ticket.end - 1:#x}"
            refusal = ticket.refusal
            why = refusal.reason if refusal is not None else "others were first"
            obstacles = refusal.obstacles if refusal is not None else ()
            ticket.outcome = Outcome(
                error=TimedOut(f"{what} did not become free in time: {why}", obstacles=obstacles)
            )

        return due

    # Views

    @property
    def generation(self) -> int:
        """How many times the range table has changed."""
        return self.ranges.table.generation if self.ranges.table is not None else 0

    def processes(self) -> Iterator[Principal]:
        """Who has the machine open."""
        for files in self.files.values():
            yield next(iter(files.values())).process

    def close(self) -> None:
        """Release the memory."""
        self.memory.close()


def _attach(spec: MachineSpec, arch: Arch) -> RangeTable | None:
    if arch.driver is None:
        return None

    driver = arch.driver(spec.cpu, spec.options)
    try:
        return RangeTable(driver, driver.attach(spec.msrs))
    except NotSupported:
        return None
