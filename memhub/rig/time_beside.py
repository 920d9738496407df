"""Time that is kept beside an async test and its async fixtures, in their own event loop."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import wraps
from inspect import isasyncgenfunction
from typing import TYPE_CHECKING, Any, Final, final

import anyio
import pytest
from anyio.lowlevel import current_token

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    Block = Callable[[], AbstractAsyncContextManager[Any]]
    Function = Callable[..., Any]


#: How a test says by itself how it ended; no Exceptions, and pytest knows them bare alone.
_OUTCOMES: Final = (
    pytest.fail.Exception,
    pytest.skip.Exception,
    pytest.xfail.Exception,
    pytest.exit.Exception,
)


@final
class TimeBeside:
    """What has to run while a test and its fixtures await: a clock, and the deadlines of a hub."""

    def __init__(self) -> None:
        self._blocks: dict[int, Block] = {}
        self._users = 0
        self._keeper: _Keeper | None = None

    def add(self, owner: object, block: Block) -> None:
        """Have a block entered, behind the earlier ones; once for each owner."""
        self._blocks.setdefault(id(owner), block)

    def add_clock(self, clock: object) -> None:
        """Have a clock go on, if it is one that does."""
        if isinstance(clock, AbstractAsyncContextManager):
            self.add(clock, lambda: clock)

    @asynccontextmanager
    async def inside(self) -> AsyncGenerator[None]:
        """The blocks, entered around what the caller does."""
        async with AsyncExitStack() as stack:
            for block in self._blocks.values():
                await stack.enter_async_context(block())

            yield

    @asynccontextmanager
    async def beside(self) -> AsyncGenerator[None]:
        """The blocks, entered in a task of their own.

        A fixture may leave scopes open when it yields, which no scope around it allows.
        """
        self._users += 1
        if self._keeper is None:
            self._keeper = _Keeper(self)
            self._keeper.start()

        keeper = self._keeper
        await keeper.begun.wait()
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._keeper = None
                await keeper.stop()


class _Keeper:
    """A task of the event loop, outside of every scope, in which the blocks are entered."""

    def __init__(self, time: TimeBeside) -> None:
        self.begun = anyio.Event()
        self._time = time
        self._ended = anyio.Event()
        self._scope = anyio.CancelScope()
        self._error: BaseException | None = None
        self._task: object = None

    def start(self) -> None:
        if isinstance(current_token().native_token, asyncio.AbstractEventLoop):
            self._task = asyncio.get_running_loop().create_task(self._run())
        else:
            import trio

            self._task = trio.lowlevel.spawn_system_task(self._run)

    async def _run(self) -> None:
        try:
            with self._scope:
                async with self._time.inside():
                    self.begun.set()
                    await anyio.sleep_forever()
        except Exception as error:  # noqa: BLE001 - raised in the fixture, by `stop`
            self._error = error
        finally:
            self.begun.set()
            self._ended.set()

    async def stop(self) -> None:
        """End it, and wait for its end; raises what it has failed with."""
        self._scope.cancel()
        with anyio.CancelScope(shield=True):
            await self._ended.wait()

        if self._error is not None:
            raise self._error


def keep_time_inside(
    time: TimeBeside, test: Callable[..., Coroutine[Any, Any, None]]
) -> Callable[..., Coroutine[Any, Any, None]]:
    """An async test with the time kept around it."""

    @wraps(test)
    async def keep_time_and_test(*args: Any, **named: Any) -> None:  # noqa: ANN401 - the test's own
        __tracebackhide__ = True
        outcome: BaseException | None = None
        async with time.inside():
            try:
                await test(*args, **named)
            except _OUTCOMES as error:  # a task group of a block would wrap it
                outcome = error

        if outcome is not None:
            raise outcome

    return keep_time_and_test


def keep_time_beside(time: Callable[[], TimeBeside | None], fixture: Function) -> Function:
    """An async fixture with the time kept while it is set up, and while it is torn down.

    Args:
        time: returns what there is to keep; None for nothing.
        fixture: a coroutine function or an async generator function.
    """
    if isasyncgenfunction(fixture):
        return _keep_beside_generator(time, fixture)

    @wraps(fixture)
    async def keep_time_and_set_up(*args: Any, **named: Any) -> Any:  # noqa: ANN401 - the fixture's own
        async with _beside(time()):
            return await fixture(*args, **named)

    return keep_time_and_set_up


def _keep_beside_generator(time: Callable[[], TimeBeside | None], fixture: Function) -> Function:
    @wraps(fixture)
    async def keep_time_and_set_up(*args: Any, **named: Any) -> AsyncGenerator[Any]:  # noqa: ANN401 - the fixture's own
        made = fixture(*args, **named)
        async with _beside(time()):
            value = await anext(made)

        try:
            yield value
        except BaseException as error:  # noqa: BLE001 - the fixture's own code decides
            async with _beside(time()):
                try:
                    await made.athrow(error)
                except StopAsyncIteration:
                    return
        else:
            async with _beside(time()):
                try:
                    await anext(made)
                except StopAsyncIteration:
                    return

        yield  # a second one, which the plugin that runs the fixture refuses

    return keep_time_and_set_up


@asynccontextmanager
async def _beside(time: TimeBeside | None) -> AsyncGenerator[None]:
    if time is None:
        yield
    else:
        async with time.beside():
            yield
