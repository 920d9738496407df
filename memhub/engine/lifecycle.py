"""Opening and closing device files on an engine, and what ends otherwise."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from memhub.core.deciding.claim_requests import ended_event
from memhub.core.deciding.decide import DECIDERS
from memhub.core.deciding.open_close import decide_open, refuse_open
from memhub.core.decision import Decision
from memhub.core.requests import BreakClaim, Open
from memhub.engine.startup import record_ends
from memhub.errors import LogFailed, NoSuchDevice

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from memhub.core.service_events import ServiceEvent
    from memhub.engine.engine import Engine
    from memhub.engine.subscriptions import Subscription

#: Claims that end in one step of a close in steps.
_CLAIMS_AT_ONCE: Final = 4


def open_file(engine: Engine, request: Open) -> int:
    """Open a device file.

    Args:
        engine: the machines.
        request: what is asked.

    Returns:
        the number of the open file.

    Raises:
        DeviceError: refused, or the log failed (EIO); nothing was opened.
    """
    now = engine.catch_up()
    name, colon, _ = request.path.rpartition(":")
    try:
        if colon and not name:
            raise NoSuchDevice(f"{request.path} names no machine before its colon")

        machine = engine.machine(name)
    except NoSuchDevice as error:
        engine.note(*refuse_open(request, name, "", now, error).events)
        raise

    number = engine.files.next_number()
    decide: Any = engine.deciders.get(Open, decide_open)  # fault rules put themselves in front
    engine.perform(machine, decide(machine, request, now, number))
    engine.files.machines[number] = machine

    return number


def close_file(engine: Engine, handle: int, cause: str = "close") -> None:
    """Close a file; one that is closed already stays so.

    Args:
        engine: the machines.
        handle: its number.
        cause: `close`, `disconnect`, `cancelled`, `error`, `garbage` or `stop`, for the log.

    Raises:
        LogFailed: EIO; it is closed for its user, and what it held ends as soon as the log
            works, at the next request or after a moment.
    """
    if engine.files.owe_close(handle, cause):
        _end_due(engine, "the file is closed, and what it held ends")


def _end_due(engine: Engine, what: str) -> None:
    """Do the closes that are owed.

    Raises:
        LogFailed: EIO; in the words of a close, which stands.
    """
    try:
        engine.end_due()
    except LogFailed as error:
        cause = error.__cause__ or error
        reason = f"{what} once that can be recorded, since the audit log failed: {cause}"
        raise LogFailed(reason) from cause


def end_claims(engine: Engine, handle: int, cause: str) -> Iterator[None]:
    """End most claims that a close is about to end, some in each step.

    It does nothing where the close leaves the process another file on the machine, or undoes
    something, which needs the claims.

    Args:
        engine: the machines.
        handle: the number of the file that is about to be closed.
        cause: for the log, as in `close_file`.

    Raises:
        LogFailed: EIO; the claims that are left end with the close.
    """
    machine = engine.files.machines.get(handle)
    if machine is None:
        return

    process = machine.files[handle].caller.process
    while (
        len(machine.claims.by_process.get(process.id, ())) > _CLAIMS_AT_ONCE
        and len(machine.files.of(process)) == 1
        and process.id not in machine.notes.before
    ):
        now = engine.catch_up()
        claims = islice(machine.claims.by_process.get(process.id, {}).values(), _CLAIMS_AT_ONCE)
        ended = tuple(ended_event(machine, it, cause, now) for it in claims)
        engine.perform(machine, Decision(None, None, ended))
        yield


def close_all_files(engine: Engine, cause: str) -> None:
    """Close every file of every machine; errors are those of `close_file`."""
    engine.files.owe_all(engine.machines.values(), cause)
    _end_due(engine, "the files are closed, and what they held ends")


def abandon_file(engine: Engine, handle: int) -> None:
    """Close a file that the garbage collector found, as soon as that is safe.

    A collection may come in the midst of a request and in any thread. So what the file held ends
    before the next request, or when the event loop next has its turn.
    """
    if engine.files.owe_close(handle, "garbage"):
        engine.deadlines.look_soon()


def detach_machines(engine: Engine, subscriptions: Iterable[Subscription]) -> None:
    """Close every file, record that the machines are taken away, and release them.

    Args:
        engine: the machines.
        subscriptions: those to them, which end.

    Raises:
        LogFailed: EIO; all is closed, and the log does not say so.
    """
    try:
        close_all_files(engine, "stop")
        record_ends(engine)
    finally:
        for subscription in subscriptions:
            subscription.close()

        engine.files.ended = True
        for machine in engine.machines.values():
            machine.close()


def break_claim(engine: Engine, request: BreakClaim) -> None:
    """Take a claim from its holder; the next use that it makes of it fails with EBUSY.

    Args:
        engine: the machines.
        request: the machine's name, the claim's fencing number, as in a report, and why; the log
            and the holder are told.

    Raises:
        NoSuchDevice: ENOENT; no such machine.
        NoSuchRange: ENOENT; no such claim.
    """
    engine.files.check_in_use()
    machine = engine.machine(request.machine)
    engine.perform(machine, DECIDERS[BreakClaim](machine, request, engine.now()))


def note_in_turn(engine: Engine, fact: ServiceEvent) -> None:
    """Record a fact behind the closes that are owed, now or when the log works again."""
    engine.files.owe_note(fact)
    engine.end_due()
