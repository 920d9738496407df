"""One sync of the disk for the records of many requests: which may share it, and what undoes them.

With durability `disk` a request that awaits its answer has its record written at once, and is
answered when a sync has brought it to the disk, together with all others that came meanwhile. Until
then what it changed can be taken back. So only requests share a sync that nothing else follows
from: whatever ends or begins a wait, a commit, a lease or a file first has a sync of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.audit.failure import AuditError
from memhub.core.decision import take_back
from memhub.engine.pending import Pending
from memhub.errors import DeviceError, LogFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from memhub.audit.writing.writer import RecordWriter
    from memhub.core.decision import Decision
    from memhub.core.machine import Machine

    Tell = Callable[[list[dict[str, Any]], int], None]


class Group:
    """The requests whose records one sync brings to the disk.

    Attributes:
        led: whether somebody is about to sync.
        done: whether the sync has ended.
        failure: why it failed; None if it did not.
        wake: what is called when it has ended.
    """

    __slots__ = ("done", "failure", "led", "wake")

    def __init__(self) -> None:
        self.led = self.done = False
        self.failure: AuditError | None = None
        self.wake: list[Callable[[], object]] = []

    def check(self) -> None:
        """Refuse to answer what the disk does not have.

        Raises:
            LogFailed: EIO; the sync failed.
        """
        if self.failure is not None:
            raise _log_failed(self.failure) from self.failure


class Undurable(Exception):
    """Raised by `GroupCommit.submit` where the answer has to wait for a sync.

    Attributes:
        commit: who syncs.
        group: what the sync brings to the disk.
    """

    def __init__(
        self, commit: GroupCommit, group: Group, reply: object, error: DeviceError | None
    ) -> None:
        super().__init__("the record is not on the disk yet")
        self.commit = commit
        self.group = group
        self._reply = reply
        self._error = error

    def result(self) -> Any:  # noqa: ANN401 - the reply to any request
        """The reply, once the group is done.

        Raises:
            LogFailed: EIO; the sync failed, and the request has changed nothing.
            DeviceError: the request was refused.
        """
        self.group.check()
        if self._error is not None:
            raise self._error

        return self._reply


class GroupCommit:
    """Lets requests share syncs.

    Args:
        writer: of a log with durability `disk`.
        submit: `Engine.submit`.
        tell: tells subscribers of rows, the last of which has the number given.
        note_due: is told when something of a machine is due, after its changes were undone.
        note_lost: is told that all that was not on the disk is lost, also what was buffered.

    Attributes:
        open: the group whose sync has not begun, or None.
        deferring: above 0 in a block whose requests may share a sync.
        deferred: whether the request that is being answered shares one.
    """

    def __init__(
        self,
        writer: RecordWriter,
        submit: Callable[[Any], Any],
        tell: Tell,
        note_due: Callable[[int], None],
        note_lost: Callable[[], None],
    ) -> None:
        self.open: Group | None = None
        self.deferring = 0
        self.deferred = False
        self._writer = writer
        self._submit = submit
        self._tell = tell
        self._note_due = note_due
        self._note_lost = note_lost
        self._journal: list[tuple[Machine, Decision]] = []
        self._untold: list[tuple[list[dict[str, Any]], int]] = []
        writer.on_sync = self._end

    def submit(self, request: Any) -> Any:  # noqa: ANN401 - typed by the caller's request
        """Answer a request as `Engine.submit` does, for a caller that can await the disk.

        Raises:
            Undurable: the answer has to wait for a sync.
            DeviceError: the request is refused, and no answer is waited for.
        """
        reply, failure = None, None
        self.deferring += 1
        try:
            reply = self._submit(request)
        except DeviceError as error:
            failure = error
        finally:
            self.deferring -= 1

        if self.open is not None and not isinstance(reply, Pending):
            raise Undurable(self, self.open, reply, failure)

        if failure is not None:
            raise failure

        return reply

    def begin(self, machine: Machine, decision: Decision, *, alone: bool) -> None:
        """Settle whether a decision, still to be made true, shares a sync; else have one first.

        Args:
            machine: the machine.
            decision: what is about to be made true.
            alone: whether it must not share a sync.

        Raises:
            LogFailed: EIO; that sync failed, so that the decision no longer fits the machine.
        """
        follows = decision.pending is not None or (decision.changes and machine.waits.waits)
        if alone or follows or not self.deferring:
            self.settle()
        else:
            self.deferred = True

    def add(self, machine: Machine, decision: Decision) -> None:
        """Note what was made true and written, to take it back if the sync fails."""
        if self.deferred and self._writer.unsynced:
            if self.open is None:
                self.open = Group()

            self._journal.append((machine, decision))

    def append(self, rows: Iterable[Mapping[str, Any]], *, flush: bool) -> None:
        """Hand rows to the log, on the disk or as far as a deferred request needs it.

        Raises:
            AuditError: as for `RecordWriter.append`.
        """
        self._writer.append(rows, flush=flush, sync=not self.deferred)

    def tell(self, rows: list[dict[str, Any]], last: int) -> None:
        """Tell subscribers of rows, as soon as they are on the disk."""
        if self.deferred:
            self._untold.append((rows, last))
        else:
            self._tell(rows, last)

    def settle(self) -> None:
        """Have all on the disk that was written so far; what follows does not share a sync.

        Raises:
            LogFailed: EIO; the sync failed, and what shared it has been taken back.
        """
        self.deferred = False
        try:
            self._writer.sync()
        except AuditError as error:
            raise _log_failed(error) from error

    def _end(self, failure: AuditError | None) -> None:
        """Let those go on who waited for a sync; take back what they did if it failed."""
        group, self.open = self.open, None
        journal, self._journal = self._journal, []
        untold, self._untold = self._untold, []
        if failure is not None:
            self._note_lost()
            for machine, decision in reversed(journal):
                take_back(machine, decision)
                machine.recount_due()
                self._note_due(machine.due_ns)
        else:
            for rows, last in untold:
                self._tell(rows, last)

        if group is not None:
            group.done, group.failure = True, failure
            for wake in group.wake:
                wake()


def settle_commits(commit: GroupCommit | None) -> bool:
    """Have a sync before something that no record tells of looks at the machines.

    Returns:
        whether the log works; if not, what shared the sync has been taken back.
    """
    if commit is not None and commit.open is not None:
        try:
            commit.settle()
        except LogFailed:
            return False

    return True


def _log_failed(error: AuditError) -> LogFailed:
    return LogFailed(f"nothing was changed, since the audit log failed: {error}")
