"""What becomes of records beside the log: who is told of them, and which share a write."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from memhub.errors import LogFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memhub.audit import AuditLog

    #: Takes a row that has been logged; must not raise, block or change it.
    Listener = Callable[[dict[str, Any]], None]


class Listeners:
    """Who is told of each record.

    Attributes:
        listeners: what is called with each record, oldest first, under a key of its own.
        seq: the number of the last record that they were told.
    """

    def __init__(self) -> None:
        self.listeners: dict[object, Listener] = {}
        self.seq = 0

    def add(self, listener: Listener, on_change: Callable[[], None]) -> Callable[[], None]:
        """Tell `listener` too, until the function returned is called.

        Args:
            listener: what is called with each record.
            on_change: called after the first one was added, and after the last was taken away.
        """
        key = object()
        self.listeners[key] = listener
        if len(self.listeners) == 1:
            on_change()

        def stop() -> None:
            if self.listeners.pop(key, None) is not None and not self.listeners:
                on_change()

        return stop

    def tell(self, rows: list[dict[str, Any]], last: int) -> None:
        """Hand on rows, with their `seq`.

        Args:
            rows: the rows.
            last: that of the last one; 0 without a log, where they are counted while there are
                listeners.
        """
        self.seq = last or self.seq + len(rows)
        first = self.seq - len(rows) + 1
        rows = [{"seq": number, **row} for number, row in enumerate(rows, first)]

        for listener in self.listeners.values():
            for row in rows:
                listener(row)


class Batches:
    """Looks that share one write of the log.

    Attributes:
        depth: how many batches are open, one in another.
    """

    def __init__(self) -> None:
        self.depth = 0
        self._torn = False

    def tear(self) -> None:
        """The log failed: what earlier looks of this batch had buffered is gone too."""
        self._torn = self.depth > 0

    @contextmanager
    def open(self, log: AuditLog | None) -> Iterator[None]:
        """Let the looks inside share one write; it is done when the block ends.

        Raises:
            LogFailed: EIO; none of the answers inside may go out.
        """
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1
            torn = self._torn
            self._torn = torn and self.depth > 0

        if log is not None and not self.depth:
            if torn:
                raise LogFailed("the audit log failed, and the looks of this batch are in no log")

            try:
                log.flush()
            except OSError as error:
                raise LogFailed(f"the audit log failed: {error}") from error
