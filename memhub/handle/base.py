"""What every part of a handle stands on: the open file, closing, and waiting for a ticket."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Self, cast

import anyio
from anyio.lowlevel import checkpoint

from memhub.core.ranges.commits import Commit
from memhub.escape import escape_controls

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from memhub.core.claims.waiting import Ticket
    from memhub.core.machine import OpenFile
    from memhub.core.requests import Outcome, Principal
    from memhub.dispatch import Dispatcher


class BaseHandle:
    """An open file and the dispatcher that serves it."""

    def __init__(
        self, dispatch: Dispatcher, file: OpenFile, on_close: Callable[[OpenFile], None]
    ) -> None:
        self._dispatch = dispatch
        self._file = file
        self._on_close = on_close

    def __repr__(self) -> str:
        state = " closed" if self._file.closed else ""

        return escape_controls(
            f"<Handle {self._file.id} on {self.path} of {self.process.name}{state}>"
        )

    @property
    def path(self) -> str:
        """`NAME:/dev/mem`."""
        return self._file.path

    @property
    def file(self) -> OpenFile:
        """What the hub knows of this open."""
        return self._file

    @property
    def process(self) -> Principal:
        """Who opened it."""
        return self._file.process

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._file.closed

    def close(self, cause: str = "close") -> None:
        """Close at once; nothing in it waits. Closing twice does nothing.

        Args:
            cause: for the log.

        Raises:
            LogFailed: EIO; it is closed, but what it held ends only when the log works again.
        """
        if not self._file.closed:
            try:
                self._dispatch.files.close(self._file, cause)
            finally:
                self._on_close(self._file)

    async def aclose(self) -> None:
        """Close; done before the first await, so that no cancellation can prevent it."""
        self.close()
        await checkpoint()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(close_cause(kind))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close(close_cause(kind))

    def __del__(self) -> None:
        file = getattr(self, "_file", None)
        if file is not None and not file.closed:
            try:
                text = f"{self!r} was never closed"
                warnings.warn(text, ResourceWarning, source=self, stacklevel=2)
            finally:
                self._dispatch.files.abandon(self._file)
                self._on_close(self._file)

    async def _wait(self, ticket: Ticket) -> Outcome:
        """Wait for a ticket's outcome; a cancelled wait leaves the queue."""
        event = anyio.Event()
        ticket.wake = event.set
        try:
            await event.wait()
        except BaseException:
            self._give_up(ticket)
            raise

        outcome = cast("Outcome", ticket.outcome)
        if outcome.error is not None:
            raise outcome.error

        return outcome

    def _give_up(self, ticket: Ticket) -> None:
        if ticket.outcome is None:
            self._dispatch.context.forsake(self._file.machine, ticket)
        elif isinstance(ticket.outcome.reply, Commit):
            self._dispatch.ranges.abort(ticket.outcome.reply)


def close_cause(kind: type[BaseException] | None) -> str:
    """What the log says of a close that an exception, or none, brought about."""
    if kind is None:
        return "close"

    return "cancelled" if not issubclass(kind, Exception) else "error"
