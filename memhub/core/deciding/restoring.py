"""Going back to a snapshot while clients stay connected: what becomes of what they hold.

The open files stay open. A file is *still there* if the snapshot has it with the same number and
process; a process is, if one of its files is. Those have their offsets, undo notes and claims of
then. Everything else ends, in this order: requests that wait, and commits on their way, are refused
with ECANCELED; a claim that the snapshot does not have is broken, so that its holder is told with
its next use (rule 7 of `memhub.core.deciding.ownership`). Then the machine is as the snapshot has
it, with a generation that no table had before. Fencing numbers go on, and never go back.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from memhub.core.caches.content import content_of_those
from memhub.core.caches.make import capture_caches
from memhub.core.deciding.claim_requests import lost_event
from memhub.core.deciding.kernel_files import kernel_after, registers_after
from memhub.core.deciding.kernel_health import slot_total
from memhub.core.deciding.serving import fail_wait
from memhub.core.deciding.set_ranges import end_commit
from memhub.core.decision import Decision
from memhub.core.holdings import holdings_of
from memhub.core.memory.device_states import check_devices
from memhub.core.ranges.undo import UndoNotes
from memhub.core.restored import HeldPart, Kept, Restored
from memhub.core.snapshots import shift_claim, shift_loss
from memhub.errors import Cancelled, InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from memhub.core.claims import Claim, LostClaim
    from memhub.core.events import ClaimEnded, Event
    from memhub.core.files import Caller
    from memhub.core.health.health import Health
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine
    from memhub.core.restored import RestoreCause
    from memhub.core.snapshots import MachineSnapshot
    from memhub.core.spec import MachineSpec

#: Why what a machine held has ended: it went back to a snapshot, or was reset.
GONE_BACK: Final = ("went back to a snapshot", "was reset")
#: Things that one `HeldPart` has at most.
PART_MAX: Final = 1000


def tell_fork(machine: Machine, now: Instant) -> tuple[Event, ...]:
    """The facts that say what a machine holds that was forked; they change nothing."""
    kept = _kept_before(machine, ())
    parts = tuple(_parts_of(machine, kept, now))

    return Restored(
        machine.spec, machine.arch.name, now, "fork", None, len(parts), kept, kept
    ), *parts


def settle_fork(machine: Machine, now: Instant, shift_ns: int) -> None:
    """End what waits and is on its way on a machine that was just forked, for a hub of its own.

    Args:
        machine: the machine; nobody has heard of it yet.
        now: the present moment of the new hub.
        shift_ns: how much later that is than the present moment of the old one.
    """
    for event in tuple(_end_waiting(machine, now, f"{machine.name} was forked")):
        machine.apply(event)

    held = holdings_of(machine)
    claims = [shift_claim(it, shift_ns) for it in held.claims]
    losses = [shift_loss(it, shift_ns) for it in held.losses]
    machine.claims.replace(claims, losses, held.last_fence)


def check_fit(machine: Machine, snapshot: MachineSnapshot) -> None:
    """Refuse a snapshot of a machine of another kind.

    Raises:
        InvalidArgument: EINVAL; names what differs.
    """
    spec, other, table = machine.spec, snapshot.spec, machine.table
    slots = None if table is None else len(table)
    theirs = None if snapshot.table is None else len(snapshot.table.state.slots)
    for what, mine, found in (
        ("architecture", spec.arch, other.arch),
        ("kernel", spec.kernel_name, other.kernel_name),
        ("physical address bits", spec.cpu.phys_bits, other.cpu.phys_bits),
        ("slots", slots, theirs),
        ("memory map", _memory_map(spec.memory), _memory_map(other.memory)),
        ("caches", _caches_words(spec), _caches_words(other)),
        ("devices", _name_devices(spec.devices), _name_devices(other.devices)),
    ):
        if mine != found:
            raise InvalidArgument(
                f"the snapshot of {other.name} does not fit {machine.name}: {what} {found} "
                f"there, {mine} here"
            )

    check_devices(machine.memory.windows, snapshot.devices)
    if snapshot.health is not None:
        check_health(machine, snapshot.health)


def check_health(machine: Machine, health: Health) -> None:
    """Refuse what cannot be wrong with a machine.

    Args:
        machine: the machine.
        health: what is wrong, of another machine or read from a file.

    Raises:
        InvalidArgument: EINVAL; it has no such slot or CPU, or no ranges, or a sickness has no
            name or that of another.
    """
    name, count = machine.name, machine.spec.cpu.count
    slots = slot_total(machine)
    if not slots and (health.sicknesses or health.cpus):
        raise InvalidArgument(f"{name} has no ranges, and nothing can be wrong with them")

    sick = [it.sickness for it in health.sicknesses]
    for cpu in (*health.cpus, *(it.cpu for it in sick if it.cpu is not None)):
        if not 0 <= cpu < count:
            raise InvalidArgument(f"{name} has {count} CPUs, and none of number {cpu}")

    for it in sick:
        if it.slot is not None and it.slot >= slots:
            raise InvalidArgument(f"{name} has {slots} slots, and none of number {it.slot}")

    for called, times in Counter(it.name for it in sick).items():
        if not called or times > 1:
            raise InvalidArgument(f"{times} sicknesses of {name} are called {called!r}")


def _caches_words(spec: MachineSpec) -> str:
    if spec.coherent:
        return "none, as memory is coherent,"

    size = spec.caches

    return f"{size.lines} lines of {size.line_size} bytes and {size.buffers} buffers"


def _memory_map(regions: Iterable[Any]) -> str:
    return " ".join(f"{it.base:#x}/{it.length:#x} {it.kind}" for it in regions) or "empty"


def _name_devices(devices: Iterable[Any]) -> str:
    return ", ".join(f"{it.name} ({it.kind} {dict(it.options)})" for it in devices) or "none"


def decide_restore(
    machine: Machine,
    snapshot: MachineSnapshot,
    now: Instant,
    cause: RestoreCause,
    reason: str | None = None,
) -> Decision:
    """Let a machine be as a snapshot has it.

    Args:
        machine: the machine.
        snapshot: where to go back to.
        now: the present moment.
        cause: `restore`, or `reset` to what the machine was at its start.
        reason: what the snapshot is, in words, for the log.

    Raises:
        InvalidArgument: EINVAL; the snapshot is of a machine of another kind.
        BadHandle: EBADF; the memory is closed.
        DeviceError: ENOMEM; the host has no memory or no descriptor left.
    """
    check_fit(machine, snapshot)
    why = f"{machine.name} {GONE_BACK[cause == 'reset']}"
    claims = _claims_after(machine, snapshot, now)
    broken = tuple(_break_others(machine, {it.fence for it in claims}, now, why))
    memory = machine.memory.files.plan_replace(snapshot.memory)
    before = _kept_before(machine, broken)._replace(memory=memory[0])
    after = _kept_after(machine, snapshot, now, claims, before)._replace(memory=memory[1])
    parts = tuple(_parts_of(machine, after, now))
    restored = Restored(
        machine.spec, machine.arch.name, now, cause, reason, len(parts), before, after
    )

    return Decision(None, None, (*_end_waiting(machine, now, why), *broken, restored, *parts))


def _end_waiting(machine: Machine, now: Instant, why: str) -> Iterator[Event]:
    """The ends of the waits and commits."""
    error = Cancelled(why)
    for wait in machine.waits:
        yield from fail_wait(machine, wait, now, error).events

    for commit in machine.commits:
        yield from end_commit(machine, commit, now, error).events


def _break_others(
    machine: Machine, staying: set[int], now: Instant, why: str
) -> Iterator[ClaimEnded]:
    """The ends of the claims that the snapshot does not have."""
    before = Counter[int]()
    for claim in machine.claims.claims.values():
        if claim.fence not in staying:
            number = claim.process.id
            yield lost_event(machine, claim, "break", now, why, before=before[number])
            before[number] += 1


def _still_there(machine: Machine, snapshot: MachineSnapshot) -> dict[Caller, int]:
    """The files of the snapshot that are open now, each with its offset of then."""
    now = {file.caller.handle: file.caller for file in machine.files}

    return {
        it.caller: it.offset for it in snapshot.files if _same(now.get(it.caller.handle), it.caller)
    }


def _same(one: Caller | None, other: Caller) -> bool:
    """Whether it is the same file of the same process, also where the machine has another name."""
    return one is not None and (one.process, one.device) == (other.process, other.device)


def _claims_after(machine: Machine, snapshot: MachineSnapshot, now: Instant) -> tuple[Claim, ...]:
    there = {it.process.id for it in _still_there(machine, snapshot)}

    return tuple(shift_claim(it, now.mono_ns) for it in snapshot.claims if it.process.id in there)


def _kept_before(machine: Machine, broken: tuple[ClaimEnded, ...]) -> Kept:
    """What the machine holds when its waits, commits and other claims have ended."""
    held, table = holdings_of(machine), machine.table
    gone = {it.claim.fence for it in broken}
    losses = tuple(it.lost for it in broken if it.lost is not None)

    return Kept(
        None if table is None else table.state,
        machine.generation,
        {it.caller.handle: it.offset for it in held.files},
        tuple(it for it in held.claims if it.fence not in gone),
        (*held.losses, *losses),
        held.last_fence,
        machine.notes,
        machine.failed,
        machine.health,
        held.kernel,
        None,
        machine.kernel.held_uareas(),
        capture_caches(machine.caches),
    )


def _kept_after(
    machine: Machine,
    snapshot: MachineSnapshot,
    now: Instant,
    claims: tuple[Claim, ...],
    before: Kept,
) -> Kept:
    files = _still_there(machine, snapshot)
    there = {it.process.id for it in files}
    fences = {it.fence for it in claims}
    untold = [shift_loss(it, now.mono_ns) for it in snapshot.losses if it.process.id in there]
    watched = {it.caller.process.id for it in machine.files if it.undo}
    notes = {who: snapshot.notes.before.get(who, {}) if who in there else {} for who in watched}
    generation = machine.generation + 1
    if snapshot.table is not None:
        generation = max(generation, snapshot.table.generation)

    there_now = [it.handle for it in files]

    return Kept(
        None if snapshot.table is None else registers_after(machine, snapshot, there_now),
        generation,
        {it.handle: offset for it, offset in files.items()},
        claims,
        _merge_losses([*untold, *before.losses], fences),
        max([before.last_fence, *fences]),
        UndoNotes(notes),
        snapshot.failed,
        _health_after(machine, snapshot),
        kernel_after(machine, snapshot, there_now),
        None,
        {who: it for who, it in snapshot.uareas.items() if who in there},
        None if snapshot.caches is None else content_of_those(snapshot.caches, there),
    )


def _health_after(machine: Machine, snapshot: MachineSnapshot) -> Health | None:
    """What was wrong then; its sicknesses are of this machine, whatever its name was."""
    health = snapshot.health
    if health is None:
        return None

    sick = (replace(it.sickness, machine=machine.name) for it in health.sicknesses)
    renamed = zip(health.sicknesses, sick, strict=True)

    return replace(health, sicknesses=tuple(replace(it, sickness=to) for it, to in renamed))


def _merge_losses(losses: Iterable[LostClaim], but: set[int]) -> tuple[LostClaim, ...]:
    """Losses without those of claims that are back, each once, in an order for each process."""
    merged = {it.fence: it for it in losses if it.fence not in but}
    last = Counter[int]()
    found = []
    for lost in merged.values():
        order = max(lost.order, last[lost.process.id] + 1)
        last[lost.process.id] = order
        found.append(replace(lost, order=order))

    return tuple(found)


def _parts_of(machine: Machine, after: Kept, now: Instant) -> Iterator[HeldPart]:
    """What the machine will hold, for the log."""
    offsets = after.offsets
    files = [replace(it, offset=offsets.get(it.caller.handle, it.offset)) for it in machine.files]
    numbers = (after.last_fence, machine.waits.last, machine.commits.last)
    for part, items in (
        ("files", files),
        ("claims", after.claims),
        ("losses", after.losses),
        ("notes", tuple(after.notes.before.items())),
        ("failed", () if after.failed is None else (after.failed,)),
        ("health", () if after.health is None else (after.health,)),
        ("kernel", () if after.kernel is None else (after.kernel,)),
        ("numbers", (numbers,)),
    ):
        for first in range(0, len(items), PART_MAX):
            some = tuple(items[first : first + PART_MAX])
            yield HeldPart(machine.name, machine.arch.name, now, part, some)
