"""What requests to caches and accesses of the bus come to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.arguments import wrong_span
from memhub.core import events
from memhub.core.caches import device
from memhub.core.caches.facts import BusAccessed, CachesChanged, LinesFlushed, LinesReached
from memhub.core.caches.posted import fence_lines
from memhub.core.caches.transfer import check_inside
from memhub.core.caches.work import Work
from memhub.core.decision import Decision
from memhub.core.health.failure import is_suspended, suspended_error
from memhub.core.health.hardware_events import HardwareChanged
from memhub.core.instant import make_tuple
from memhub.core.memory.physical import NeedsDevice
from memhub.core.memory.transfer import IOSIZE_MAX
from memhub.core.served import KernelCalled
from memhub.errors import BadAddress, DeviceError, InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.abi import Buffer as Bytes
    from memhub.core.caches.change import CacheChange
    from memhub.core.caches.facts import BusOp, FlushOp
    from memhub.core.caches.requests import Fence, FlushLines
    from memhub.core.drivers.driver import RangeState
    from memhub.core.files import Caller, Principal
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine


def facts_of(
    machine: Machine, change: CacheChange | None, fact: events.Event, who: Principal, now: Instant
) -> tuple[events.Event, ...]:
    """The facts of a request that changes caches, in order of effect.

    Args:
        machine: the machine.
        change: what it changes, or None.
        fact: the fact of the request.
        who: who asked.
        now: the present moment.
    """
    if change is None:
        return (fact,)

    if not change.arrivals:
        return (make_tuple(CachesChanged, (change,)), fact)

    reached = LinesReached(machine.name, machine.arch.name, now, who, change.arrivals)

    return (CachesChanged(change), fact, reached)


def decide_flush(machine: Machine, request: FlushLines, now: Instant) -> Decision:
    """Clflush or clwb of the lines of a span; on a coherent machine it does nothing."""
    caller = machine.files.files[request.handle].caller
    op: FlushOp = "writeback" if request.keep else "flush"
    base, length = request.base, request.length
    change: CacheChange | None = None
    try:
        spans = list(_physical_spans(machine, caller, base, length))
    except DeviceError as error:
        fact = LinesFlushed(caller, now, op, base, length, error)
        return Decision(None, error, (fact,), changes=False)

    if machine.caches is not None:
        work = Work(machine.caches, recorded=machine.recorded)
        for address, size in spans:
            device.flush_span(work, caller.process, address, size, keep=request.keep)

        change = work.finish()

    fact = LinesFlushed(caller, now, op, base, length, None)
    facts = facts_of(machine, change, fact, caller.process, now)

    return Decision(None, None, facts, changes=change is not None)


def decide_fence(machine: Machine, request: Fence, now: Instant) -> Decision:
    """sfence; on a coherent machine it does nothing."""
    caller = machine.files.files[request.handle].caller
    change: CacheChange | None = None
    if machine.caches is not None:
        work = Work(machine.caches, recorded=machine.recorded)
        work.drain_buffers(caller.process.id, "fence")
        fence_lines(work, caller.process.id)
        change = work.finish()

    fact = LinesFlushed(caller, now, "fence", 0, 0, None)
    facts = facts_of(machine, change, fact, caller.process, now)

    return Decision(None, None, facts, changes=change is not None)


def _physical_spans(
    machine: Machine, caller: Caller, base: int, length: int
) -> Iterator[tuple[int, int]]:
    if reason := wrong_span(base, length):
        raise InvalidArgument(reason)

    if caller.device != "kmem":
        check_inside(machine.memory, base, length)
        yield base, length
        return

    for piece in machine.transfer.pieces_of(caller.device, base, length, caller.process.id):
        if piece.own is None:
            yield piece.address, piece.length


# The bus


def decide_bus_read(machine: Machine, address: int, length: int, now: Instant) -> Decision:
    """What a device reads over the bus: the bytes, or the error."""
    if error := _refuse_span(machine, address, length):
        return _refuse_access(machine, "read", address, length, error, now)

    caches = machine.caches
    if caches is None:
        data = machine.memory.read(address, length)
        fact = BusAccessed(machine.name, machine.arch.name, now, "read", address, length, None)
        return Decision(data, None, (fact,), changes=False)

    work = Work(caches, recorded=machine.recorded)
    data = device.read_as_device(work, address, length)

    return _decide_access(machine, "read", address, length, work, data, now)


def decide_bus_write(machine: Machine, address: int, data: Bytes, now: Instant) -> Decision:
    """What a device writes over the bus: how many bytes, or the error."""
    length = len(data)
    if error := _refuse_span(machine, address, length):
        return _refuse_access(machine, "write", address, length, error, now)

    caches = machine.caches
    if caches is None:
        written = (data, machine.memory.read(address, length) if machine.recorded else b"")
        where = (machine.name, machine.arch.name, now)
        fact = BusAccessed(*where, "write", address, length, None, written)
        return Decision(length, None, (fact,))

    work = Work(caches, recorded=machine.recorded)
    device.write_as_device(work, address, data)

    return _decide_access(machine, "write", address, length, work, length, now)


def decide_wbinvd(machine: Machine, now: Instant) -> Decision:
    """The wbinvd of every CPU: `decide_flush_all`, or the error of a machine that is suspended."""
    if is_suspended(machine):
        return _refuse_access(machine, "flush", 0, 0, suspended_error(machine.name), now)

    return decide_flush_all(machine, now)


def decide_flush_all(machine: Machine, now: Instant) -> Decision:
    """Every line and buffer reaches the bus, and none is kept."""
    if machine.caches is None:
        fact = BusAccessed(machine.name, machine.arch.name, now, "flush", 0, 0, None)
        return Decision(None, None, (fact,), changes=False)

    work = Work(machine.caches, recorded=machine.recorded)
    device.flush_everything(work)

    return _decide_access(machine, "flush", 0, 0, work, None, now)


def _decide_access(
    machine: Machine,
    op: BusOp,
    address: int,
    length: int,
    work: Work,
    reply: object,
    now: Instant,
) -> Decision:
    change = work.finish()
    where = (machine.name, machine.arch.name, now)
    facts: list[events.Event] = [BusAccessed(*where, op, address, length, None)]
    if change is not None:
        facts.insert(0, CachesChanged(change))
        if change.arrivals:
            facts.append(LinesReached(*where, None, change.arrivals))

    return Decision(reply, None, tuple(facts), changes=change is not None)


def _refuse_span(machine: Machine, address: int, length: int) -> DeviceError | None:
    if is_suspended(machine):  # RAM refreshes itself; its controller and the bus have no clock
        return suspended_error(machine.name)

    try:
        if length < 0:
            raise InvalidArgument(f"length {length} is below 0")

        if length > IOSIZE_MAX:  # as of a file, or the host would have to hold all of it
            raise InvalidArgument(f"length {length:#x} is more than {IOSIZE_MAX:#x}")

        check_inside(machine.memory, address, length)
        machine.memory.refuse_windows(address, length)
    except NeedsDevice as error:
        return BadAddress(f"the bus cannot reach {address:#x}/{length:#x}: {error}")
    except DeviceError as error:
        return error

    return None


def _refuse_access(
    machine: Machine, op: BusOp, address: int, length: int, error: DeviceError, now: Instant
) -> Decision:
    fact = BusAccessed(machine.name, machine.arch.name, now, op, address, length, error)

    return Decision(None, error, (fact,), changes=False)


# What other requests do to caches


def flush_before(machine: Machine, decision: Decision, now: Instant) -> Decision:
    """A decision with what it does to caches before it takes effect.

    A kernel flushes the caches of all CPUs before it stores its ranges (FreeBSD
    `amd64_mrstoreone`, Linux `cache_disable`, NetBSD `i686_mtrr_reload`: wbinvd), also to
    re-initialise, and before it suspends (`cpususpend_handler` and `acpi_sleep_machdep`). The end
    of a process drains its buffers.
    """
    caches = machine.caches
    if caches is None or not decision.changes:
        return decision

    work = Work(caches, recorded=machine.recorded)
    for event in decision.events:
        if isinstance(event, events.Closed):
            if event.last:
                device.end_process(work, event.file.caller.process)
        elif isinstance(event, HardwareChanged) and event.op == "suspend":
            device.flush_everything(work)
        elif states := _stored_states(event):
            _before_change(work, *states)

    change = work.finish()
    if change is None:
        return decision

    facts: tuple[events.Event, ...] = (CachesChanged(change), *decision.events)
    if change.arrivals:
        where = (machine.name, machine.arch.name, now)
        facts = (facts[0], LinesReached(*where, None, change.arrivals), *decision.events)

    return decision._replace(events=facts)


def _stored_states(event: events.Event) -> tuple[RangeState, RangeState] | None:
    """The range states before and after a kernel stores its ranges; None where it stores none."""
    if isinstance(event, events.RangesSet):
        return event.states

    if isinstance(event, events.SlotUndone):
        return event.states if event.error is None else None

    if isinstance(event, KernelCalled):
        stores = event.call.op != "firmware" and event.kernels[0].cpus != event.kernels[1].cpus
        return event.states if stores else None

    if isinstance(event, HardwareChanged) and event.op == "reinit":
        return event.states

    return None


def _before_change(work: Work, before: RangeState, after: RangeState) -> None:
    if not work.caches.limits.forget_flush:
        device.flush_everything(work)
        return

    table = work.caches.table
    assert table is not None
    device.tell_forgotten(work, table.driver.types(before), table.driver.types(after))
