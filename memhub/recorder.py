"""Facts become rows of the log, and subscribers are told of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.audit.rows import WRITERS
from memhub.core.events import LOOKS
from memhub.core.service_events import SERVICE_LOOKS
from memhub.errors import LogFailed
from memhub.group_commit import GroupCommit
from memhub.records import Batches, Listeners

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.audit import AuditLog
    from memhub.clock import Clock
    from memhub.core.events import Event
    from memhub.core.service_events import ServiceEvent

    Fact = Event | ServiceEvent

_LOOKS: Final = LOOKS | SERVICE_LOOKS


class Recorder:
    """Writes down what becomes true on one hub.

    Args:
        log: an open audit log, or None.
        clock: where time comes from.

    Attributes:
        log: the log.
        listeners: who is told of each record.
        batches: the looks that share one write.
        owed: facts that are true and in no log, which gets them first when it works.
    """

    def __init__(self, log: AuditLog | None, clock: Clock) -> None:
        self.log = log
        self.listeners = Listeners()
        self.batches = Batches()
        self.owed: list[Fact] = []
        self._writer = None if log is None else log.writer
        self._mono_ns = clock.mono_ns
        self._commit: GroupCommit | None = None

    @property
    def wanted(self) -> bool:
        """Whether anybody reads the records."""
        return self.log is not None or bool(self.listeners.listeners)

    def group_commits(
        self, submit: Callable[[Any], Any], note_due: Callable[[int], None]
    ) -> GroupCommit | None:
        """Let requests share a sync, where the log waits for the disk.

        Args:
            submit: answers a request.
            note_due: is told when something is due.
        """
        if self._writer is not None and self._writer.waits_for_disk:
            tell, tear = self.listeners.tell, self.batches.tear
            self._commit = GroupCommit(self._writer, submit, tell, note_due, tear)

        return self._commit

    def write(self, events: tuple[Fact, ...]) -> None:
        """Hand the rows of some facts to the log, then to the subscribers.

        Raises:
            LogFailed: EIO; the log does not take them, and nobody was told.
        """
        writer, ended = self._writer, self._mono_ns()
        if self.owed:
            events = (*self.owed, *events)

        rows = []
        for event in events:
            make_row = WRITERS.get(type(event))
            if make_row is not None:
                rows.append(make_row(event, ended))

        if writer is not None:
            try:
                flush = not (self.batches.depth and type(events[-1]) in _LOOKS)
                (self._commit or writer).append(rows, flush=flush)
            except OSError as error:
                self.batches.tear()
                reason = f"nothing was changed, since the audit log failed: {error}"
                raise LogFailed(reason) from error

        self.owed.clear()
        if self.listeners.listeners:
            last = 0 if self.log is None else self.log.seq
            (self._commit or self.listeners).tell(rows, last)
