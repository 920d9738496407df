"""What leaves the engine: rows of facts, for the log first and then for the subscribers."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from memhub.audit.rows import row_of
from memhub.core.events import LOOKS
from memhub.errors import LogFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from memhub.audit import AuditLog
    from memhub.core.events import Event

    #: Takes a row that has been logged; must not raise, block or change it.
    Listener = Callable[[dict[str, Any]], None]


class Recorder:
    """The records of one hub.

    A record of a change is handed to the operating system before the change is final. One of a
    look (MEMRANGE_GET, a read) may share its write with those that follow in the same batch, but
    is handed over before its answer goes out.

    Args:
        log: an open audit log, or None.
        mono_ns: the monotonic clock.

    Attributes:
        active: whether anybody reads the records.
    """

    def __init__(self, log: AuditLog | None, mono_ns: Callable[[], int]) -> None:
        self.active = log is not None
        self._log = log
        self._mono_ns = mono_ns
        self._listeners: list[Listener] = []
        self._owed: list[Event] = []
        self._batches = 0
        self._torn = False

    def write(self, events: tuple[Event, ...]) -> None:
        """Hand the rows of some facts to the log, then to the subscribers.

        Raises:
            LogFailed: EIO; the log cannot take them, and what they say is to be taken back.
        """
        log, ended = self._log, self._mono_ns()
        if self._owed:
            events = (*self._owed, *events)

        if not events:
            return  # a request that is not recorded, such as EXPLAIN

        rows = [row for event in events if (row := row_of(event, ended)) is not None]
        if log is not None:
            try:
                log.append(rows, flush=not (self._batches and type(events[-1]) in LOOKS))
            except OSError as error:
                # What earlier looks of this batch had buffered is gone too.
                self._torn = self._batches > 0
                raise LogFailed(
                    f"nothing was changed, since the audit log failed: {error}"
                ) from error

        if self._owed:
            self._owed.clear()

        if self._listeners:
            self._tell_listeners(rows)

    def owe(self, events: Iterable[Event]) -> None:
        """Keep facts that cannot be logged now; they go before the next ones."""
        self._owed += events

    def _tell_listeners(self, rows: list[dict[str, Any]]) -> None:
        if self._log is not None:
            first = self._log.seq - len(rows) + 1
            rows = [{"seq": number, **row} for number, row in enumerate(rows, first)]

        for listener in self._listeners:
            for row in rows:
                listener(row)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Hand every later row to `listener` too, with its `seq` if there is a log.

        Returns:
            what ends it; calling it again does nothing.
        """
        self._listeners.append(listener)
        self.active = True

        def stop() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)
                self.active = self._log is not None or bool(self._listeners)

        return stop

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Let the looks inside share one write; it is done when the block ends.

        Raises:
            LogFailed: EIO; none of the answers inside may go out.
        """
        self._batches += 1
        try:
            yield
        finally:
            self._batches -= 1
            torn = self._torn
            self._torn = torn and self._batches > 0

        if self._log is not None and not self._batches:
            if torn:
                raise LogFailed("the audit log failed, and the looks of this batch are in no log")

            try:
                self._log.flush()
            except OSError as error:
                raise LogFailed(f"the audit log failed: {error}") from error
