"""That a machine went back to an earlier state, or was loaded, and how that becomes true."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, TypeAlias

from memhub.core.health.failure import Marked, note_refusing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.core.caches.content import CachesContent
    from memhub.core.caches.state import Caches
    from memhub.core.claims import Claim, LostClaim
    from memhub.core.drivers.driver import RangeState
    from memhub.core.drivers.served_kernel import KernelState
    from memhub.core.files import FileTable
    from memhub.core.health.failure import Failure
    from memhub.core.health.health import Health
    from memhub.core.holding.claim_table import ClaimTable
    from memhub.core.instant import Instant
    from memhub.core.memory.files import RamContent
    from memhub.core.memory.kmem import KernelMemory
    from memhub.core.memory.physical import PhysicalMemory
    from memhub.core.ranges.range_table import RangeTable
    from memhub.core.ranges.undo import UndoNotes
    from memhub.core.spec import MachineSpec

RestoreCause = Literal["restore", "reset", "fork"]


class Kept(NamedTuple):
    """What a restore replaces, or puts in its place.

    Attributes:
        state: the slots and registers; None where there are no range operations.
        generation: of the table.
        offsets: the offset of each open file, by its number.
        claims: the claims, oldest first.
        losses: the claims whose holders do not know yet that they lost them.
        last_fence: the highest fencing number given out.
        notes: what is to be put back as files are closed.
        failed: why the machine is marked failed, or None.
        health: what is wrong with its registers, or that it is suspended; None for nothing.
        kernel: the state of its kernel, where that is another than FreeBSD.
        memory: the RAM.
        uareas: the u-areas by process id.
        caches: what caches hold; None where memory is coherent.
    """

    state: RangeState | None
    generation: int
    offsets: Mapping[int, int]
    claims: tuple[Claim, ...]
    losses: tuple[LostClaim, ...]
    last_fence: int
    notes: UndoNotes
    failed: Failure | None
    health: Health | None
    kernel: KernelState | None
    memory: RamContent
    uareas: Mapping[int, bytes]
    caches: CachesContent | None


class Restored(NamedTuple):
    """A machine is as a snapshot has it; nothing waits and no commit is on its way.

    Attributes:
        spec: the machine.
        arch: its architecture's name.
        at: the moment.
        cause: `restore`; `reset` to what it was at its start; or `fork`, where it began as another
            hub's machine was.
        reason: what the snapshot is, in words, or None.
        parts: how many of `HeldPart` follow.
        before: what it replaces.
        after: what it puts in its place.
    """

    spec: MachineSpec
    arch: str
    at: Instant
    cause: RestoreCause
    reason: str | None
    parts: int
    before: Kept
    after: Kept


class HeldPart(NamedTuple):
    """What a machine holds after the `Restored` before: things of one kind. It changes nothing.

    Attributes:
        machine: its name.
        arch: its architecture's name.
        at: the moment.
        part: the kind, as in `Holdings`.
        items: the things.
    """

    machine: str
    arch: str
    at: Instant
    part: str
    items: tuple[Any, ...]


class MemoryLoaded(NamedTuple):
    """Bytes were put into a machine's RAM from outside.

    Attributes:
        machine: its name.
        arch: its architecture's name.
        at: the moment.
        base: the first byte.
        length: bytes from there to the last one.
        moved: how many bytes were given, zeros among them.
        cleared: whether the rest of the RAM became zero.
        source: what was loaded, in words.
        before: the pages that change, as they were: place in the store to bytes.
        after: the same as they are now.
        lost: bytes of lines and buffers that the bus had not seen, and that what was loaded has
            replaced; None where memory is coherent.
    """

    machine: str
    arch: str
    at: Instant
    base: int
    length: int
    moved: int
    cleared: bool
    source: str
    before: Mapping[int, bytes]
    after: Mapping[int, bytes]
    lost: int | None = None


#: What puts other contents into a machine.
RestoreFact: TypeAlias = Restored | HeldPart | MemoryLoaded


class Restorable(Marked, Protocol):
    """What of a machine goes back."""

    table: RangeTable | None
    files: FileTable
    claims: ClaimTable
    notes: UndoNotes
    memory: PhysicalMemory
    kernel: KernelMemory
    caches: Caches | None


def put_after(machine: Restorable, it: Restored) -> None:
    """Make the fact true."""
    _put_kept(machine, it.after)


def put_before(machine: Restorable, it: Restored) -> None:
    """Take the fact back."""
    _put_kept(machine, it.before)


def put_loaded(machine: Restorable, it: MemoryLoaded) -> None:
    """Make the fact true."""
    machine.memory.put(it.after)


def put_unloaded(machine: Restorable, it: MemoryLoaded) -> None:
    """Take the fact back."""
    machine.memory.put(it.before)


#: What makes each of the facts true, and what takes it back.
RESTORES: Final[Mapping[type, tuple[Callable[..., None], Callable[..., None]]]] = {
    Restored: (put_after, put_before),
    MemoryLoaded: (put_loaded, put_unloaded),
}


def _put_kept(machine: Restorable, kept: Kept) -> None:
    table = machine.table
    if table is not None and kept.state is not None:
        table.swap(kept.state, kept.generation, range(len(table)))
        if kept.failed is None:
            table.driver.failures = 0

    for handle, offset in kept.offsets.items():
        machine.files[handle].offset = offset

    machine.claims.replace(kept.claims, kept.losses, kept.last_fence)
    machine.notes, machine.failed, machine.health = kept.notes, kept.failed, kept.health
    if kept.kernel is not None and machine.served is not None:
        machine.served.state = kept.kernel

    note_refusing(machine)
    machine.memory.put(kept.memory)
    machine.kernel.replace_uareas(kept.uareas)
    if machine.caches is not None and kept.caches is not None:
        machine.caches.put(kept.caches)
