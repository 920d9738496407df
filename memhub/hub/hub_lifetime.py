"""The time in which a hub is in use: its machines start, deadlines are met, all is closed."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from weakref import WeakSet

import anyio
from anyio.lowlevel import checkpoint

from memhub.engine.lifecycle import detach_machines
from memhub.engine.log_keeping import LogKeeper
from memhub.engine.startup import record_starts
from memhub.errors import LogFailed
from memhub.handles.async_shell import find_checkpoint, meet_deadlines

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from memhub.audit import AuditLog
    from memhub.engine.engine import Engine
    from memhub.engine.subscriptions import Subscription
    from memhub.faults.hardware import Hardware
    from memhub.handles.async_shell import Checkpoint


class HubLifetime:
    """Begins and ends the use of one engine.

    Args:
        engine: the machines.
        hardware: what is wrong with them.
        log: an open audit log, or None.

    Attributes:
        entered: whether the hub is in use.
        checkpoint: what its requests await first.
        log_keeper: rotates and seals the log; None where there is none.
        subscriptions: closed at the end.
    """

    def __init__(self, engine: Engine, hardware: Hardware, log: AuditLog | None) -> None:
        self._engine = engine
        self._hardware = hardware
        self.log_keeper = None if log is None else LogKeeper(engine, log)
        self.entered = False
        self.checkpoint: Checkpoint = checkpoint
        self.subscriptions: WeakSet[Subscription] = WeakSet()

    def say_unused(self) -> str:
        """Why the hub opens nothing while it is not in use."""
        if self._engine.files.ended:
            return "the hub is closed: what needs it belongs in its `async with`"

        return "the hub is not in use: open it in `async with Hub(...) as hub`"

    @asynccontextmanager
    async def last(self) -> AsyncGenerator[None]:
        """Begin, keep time, and end with the block."""
        self.begin()
        failure: BaseException | None = None
        try:
            async with self.keep_time():
                yield
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:  # noqa: BLE001 - raised below, bare
            failure = error
        finally:
            self.end(failure)

    def begin(self) -> None:
        """Record that the machines start; from now on the hub opens files.

        Raises:
            LogFailed: EIO; it cannot be recorded.
        """
        record_starts(self._engine)
        self._hardware.begin()
        self.entered = True

    @asynccontextmanager
    async def keep_time(self) -> AsyncGenerator[None]:
        """Meet deadlines of leases, waits and commits, and keep the log, on this event loop.

        Without it deadlines are met with the next request. What the block raises is raised bare,
        in no exception group.
        """
        self.checkpoint = find_checkpoint()
        failure: BaseException | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(meet_deadlines, self._engine)
            if self.log_keeper is not None:
                tasks.start_soon(self.log_keeper.run)
            try:
                yield
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as error:  # noqa: BLE001 - raised below, bare
                failure = error
            finally:
                tasks.cancel_scope.cancel()
                self.checkpoint = checkpoint

        if failure is not None:
            raise failure

    def end(self, failure: BaseException | None = None) -> None:
        """Close every file and detach the machines.

        Args:
            failure: what the embedder's own code raised; it is raised again.

        Raises:
            LogFailed: EIO; all is closed, unlogged. It becomes a note of a `failure`.
        """
        self.entered = False
        try:
            detach_machines(self._engine, list(self.subscriptions))
        except LogFailed as error:
            if failure is None:
                raise

            failure.add_note(f"on its way out the hub met {error}")

        if failure is not None:
            raise failure
