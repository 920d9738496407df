"""Accesses of device models: a strange one harms its caller alone, and is named.

A declared device has a limit for the answer to one access. What it raises, and what it answers
that is no answer, becomes a DeviceError that names the device, its kind and the plugin, so that
the transfer ends by the kernel's rules and the record of it says why. A device that an embedder
maps itself is the embedder's own code: its errors come out as they are.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from memhub.arguments import plain_bytes
from memhub.clock import SystemClock, moment_after
from memhub.errors import DeviceError
from memhub.escape import say_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from memhub.clock import Clock
    from memhub.core.memory.placed import PlacedDevice
    from memhub.core.memory.steps import MmioStep

#: Characters of what a model said that an error repeats.
_SHOWN: Final = 200


class DeviceCalls:
    """The accesses of one transfer.

    Args:
        clock: by which limits run.
        machine: the machine's name.
    """

    def __init__(self, clock: Clock, machine: str) -> None:
        self._clock = clock
        self._machine = machine

    async def read(self, step: MmioStep) -> bytes:
        """What a device answers to a read; its number of bytes is right where it is declared.

        Raises:
            DeviceError: a declared device failed, or refuses.
        """
        placed, device = step.window.placed, step.device
        if placed is None:
            return await device.read(step.offset, step.size)

        what = f"read({step.offset:#x}, {step.size})"
        answer: object = await self._ask(
            placed, step, what, lambda: device.read(step.offset, step.size)
        )
        if not isinstance(answer, bytes):
            found = f"{type(answer).__name__} where bytes are due"
            raise DeviceError(f"{self._name(placed, step)} answered {what} with {found}")

        answer = plain_bytes(answer)
        if len(answer) != step.size:
            found = f"{len(answer)} bytes where {step.size} were asked"
            raise DeviceError(f"{self._name(placed, step)} answered {what} with {found}")

        return answer

    async def write(self, step: MmioStep) -> None:
        """Let a device take a write; errors are those of `read`."""
        placed, device, data = step.window.placed, step.device, step.data or b""
        if placed is None:
            await device.write(step.offset, data)
        else:
            what = f"write({step.offset:#x}, {len(data)} bytes)"
            await self._ask(placed, step, what, lambda: device.write(step.offset, data))

    def _name(self, placed: PlacedDevice, step: MmioStep) -> str:
        return f"at {placed.base + step.offset:#x}: {placed.on(self._machine)}"

    async def _ask(
        self,
        placed: PlacedDevice,
        step: MmioStep,
        what: str,
        call: Callable[[], Awaitable[object]],
    ) -> object:
        """The answer of a declared device, or a DeviceError that names it."""
        who = self._name(placed, step)
        end = _End()
        with limit_time(self._clock, placed.limit) as scope:
            await _run_apart(partial(_make_call, placed, call), end)

        await checkpoint_if_cancelled()  # trio's task group lets a shielded answer through
        if scope.cancelled_caught and not end.ended:
            raise DeviceError(f"{who} did not answer {what} within {placed.limit:g} s")

        error = end.error
        if isinstance(error, DeviceError):
            raise DeviceError(f"{who} refused {what}: {error.reason}", code=error.code) from error

        if error is not None:
            raise DeviceError(f"{who} failed in {what}: {say_error(error)[:_SHOWN]}") from error

        return end.answer


class _End:
    """How a call of a model has ended; `ended` is whether it has, and was not cancelled."""

    __slots__ = ("answer", "ended", "error")

    def __init__(self) -> None:
        self.answer: object = None
        self.error: BaseException | None = None
        self.ended = False


async def _make_call(placed: PlacedDevice, call: Callable[[], Awaitable[object]]) -> object:
    return await (call() if placed.thread is None else placed.thread.run(call))


async def _run_apart(call: Callable[[], Awaitable[object]], end: _End) -> None:
    """Run a call of a model in a task of its own.

    What it cancels there, or enters and does not leave, is then not its caller's. Whatever it
    raises is how it ended, but for a KeyboardInterrupt, which may be the user's.

    Args:
        call: the call.
        end: is told how it ends, also where this is cancelled meanwhile.
    """

    async def run() -> None:
        try:
            end.answer = await call()
        except BaseException as error:
            end.error = error
            if isinstance(error, (anyio.get_cancelled_exc_class(), KeyboardInterrupt)):
                raise

        end.ended = True

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is not None:
            raise

        end.error = group.exceptions[0]  # of what it has left open


@contextmanager
def limit_time(clock: Clock, seconds: float) -> Iterator[anyio.CancelScope]:
    """Cancel a block after so many seconds of a clock.

    Args:
        clock: the clock; one that is not the system's and has no `set_alarm` sets no limit.
        seconds: how long.
    """
    if isinstance(clock, SystemClock):
        with anyio.move_on_after(seconds) as scope:
            yield scope

        return

    set_alarm: Any = getattr(clock, "set_alarm", None)
    due = moment_after(seconds, clock.mono_ns())
    with anyio.CancelScope() as scope:
        take_back = None if set_alarm is None or due is None else set_alarm(due, scope.cancel)
        try:
            yield scope
        finally:
            if take_back is not None:
                take_back()
