"""The one place where what happened becomes a record: the log first, then the subscribers.

A record is made only if somebody reads it. One of a change is handed to the operating system
before the change is final; one of a look (MEMRANGE_GET, a read) may share its write with those
that follow in the same batch, but is handed over before its answer goes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from memhub.errors import LogFailed

if TYPE_CHECKING:
    from memhub.audit import AuditLog

#: Takes a record that has been logged; must not raise, block or change it.
Listener = Callable[[dict[str, Any]], None]


class Journal:
    """Records of one hub.

    Args:
        log: the audit log, or None.
    """

    def __init__(self, log: AuditLog | None) -> None:
        self._log = log
        self._listeners: list[Listener] = []
        self._batches = 0
        self._torn = False

        #: Whether anybody reads the records.
        self.active = log is not None

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Hand every later record to `listener` too, with its `seq` if there is a log.

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

    def note(self, record: dict[str, Any]) -> None:
        """Record a look; in a batch its write is shared.

        Raises:
            LogFailed: EIO; the log cannot take it.
        """
        self._keep((record,), flush=not self._batches)

    def seal(self, *entries: dict[str, Any]) -> None:
        """Record a change and what it brought about; on return the operating system has it.

        Raises:
            LogFailed: EIO; the log cannot take it, and the change is to be taken back.
        """
        self._keep(entries, flush=True)

    def _keep(self, entries: tuple[dict[str, Any], ...], *, flush: bool) -> None:
        log = self._log
        if log is not None:
            mark = log.mark() if len(entries) > 1 else None
            try:
                numbers = [log.record(record) for record in entries]
                if flush:
                    log.flush()
            except OSError as error:
                if mark is not None:
                    log.rollback(mark)

                # What earlier looks of this batch had buffered is gone too.
                self._torn = self._batches > 0
                raise LogFailed(
                    f"nothing was changed, since the audit log failed: {error}"
                ) from error

        if self._listeners:
            if log is not None:
                entries = tuple(
                    [{"seq": seq, **it} for seq, it in zip(numbers, entries, strict=True)]
                )

            for listener in self._listeners:
                for record in entries:
                    listener(record)

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
