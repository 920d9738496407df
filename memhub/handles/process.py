"""A process: who opens devices, holds claims, and loses them when it goes."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Self, final

from anyio.lowlevel import checkpoint

from memhub.core.requests import Open
from memhub.engine.lifecycle import close_file, end_claims, open_file
from memhub.errors import BadHandle, LogFailed
from memhub.faults.hub_rules import Delayed
from memhub.handles.async_shell import close_cause, go_on
from memhub.handles.handle import Handle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.abi import DataModel
    from memhub.core.files import Principal
    from memhub.engine.engine import Engine
    from memhub.handles.async_shell import OwnTurns


@final
class Process:
    """A principal of one hub; made by `Hub.process`.

    Closing it closes its handles, and so ends its claims on every machine.
    """

    def __init__(
        self, engine: Engine, principal: Principal, turns: OwnTurns = (checkpoint, go_on)
    ) -> None:
        self._engine = engine
        self._turns = turns
        self._checkpoint, self._last_turn = turns
        self.principal = principal
        self._handles: set[int] = set()
        self.closed = False

    def __repr__(self) -> str:
        who = self.principal

        return f"<Process {who.id} {who.name!r}, {len(self._handles)} files>"

    async def open(
        self, path: str, mode: str = "r", *, undo: bool = False, model: DataModel | None = None
    ) -> Handle:
        """Open a device file.

        Args:
            path: `/dev/mem` or `/dev/kmem` of the default machine, `NAME:/dev/mem` of another.
            mode: `r`, `w` or `r+`; range ioctls need no write mode.
            undo: on close, put back the slots that this process changed, unless someone else
                has changed them since.
            model: the data model of its ioctls (`abi.LP64`, `abi.ILP32`); None takes the
                architecture's.

        Raises:
            NoSuchDevice: ENOENT; no such machine or device.
            NotPermitted: EPERM; for writing at a raised securelevel.
            InvalidArgument: EINVAL; an unknown mode.
            BadHandle: EBADF; the process is closed.
        """
        await self._checkpoint()
        try:
            return self.open_nowait(path, mode, undo=undo, model=model)
        except Delayed as late:  # by a fault rule
            try:
                await late.wait()
            finally:
                await self._last_turn()

            with late.passing():
                return self.open_nowait(path, mode, undo=undo, model=model)

    def open_nowait(
        self, path: str, mode: str = "r", *, undo: bool = False, model: DataModel | None = None
    ) -> Handle:
        """`open` without a checkpoint."""
        if self.closed:
            raise BadHandle(f"process {self.principal.name} has ended")

        number = open_file(self._engine, Open(self.principal, path, mode, undo, model))
        self._handles.add(number)

        return Handle(self._engine, number, self._handles.discard, self._turns)

    def close(self, cause: str = "close") -> None:
        """Close every handle at once, and so end every claim. Closing twice does nothing.

        Args:
            cause: for the log: `close`, `disconnect`, `cancelled`, `error`, `stop`.

        Raises:
            LogFailed: EIO; what it held ends only when the log works again.
        """
        for _ in self.close_each(cause):
            pass

    def close_each(self, cause: str) -> Iterator[None]:
        """Close as `close` does, in short steps, between which others may be served."""
        self.closed = True
        failure: LogFailed | None = None
        while self._handles:
            handle = next(iter(self._handles))
            try:
                with suppress(LogFailed):  # the close ends those that are left
                    yield from end_claims(self._engine, handle, cause)

                close_file(self._engine, handle, cause)
            except LogFailed as error:
                failure = error

            self._handles.discard(handle)
            yield

        if failure is not None:
            raise failure

    async def aclose(self) -> None:
        """Close; done before the first await, so that no cancellation can prevent it."""
        await self._last_turn()
        self.close()
        await self._checkpoint()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self._last_turn()
        self.close(close_cause(kind))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(close_cause(kind))
