"""Keeping a log while a hub runs: segments end, records are sealed, machines are written down.

None of this is on the road of a request. A request that makes the log long enough has it done
before the next one is decided, or by a task if none comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio import to_thread

from memhub.audit import AuditError
from memhub.core.instant import NEVER, SECOND
from memhub.engine.group_commit import settle_commits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from memhub.audit import AuditLog
    from memhub.audit.writing.folder import LogFolder
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine
    from memhub.engine.engine import Engine

#: How long what has failed is not tried again, nanoseconds.
_RETRY_NS: Final = SECOND

#: The longest time between two trials.
_PAUSE_MAX: Final = 60 * SECOND

#: Open files, claims, waits and commits that a snapshot between requests may have, for some 5 ms.
_HELD_MAX: Final = 500

#: A state is written down at most once for so many times its own records.
_SPARSE: Final = 8


class LogKeeper:
    """Keeps the log of one hub as its `keeping` says.

    Args:
        engine: whose machines are written down, and whose clock is used.
        log: the log; it is used from the event loop's thread alone.

    Attributes:
        failure: why what was due could not be done; None once it was.
        report: takes each new failure in words, or None.
    """

    def __init__(self, engine: Engine, log: AuditLog) -> None:
        self.failure: AuditError | None = None
        self.report: Callable[[str], None] | None = None
        self._engine = engine
        self._log = log
        self._ended = anyio.Event()
        self._pause_ns = _RETRY_NS
        self._due = False
        self._nap: anyio.CancelScope | None = None
        self._begun_size = 0
        now = engine.clock.mono_ns()
        self._begun_ns = self._sealed_ns = now
        self._retry_ns = 0
        self._next_seq = log.seq + log.keeping.snapshot_every
        engine.keep_up = self._keep_up
        if self._watch():
            self._wake()

    async def run(self) -> None:
        """Keep the log until cancelled."""
        async with anyio.create_task_group() as tasks:
            if self._log.folder is not None:
                tasks.start_soon(self._pack_ended, self._log.folder)

            while True:
                await self._nap_until_due()
                self.keep()

    async def _nap_until_due(self) -> None:
        try:
            with anyio.CancelScope() as self._nap:
                if not self._watch() or self._retry_ns:
                    await self._sleep_until_due()
        finally:
            self._nap = None  # what is written later may be so outside this event loop

    def _wake(self) -> None:
        """Have what is due done before the next request."""
        self._due = True
        self._engine.deadlines.look_soon()
        if self._nap is not None:
            self._nap.cancel()

    def _keep_up(self) -> None:
        """Do what has become due since it was looked at last, between two requests."""
        if self._due:
            self.keep()
            self._watch()

    async def _sleep_until_due(self) -> None:
        due = self._next_due()
        if due == NEVER:
            await anyio.sleep_forever()
        else:
            await self._engine.clock.sleep_until(due)

    def keep(self) -> None:
        """Do what is due; what fails is tried again a second later, then ever less often."""
        now = self._engine.now()
        self._due = False
        if self._log.writer.sink is None:
            return

        if (
            not settle_commits(self._engine.commit) or self._log.pending
        ):  # a batch of looks is open, which must not be torn apart
            self._retry_ns = now.mono_ns + _RETRY_NS // 100
            return

        failure = None
        if now.mono_ns >= self._retry_ns:
            failure = self._try_to(self._go_on, now)
            self._retry_ns = 0 if failure is None else now.mono_ns + self._pause_ns
            self._pause_ns = _RETRY_NS if failure is None else min(2 * self._pause_ns, _PAUSE_MAX)
        else:
            failure = self.failure

        self._note_failure(self._try_to(self._seal, now) or failure)

    def _try_to(self, act: Callable[[Instant], None], now: Instant) -> AuditError | None:
        try:
            act(now)
        except AuditError as error:
            return error

        return None

    def _note_failure(self, failure: AuditError | None) -> None:
        before, self.failure = self.failure, failure
        if failure is not None and str(failure) != str(before) and self.report is not None:
            self.report(f"the audit log is not kept as it should be: {failure}")

    def rotate(self) -> None:
        """End the segment that is written, now.

        Raises:
            AuditError: the next one cannot be written; this one goes on.
        """
        settle_commits(self._engine.commit)
        now = self._engine.now()
        rows = snapshot_rows(self._engine.machines.values(), now)
        self._log.rotate(rows)
        self._begun_ns = self._sealed_ns = now.mono_ns
        self._note_snapshot(len(rows))
        self._begun_size = self._log.writer.require_sink().size
        self._ended.set()

    def _go_on(self, now: Instant) -> None:
        """Go on in another segment, or write every machine down, if that is due."""
        if self._is_long_or_old(now):
            self.rotate()
        elif self._log.seq < self._next_seq:
            return
        elif sum(map(_count_held, self._engine.machines.values())) > _HELD_MAX:
            # all clients wait while so much is written down; a later snapshot does as well
            self._note_snapshot(0)
        else:
            rows = snapshot_rows(self._engine.machines.values(), now)
            self._log.writer.append(rows)
            self._note_snapshot(len(rows))

    def _seal(self, now: Instant) -> None:
        if now.mono_ns >= self._sealed_ns + round(self._log.keeping.seal_every * SECOND):
            self._log.seal()
            self._sealed_ns = now.mono_ns

    def _is_long_or_old(self, now: Instant) -> bool:
        log, keeping = self._log, self._log.keeping
        if log.folder is None:
            return False

        most = self._size_due()
        if most is not None and log.writer.require_sink().size >= most:
            return True

        age = keeping.max_age

        return age is not None and now.mono_ns >= self._begun_ns + round(age * SECOND)

    def _note_snapshot(self, rows: int) -> None:
        self._next_seq = self._log.seq + max(self._log.keeping.snapshot_every, _SPARSE * rows)

    def _size_due(self) -> int | None:
        """The bytes with which a segment ends: more than the machines take at its beginning."""
        most = self._log.keeping.max_bytes

        return None if most is None else max(most, 2 * self._begun_size)

    def _watch(self) -> bool:
        """Have `_wake` called when the log is long enough; whether it is already."""
        log = self._log
        if log.writer.sink is None:  # the embedder has closed it
            return False

        size = self._size_due() if log.folder is not None else None

        return log.writer.watch(self._next_seq, size, self._wake)

    def _next_due(self) -> int:
        """When to look next, monotonic nanoseconds."""
        log, keeping, due = self._log, self._log.keeping, self._retry_ns or NEVER
        if log.writer.sink is None:
            return NEVER

        if log.writer.sealer is not None:
            due = min(due, self._sealed_ns + round(keeping.seal_every * SECOND))

        if log.folder is not None and keeping.max_age is not None and not self._retry_ns:
            due = min(due, self._begun_ns + round(keeping.max_age * SECOND))

        return due

    async def _pack_ended(self, folder: LogFolder) -> None:
        """Compress the segments that have ended, beside the event loop, until cancelled."""
        from memhub.audit.writing.folder import pack_segment

        while True:
            try:
                for path in folder.ended():
                    await to_thread.run_sync(pack_segment, path)
            except AuditError as error:
                self._note_failure(error)

            await self._ended.wait()
            self._ended = anyio.Event()


def _count_held(machine: Machine) -> int:
    """How many things of a machine a snapshot has to write down, beside its table."""
    claims, files = machine.claims.claims, machine.files

    return len(files) + len(claims) + len(machine.waits) + len(machine.commits)


def snapshot_rows(machines: Iterable[Machine], at: Instant) -> list[dict[str, Any]]:
    """Every machine as it is now, as rows of the log: what a reader can begin with.

    Args:
        machines: the machines.
        at: the moment.
    """
    from memhub.audit.rows import held_rows

    rows = [row for machine in machines for row in held_rows(machine, at)]
    stamp = {"event": "log.snapshot", "wall_ns": at.wall_ns, "mono_ns": at.mono_ns}

    return [{**stamp, "count": len(rows)}, *rows]
