"""Opening and closing device files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.core import events
from memhub.core.deciding.cache_requests import flush_before
from memhub.core.deciding.claim_requests import ended_event
from memhub.core.deciding.failing import refusing_error
from memhub.core.deciding.kernel_files import (
    check_kernel_file,
    close_kernel_file,
    exit_process,
    open_kernel_file,
)
from memhub.core.deciding.serving import fail_wait
from memhub.core.deciding.set_ranges import end_commit
from memhub.core.deciding.undoing import undo_slots
from memhub.core.decision import Decision
from memhub.core.files import DEVICES, KERNEL_FILES, Caller, OpenFile
from memhub.core.health.failure import is_refusing
from memhub.errors import (
    BadHandle,
    DeviceError,
    InvalidArgument,
    NoSuchDevice,
    NotPermitted,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.core.files import Principal
    from memhub.core.health.hardware_events import HardwareChanged
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine
    from memhub.core.requests import Close, Open
    from memhub.core.served import KernelCalled

#: Open modes: readable, writable, and open(2)'s access mode for the log.
MODES: Final[Mapping[str, tuple[bool, bool, int]]] = {
    "r": (True, False, 0),
    "w": (False, True, 1),
    "r+": (True, True, 2),
}


_KNOWN_PATHS: Final = "[NAME:]/dev/mem nor [NAME:]/dev/kmem"


def decide_open(machine: Machine, request: Open, now: Instant, number: int) -> Decision:
    """Open a device file (`sys/dev/mem/memdev.c`, `memopen`).

    Args:
        machine: the machine that the path names.
        request: what is asked.
        now: the present moment.
        number: the number of the new file.
    """
    try:
        if is_refusing(machine):
            raise refusing_error(machine)

        file = _make_file(machine, request, number)
        if file.caller.device in KERNEL_FILES:
            called = open_kernel_file(machine, file, now)
            return Decision(number, None, (events.Opened(file, now, None), called))
    except DeviceError as error:
        return refuse_open(request, machine.name, machine.arch.name, now, error)

    process = request.process.id
    notes = (machine.notes, machine.notes.watch(process)) if request.undo else None

    return Decision(number, None, (events.Opened(file, now, notes),))


def refuse_open(
    request: Open, machine: str, arch: str, now: Instant, error: DeviceError
) -> Decision:
    """The refusal of an open; `machine` and `arch` are what the path meant, or empty."""
    device = request.path.rpartition(":")[2]
    event = events.OpenRefused(request.process, machine, arch, device, request.mode, now, error)

    return Decision(None, error, (event,), changes=False)


def _make_file(machine: Machine, request: Open, number: int) -> OpenFile:
    path, mode = request.path, request.mode
    device = path.rpartition(":")[2]
    if device not in DEVICES:
        raise NoSuchDevice(f"{path!r} is neither {_KNOWN_PATHS}")

    if machine.served is not None or DEVICES[device] in KERNEL_FILES:
        check_kernel_file(machine, DEVICES[device], request)

    if mode not in MODES:
        raise InvalidArgument(f"mode {mode!r} is not r, w or r+")

    readable, writable, _ = MODES[mode]
    if DEVICES[device] not in KERNEL_FILES:
        check_open(machine, writable=writable, process=request.process)

    caller = Caller(machine.name, machine.arch.name, DEVICES[device], request.process, number)

    return OpenFile(caller, readable, writable, request.undo, request.model or machine.arch.model)


def check_open(machine: Machine, *, writable: bool, process: Principal | None = None) -> None:
    """Whether a device of a machine may be opened (`sys/dev/mem/memdev.c`, `memopen`).

    Reading needs nothing: PRIV_KMEM_READ is granted to everybody.

    Raises:
        NotPermitted: EPERM; for writing without privilege, or at a raised securelevel.
    """
    unprivileged = process is not None and not process.privileged
    if writable and unprivileged and machine.transfer.rules.root_writes:
        raise NotPermitted("a process that is not root cannot open memory for writing")

    if writable and machine.spec.securelevel > 0:
        raise NotPermitted(
            f"{machine.name} is at securelevel {machine.spec.securelevel}: "
            "its memory cannot be opened for writing"
        )


def decide_close(machine: Machine, request: Close, now: Instant) -> Decision:
    """Close a file: undo, end of the claims with its process's last file, end of its waits."""
    file = machine.files[request.handle]
    process = file.caller.process
    others = [it for it in machine.files.of(process) if it is not file]
    undone: list[events.SlotUndone | HardwareChanged | KernelCalled] = []
    claims = {claim.fence: claim for claim in machine.claims.held_by(process)}
    if file.undo and not any(it.undo for it in others):
        undone += undo_slots(machine, file, claims, now)

    if file.caller.device in KERNEL_FILES:
        undone += close_kernel_file(machine, file, now)

    if not others:
        undone += exit_process(machine, file, now)

    facts: list[events.Event] = list(undone)
    generation = max((it.generation for it in undone), default=machine.generation)
    if not others:
        ended = (ended_event(machine, it, request.cause, now) for it in claims.values())
        facts += [it._replace(generation=generation) for it in ended]

    facts.append(closed_event(machine, file, request.cause, now))

    done = Decision(None, None, (*_ended_waits(machine, file, now), *facts))

    return done if machine.caches is None else flush_before(machine, done, now)


def closed_event(machine: Machine, file: OpenFile, cause: str, now: Instant) -> events.Closed:
    """The fact that a file was closed, with all that follows from it beside undo and claims."""
    process = file.caller.process
    others = [it for it in machine.files.of(process) if it is not file]
    forgotten = () if others else tuple(machine.claims.lost_by(process))
    notes = None
    if file.undo and not any(it.undo for it in others):
        notes = (machine.notes, machine.notes.forget(process.id))

    return events.Closed(file, now, cause, not others, forgotten, notes)


def _ended_waits(machine: Machine, file: OpenFile, now: Instant) -> tuple[events.Event, ...]:
    """What becomes of the waits and commits of a file that is closed."""
    handle, path = file.caller.handle, file.caller.path
    found: list[events.Event] = []
    for wait in machine.waits.of_file(file.caller):
        error = BadHandle(f"{path} was closed while it waited")
        found += fail_wait(machine, wait, now, error).events

    for commit in machine.commits:
        if commit.caller.handle == handle:
            closed = BadHandle(f"{path} was closed during the commit")
            found += end_commit(machine, commit, now, closed).events

    return tuple(found)
