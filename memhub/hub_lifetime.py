"""The time in which a hub is in use: its machines start, deadlines are met, all is closed."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from weakref import WeakSet

import anyio
from anyio.lowlevel import checkpoint

from memhub.async_shell import find_checkpoint, meet_deadlines
from memhub.errors import LogFailed
from memhub.lifecycle import close_all_files
from memhub.startup import record_ends, record_starts

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from memhub.async_shell import Checkpoint
    from memhub.engine import Engine
    from memhub.log_keeping import LogKeeper
    from memhub.subscriptions import Subscription


class HubLifetime:
    """Begins and ends the use of one engine; `Hub` has the arguments and errors of each method.

    Args:
        engine: the machines.
        log_keeper: rotates and seals the log, or None.

    Attributes:
        entered: whether the hub is in use.
        checkpoint: what its requests await first.
        subscriptions: closed at the end.
    """

    def __init__(self, engine: Engine, log_keeper: LogKeeper | None) -> None:
        self._engine = engine
        self._log_keeper = log_keeper
        self.entered = False
        self.checkpoint: Checkpoint = checkpoint
        self.subscriptions: WeakSet[Subscription] = WeakSet()

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
        """Record that the machines start."""
        record_starts(self._engine)
        self.entered = True

    @asynccontextmanager
    async def keep_time(self) -> AsyncGenerator[None]:
        """Meet deadlines on this event loop."""
        self.checkpoint = find_checkpoint()
        failure: BaseException | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(meet_deadlines, self._engine)
            if self._log_keeper is not None:
                tasks.start_soon(self._log_keeper.run)
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
        """Close every file and detach the machines."""
        self.entered = False
        try:
            self._detach_machines()
        except LogFailed as error:
            if failure is None:
                raise

            failure.add_note(f"on its way out the hub met {error}")

        if failure is not None:
            raise failure

    def _detach_machines(self) -> None:
        try:
            close_all_files(self._engine, "stop")
            record_ends(self._engine)
        finally:
            for subscription in list(self.subscriptions):
                subscription.close()

            for machine in self._engine.machines.values():
                machine.close()
