"""The computer's time with the methods of a rig's clock, for tests over a service."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, final

import anyio

from memhub.arguments import take_seconds
from memhub.clock import SystemClock

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


@final
class ComputerClock(SystemClock):
    """Time that passes by itself, as it does for a service, which is another process.

    `sleep`, `move_on_after`, `fail_after` and `advance` are those of `VirtualClock`, in real time.
    """

    async def sleep(self, seconds: float) -> None:
        """Sleep for so many seconds; for ever, if they are infinite."""
        await anyio.sleep(take_seconds("seconds", seconds))

    def move_on_after(self, seconds: float | None) -> AbstractContextManager[anyio.CancelScope]:
        """Cancel a block after so many seconds; None and infinity are no limit."""
        return anyio.move_on_after(seconds)

    def fail_after(self, seconds: float | None) -> AbstractContextManager[anyio.CancelScope]:
        """Cancel a block after so many seconds, with TimeoutError."""
        return anyio.fail_after(seconds)

    def advance(self, seconds: float) -> None:
        """Block for so many seconds, as there is no other way to let this time pass."""
        time.sleep(take_seconds("seconds", seconds))
