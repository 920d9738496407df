"""Records that share a write of the log."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from memhub.errors import LogFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.audit import AuditLog


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
