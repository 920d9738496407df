"""Transfers that a device model answers: the core says which access is next, this awaits it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from memhub.dispatch.files import check
from memhub.dispatch.memory import not_open
from memhub.errors import BadAddress, Cancelled, DeviceError, LogFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from memhub.abi import Buffer
    from memhub.core.machine import OpenFile
    from memhub.core.memory.steps import MmioStep
    from memhub.dispatch.memory import MemoryDesk, ReadOp, WriteOp

    Finish = Callable[[int, DeviceError | None], None]


async def read_devices(desk: MemoryDesk, file: OpenFile, length: int, offset: int | None) -> bytes:
    """Read a span that reaches a device; arguments and errors are those of `MemoryDesk.read`."""
    at = file.offset if offset is None else offset
    op: ReadOp = "read" if offset is None else "pread"
    steps = file.machine.transfer.reading(file.device, at, length, file.process.id)
    finish = desk.later(file, op, at, length)
    try:
        data = await _read_steps(steps)
        check(file)
    except BaseException as error:
        _finish_failed(finish, error)
        raise

    finish(len(data), None)

    return data


async def write_devices(desk: MemoryDesk, file: OpenFile, data: Buffer, offset: int | None) -> int:
    """Write a span that reaches a device; arguments and errors are those of `MemoryDesk.write`.

    What a device has taken cannot be taken back: a write that is cancelled is recorded with
    ECANCELED and no count, and one whose handle is closed meanwhile stands.
    """
    if not file.writable:
        raise not_open(file, "writing")

    at = file.offset if offset is None else offset
    op: WriteOp = "write" if offset is None else "pwrite"
    machine = file.machine
    steps = machine.transfer.writing(file.device, at, data, file.process.id, machine.protection())
    finish = desk.later(file, op, at, len(data))
    try:
        moved = await _write_steps(steps)
    except BaseException as error:
        _finish_failed(finish, error)
        raise

    finish(moved, None)

    return moved


def _finish_failed(finish: Finish, error: BaseException) -> None:
    """Record a transfer that ended in `error`, which the caller raises."""
    if isinstance(error, DeviceError):
        finish(error.moved, error)
    elif isinstance(error, Exception):
        finish(0, DeviceError(f"the device model has a bug: {error!r}"))
    else:
        # A log that fails now must not take the place of the cancellation.
        with suppress(LogFailed):
            finish(0, Cancelled("cancelled while a device answered"))


async def _read_steps(steps: Generator[MmioStep, bytes, bytes]) -> bytes:
    try:
        step = next(steps)
        while True:
            try:
                answer = await step.device.read(step.offset, step.size)
            except OSError as error:
                step = steps.throw(_device_error(error))
            else:
                step = steps.send(answer)
    except StopIteration as end:
        return bytes(end.value)


async def _write_steps(steps: Generator[MmioStep, bytes | None, int]) -> int:
    try:
        step = next(steps)
        while True:
            try:
                await step.device.write(step.offset, step.data or b"")
            except OSError as error:
                step = steps.throw(_device_error(error))
            else:
                step = steps.send(None)
    except StopIteration as end:
        return int(end.value)


def _device_error(error: OSError) -> DeviceError:
    if isinstance(error, DeviceError):
        return error

    return BadAddress(f"the device model failed: {error}")
