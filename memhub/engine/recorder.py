"""Who takes the rows that an engine makes of facts: the log, and who is told of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from memhub.engine.group_commit import GroupCommit
from memhub.engine.listeners import Listeners
from memhub.engine.records import Batches
from memhub.errors import LogFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from memhub.audit import AuditLog
    from memhub.core.events import Event
    from memhub.core.machine import Machine
    from memhub.core.service_events import ServiceEvent


class Recorder:
    """Writes down what becomes true on one hub.

    Args:
        log: an open audit log, or None.

    Attributes:
        log: the log.
        listeners: who is told of each record.
        batches: the looks that share one write.
        owed: facts that are true and in no log, which gets them first when it works.
        append: takes the rows of some facts; None without a log.
    """

    def __init__(self, log: AuditLog | None) -> None:
        self.log = log
        self.listeners = Listeners()
        self.batches = Batches()
        self.owed: list[Event | ServiceEvent] = []
        self._writer = None if log is None else log.writer
        self._commit: GroupCommit | None = None
        self.append: Callable[..., None] | None = (
            None if self._writer is None else self._writer.append
        )

    @property
    def wanted(self) -> bool:
        """Whether anybody reads the records."""
        return self.log is not None or bool(self.listeners.listeners)

    def next_record(self) -> int | None:
        """The number of the next record; None where nobody reads it."""
        if self.log is not None:
            return self.log.seq + 1

        return self.listeners.seq + 1 if self.listeners.listeners else None

    def note_wanted(self, machines: Iterable[Machine]) -> None:
        """Let machines know whether anybody reads the records, and caches which one is next."""
        for machine in machines:
            machine.recorded = self.wanted
            if machine.caches is not None:
                machine.caches.next_record = self.next_record

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
            self.append = self._commit.append

        return self._commit

    def refuse(self, error: OSError) -> NoReturn:
        """Say that the log did not take some records; nobody was told.

        Raises:
            LogFailed: EIO.
        """
        self.batches.tear()
        raise LogFailed(f"nothing was changed, since the audit log failed: {error}") from error

    def tell(self, rows: list[dict[str, Any]]) -> None:
        """Tell the listeners of rows: now, or once the disk has them."""
        last = 0 if self.log is None else self.log.seq
        (self._commit or self.listeners).tell(rows, last)
