"""read, write, their positioned and vectored forms, and lseek."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from memhub.errors import BadAddress, DeviceError
from memhub.exec.context import (
    ANSWERED,
    DEFER,
    PROCEED,
    Context,
    Handler,
    Result,
    refusal,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from memhub.exec.devices import OpenDevice
    from memhub.exec.kernel import Notification
    from memhub.exec.memory import Span

    Spans = tuple[Span, ...]
    #: Bytes to move, and what moves them at a position; it says how many it has moved.
    _Part = tuple[int, Callable[[int | None], int]]

_U64: Final = (1 << 64) - 1
_MAX_ERRNO: Final = 4095
_RWF_HIPRI: Final = 1
#: A longer transfer ends here with a short count, as the kernel cuts at 2 GiB.
_MAX_TRANSFER: Final = 64 << 20
_SUFFIXES: Final = ("", "64", "v", "pv", "pv2")


def _read_device(form: str, context: Context, call: Notification) -> Result:
    device = context.find(call)
    if device is None:
        return PROCEED

    position = _position_of(form, device, call)
    if not device.readable:
        raise refusal(errno.EBADF)

    spans = _find_spans(form, context, device, call)

    def fill(part: Spans, size: int, at: int | None) -> int:
        data = _read_at(device, size, at)
        context.memory.scatter(call.pid, part, data)

        return len(data)

    sizes = [(it, _size_of(it)) for it in _parts_of(device, spans)]
    parts = [(size, partial(fill, part, size)) for part, size in sizes]
    with _hold_device(context, device) as mine:
        return _move_parts(device, position, parts) if mine else DEFER


def _write_device(form: str, context: Context, call: Notification) -> Result:
    device = context.find(call)
    if device is None:
        return PROCEED

    position = _position_of(form, device, call)
    if device.stream is not None and position is not None:
        raise refusal(errno.ESPIPE)  # before the rights of the descriptor are looked at

    if not device.writable:
        raise refusal(errno.EBADF)

    spans = _find_spans(form, context, device, call)
    pieces = _gather_parts(context, call, _parts_of(device, spans))
    if not context.listener.valid(call):
        return ANSWERED

    parts = [(len(it), partial(_write_at, device, it)) for it in pieces]
    with _hold_device(context, device) as mine:
        return _move_parts(device, position, parts) if mine else DEFER


def _position_of(form: str, device: OpenDevice, call: Notification) -> int | None:
    """Where on the device a call begins; None is the offset of the descriptor.

    Linux looks at it before all else (fs/read_write.c, ksys_pread64 and do_pwritev).

    Raises:
        OSError: EINVAL; it is negative, and the device is a stream.
    """
    position = call.args[3]
    if form in ("", "v") or (form == "pv2" and position == _U64):
        return None

    if device.stream is not None and _signed(position) < 0:
        raise refusal(errno.EINVAL)

    return position


def _parts_of(device: OpenDevice, spans: Spans) -> list[Spans]:
    """What one operation of the device moves: all spans, or each one of a stream.

    Linux has no vectored operation of such a file, and so calls its read or write once for each
    span (fs/read_write.c, do_loop_readv_writev); an empty one behind the first it steps over.
    """
    if device.stream is None:
        return [spans]

    return [(it,) for number, it in enumerate(spans) if it[1] or not number]


def _gather_parts(context: Context, call: Notification, parts: list[Spans]) -> list[bytes]:
    """The bytes of each part, up to one that cannot be read.

    Raises:
        BadAddress: that is the first one.
    """
    pieces: list[bytes] = []
    for part in parts:
        try:
            pieces.append(context.memory.gather(call.pid, part, _size_of(part)))
        except BadAddress:
            if not pieces:
                raise

            break

    return pieces


def _size_of(part: Spans) -> int:
    return min(sum(length for _, length in part), _MAX_TRANSFER)


def _read_at(device: OpenDevice, size: int, at: int | None) -> bytes:
    """Read at a position; None is that of a stream."""
    if at is None:
        assert device.stream is not None
        return device.stream.read(size)

    return device.session.pread(size, at)


def _write_at(device: OpenDevice, data: bytes, at: int | None) -> int:
    """Write at a position; None is that of a stream."""
    if at is None:
        assert device.stream is not None
        return device.stream.write(data)

    return device.session.pwrite(data, at)


def _move_parts(device: OpenDevice, position: int | None, parts: Sequence[_Part]) -> int:
    """Move one part after another, up to one that is refused or moves less.

    Raises:
        DeviceError: the first one was refused.
    """
    moved = 0
    for size, transfer in parts:
        try:
            done = _move_device(device, None if position is None else position + moved, transfer)
        except DeviceError:
            if not moved:
                raise

            break

        moved += done
        if done != size:
            break

    return moved


def _move_device(
    device: OpenDevice, position: int | None, transfer: Callable[[int | None], int]
) -> int:
    """Transfer at a position, or else at the offset, which advances by what was moved.

    It advances also where an error comes after progress (i386).
    """
    if position is not None or device.stream is not None:
        return transfer(position)

    try:
        moved = transfer(device.offset)
    except DeviceError as error:
        device.offset = (device.offset + error.moved) & _U64
        raise

    device.offset = (device.offset + moved) & _U64

    return moved


def _find_spans(form: str, context: Context, device: OpenDevice, call: Notification) -> Spans:
    """Where the bytes lie in the program."""
    _, first, second, _, _, flags = call.args
    if form in ("", "64"):
        return ((first, second),)

    spans = context.memory.spans(call.pid, first, second)
    if not any(length for _, length in spans):
        spans = ()  # nothing is asked of the file then

    taken = 0 if device.stream is None else _RWF_HIPRI  # of which nothing comes
    if form == "pv2" and flags & ~taken:
        raise refusal(errno.EOPNOTSUPP)

    return spans


@contextmanager
def _hold_device(context: Context, device: OpenDevice) -> Iterator[bool]:
    """Hold the device for one transfer; False if another thread has to make the transfer."""
    if context.patient:
        device.lock.acquire()
    elif device.session.may_wait(None) or not device.lock.acquire(blocking=False):
        yield False
        return

    try:
        yield True
    finally:
        device.lock.release()


def lseek(context: Context, call: Notification) -> Result:
    """Take a descriptor, an offset, whence; the end of a device is its start, its size being 0."""
    device = context.find(call)
    if device is None:
        return PROCEED

    if not context.patient and device.lock.locked():
        return DEFER

    with device.lock:
        whence = call.args[2] & 0xFFFFFFFF
        if device.stream is not None:
            return device.stream.seek(_signed(call.args[1]), whence)

        if whence in (os.SEEK_DATA, os.SEEK_HOLE):
            raise refusal(errno.ENOTTY)

        if whence not in (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END):
            raise refusal(errno.EINVAL)

        target = call.args[1] + (device.offset if whence == os.SEEK_CUR else 0) & _U64
        if target > _U64 - _MAX_ERRNO:
            raise refusal(errno.EOVERFLOW)  # the program would take it for an error

        device.offset = target

    return target


def _signed(value: int) -> int:
    return value - (_U64 + 1) if value > _U64 >> 1 else value


#: Form: where the call keeps its bytes and its position.
READS: Final[dict[str, Handler]] = {
    name: partial(_read_device, form)
    for name, form in zip(("read", "pread64", "readv", "preadv", "preadv2"), _SUFFIXES, strict=True)
}
WRITES: Final[dict[str, Handler]] = {
    name: partial(_write_device, form)
    for name, form in zip(
        ("write", "pwrite64", "writev", "pwritev", "pwritev2"), _SUFFIXES, strict=True
    )
}
