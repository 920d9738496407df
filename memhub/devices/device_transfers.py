"""Transfers that a device model takes part in: the core says what is next, this awaits it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from anyio import CancelScope

from memhub.arguments import take_buffer, take_integer, take_optional
from memhub.core.deciding.transfers import decide_end_transfer, extent_of, not_open
from memhub.core.requests import EndTransfer
from memhub.devices.device_calls import DeviceCalls
from memhub.errors import BadAddress, Cancelled, DeviceError, LogFailed

if TYPE_CHECKING:
    from collections.abc import Generator

    from memhub.abi import Buffer
    from memhub.clock import Clock
    from memhub.core.memory.steps import MmioStep
    from memhub.core.requests import ReadOp, WriteOp
    from memhub.engine.engine import Engine


async def read_devices(
    engine: Engine, handle: int, length: int, offset: int | None, *, clock: Clock | None = None
) -> bytes:
    """Read a span that reaches a device; arguments and errors are those of `Handle.pread`.

    If the file is closed meanwhile, nobody waits for the device any more. The limits of devices run
    by `clock`; None is the engine's.
    """
    length, offset = take_integer("length", length), take_optional("offset", offset)
    file, machine = engine.files.file(handle), engine.files.machine_of(handle)
    at = file.offset if offset is None else offset
    op: ReadOp = "read" if offset is None else "pread"
    caller = file.caller
    steps = machine.transfer.reading(caller.device, at, length, caller.process.id)
    end = _TransferEnd(engine, handle, op, at, length)
    try:
        with CancelScope() as scope, engine.files.call_on_close(handle, scope.cancel):
            data = await _read_steps(steps, DeviceCalls(clock or engine.clock, machine.name))

        engine.files.file(handle)
    except BaseException as error:
        end.fail(error)
        raise

    end.submit(len(data), None)

    return data


async def write_devices(
    engine: Engine, handle: int, data: Buffer, offset: int | None, *, clock: Clock | None = None
) -> int:
    """Write a span that reaches a device; arguments and errors are those of `Handle.pwrite`.

    The limits of devices run by `clock`; None is the engine's.

    What a device has taken cannot be taken back: a write that is cancelled is recorded with
    ECANCELED and no count, and one whose handle is closed meanwhile stands.
    """
    data, offset = take_buffer("data", data), take_optional("offset", offset)
    file, machine = engine.files.file(handle), engine.files.machine_of(handle)
    if not file.writable:
        raise not_open(file, "writing")

    at = file.offset if offset is None else offset
    op: WriteOp = "write" if offset is None else "pwrite"
    caller = file.caller
    steps = machine.transfer.writing(
        caller.device, at, data, caller.process.id, machine.protection()
    )
    end = _TransferEnd(engine, handle, op, at, len(data))
    try:
        moved = await _write_steps(steps, DeviceCalls(clock or engine.clock, machine.name))
    except BaseException as error:
        end.fail(error)
        raise

    end.submit(moved, None)

    return moved


def refuse_write(
    engine: Engine, handle: int, length: int, offset: int | None, piece: int, error: DeviceError
) -> None:
    """Record that no byte of a write can move, whose bytes have not all come, and raise why.

    What refuses its first piece alone too is left to the write of that piece.

    Args:
        engine: the hub's synchronous half.
        handle: the open file.
        length: bytes of the whole write.
        offset: its first byte; None is where the file stands.
        piece: bytes of its first piece.
        error: why none of its bytes can move.
    """
    file, machine = engine.files.file(handle), engine.files.machine_of(handle)
    refused = machine.refusing or not file.writable
    if not refused and extent_of(machine, file, piece, offset, write=True).within(1):
        at = file.offset if offset is None else offset
        end = _TransferEnd(engine, handle, "write" if offset is None else "pwrite", at, length)
        end.fail(error)
        raise error


class _TransferEnd:
    """What is recorded of a transfer once it has ended."""

    def __init__(
        self, engine: Engine, handle: int, op: ReadOp | WriteOp, base: int, length: int
    ) -> None:
        self._engine = engine
        self._caller = engine.files.file(handle).caller
        self._what = (handle, op, base, length)
        self._began_ns = engine.now().mono_ns

    def submit(self, moved: int, error: DeviceError | None) -> None:
        engine, caller = self._engine, self._caller
        machine = engine.machines[caller.machine]
        request = EndTransfer(*self._what, moved, error, self._began_ns)
        engine.perform(machine, decide_end_transfer(machine, caller, request, engine.now()))

    def fail(self, error: BaseException) -> None:
        """Record a transfer that ended in `error`, which the caller raises."""
        if isinstance(error, DeviceError):
            self.submit(error.moved, error)
        elif isinstance(error, Exception):
            self.submit(0, DeviceError(f"the device model has a bug: {error!r}"))
        else:
            # A log that fails now must not take the place of the cancellation.
            with suppress(LogFailed):
                self.submit(0, Cancelled("cancelled while a device answered"))


async def _read_steps(steps: Generator[MmioStep, bytes, bytes], calls: DeviceCalls) -> bytes:
    try:
        step = next(steps)
        while True:
            try:
                answer = await calls.read(step)
            except OSError as error:
                step = steps.throw(_device_error(error))
            else:
                step = steps.send(answer)
    except StopIteration as end:
        return bytes(end.value)


async def _write_steps(steps: Generator[MmioStep, bytes | None, int], calls: DeviceCalls) -> int:
    try:
        step = next(steps)
        while True:
            try:
                await calls.write(step)
            except OSError as error:
                step = steps.throw(_device_error(error))
            else:
                step = steps.send(None)
    except StopIteration as end:
        return int(end.value)


def _device_error(error: OSError) -> DeviceError:
    failure = (
        error if isinstance(error, DeviceError) else BadAddress(f"the device model failed: {error}")
    )
    failure.by_device = True

    return failure
