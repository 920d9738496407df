"""The audit log's file while the service runs: reopened on SIGHUP, and watched.

A log that is a folder goes on in its next segment. Of one file a rotation renames it and sends
SIGHUP. The new file begins with what every machine is and holds, so that it can be read without the
old one, and names the hash in which that ends.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anyio.abc import TaskStatus

    from memhub.audit import AuditLog, EndedFile
    from memhub.hub.hub import Hub

    Say = Callable[[str], None]

#: How often the file is looked for while nothing is written, seconds.
LOOK_EVERY: Final = 0.25


@contextmanager
def hangups_ignored() -> Iterator[None]:
    """Keep a SIGHUP from ending the process before and after it is waited for."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL if before is None else before)


async def reopen_on_hangup(
    hub: Hub, log: AuditLog | None, say: Say, *, task_status: TaskStatus[None]
) -> None:
    """Reopen the log whenever SIGHUP comes; it runs until it is cancelled.

    Args:
        hub: whose machines the new file begins with.
        log: the log, or None if there is none.
        say: takes what is to be reported.
        task_status: told when SIGHUP is waited for.
    """
    import anyio

    try:
        with anyio.open_signal_receiver(signal.SIGHUP) as hangups:
            task_status.started()
            async for _ in hangups:
                say("SIGHUP: there is no audit log" if log is None else _reopen_log(hub, log))
    finally:
        # asyncio leaves the default action, which ends the process
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _reopen_log(hub: Hub, log: AuditLog) -> str:
    """Reopen or rotate the log, and what became of that, in one line."""
    if log.folder is not None:
        return _rotate(hub, log)

    try:
        ended = log.reopen()
    except OSError as error:
        return f"SIGHUP: audit log not reopened, the old file goes on: {error}"

    if ended is None:
        return f"SIGHUP: {log.path}: still the file that is written; nothing to reopen"

    last = f"record {ended.seq}, head {ended.head}"
    ending = f"the file before ends in {last}" + (
        "" if ended.closed else ", without a log.close: it took no more records"
    )
    try:
        _record_machines(hub, log, ended)
    except OSError as error:
        return f"SIGHUP: {log.path}: reopened, but without the machines' tables: {error}; {ending}"

    return f"SIGHUP: {log.path}: reopened; {ending}"


def _rotate(hub: Hub, log: AuditLog) -> str:
    ended, keeper = log.writer.require_sink().path, hub.log_keeper
    assert keeper is not None
    try:
        keeper.rotate()
    except OSError as error:
        return f"SIGHUP: audit log not rotated, {ended} goes on: {error}"

    return f"SIGHUP: {ended} has ended; {log.writer.require_sink().path} goes on"


def _record_machines(hub: Hub, log: AuditLog, ended: EndedFile) -> None:
    """Record every machine as it is now; subscribers are not told, as nothing changed."""
    from memhub.audit.rows import part_rows, row_of
    from memhub.engine.startup import attached_event

    now = hub.engine.now()
    came: dict[str, Any] = {
        "cause": "reopen",
        "reason": f"the file before ends in record {ended.seq}, hash {ended.head}",
    }
    parts: list[dict[str, Any]] = []
    for machine in hub.machines.values():
        row, mine = row_of(attached_event(machine, now), now.mono_ns), part_rows(machine, now)
        count = {"count": len(mine)}
        log.record({**(row or {}), **count, **came})
        parts += mine

    for part in parts:
        log.record(part)

    log.flush()


async def watch_log(log: AuditLog, say: Say) -> None:
    """Report once what becomes of the log's file; it runs until it is cancelled.

    Args:
        log: the log.
        say: takes what is to be reported.
    """
    import anyio

    told: str | None = None
    while True:
        found = log.misplaced
        if found != told:
            say(
                f"{log.path}: {found}; SIGHUP reopens the log"
                if found is not None
                else f"{log.path}: the audit log is where it should be again"
            )
            told = found

        await anyio.sleep(LOOK_EVERY)
