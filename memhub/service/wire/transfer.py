"""The most frequent frames, each with a codec of its own: ioctls, reads and writes.

A body that is longer than one frame allows is followed by DATA frames of the same request id.
"""

# ruff: noqa: D102 - an override keeps the docstring of layout.Message
from __future__ import annotations

from struct import error as struct_error

from memhub.service.wire.layout import LAST, Fixed, LocalProtocolError, Message, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar, Self

    from memhub.service.wire.layout import rest, u32, u64


class Ioctl(Message):
    """One ioctl on a handle.

    Attributes:
        handle: from OPENED.
        command: the request number of the handle's data model, such as 0xc0106d32.
        fence: the fencing number that the caller believes to hold, or 0.
        wait_ms: how long a busy range may be waited for; 0 answers EBUSY at once, 0xffffffff
            waits without limit.
        room: bytes that the caller has behind `mo_desc`; the answer's `desc` is never longer.
        op_size: bytes of `op`.
        op: `struct mem_range_op` in the handle's layout. Its pointer is not followed: NULL is
            a NULL pointer, anything else means the `desc` of this frame and its answer.
        desc: the descriptors behind `mo_desc`, in the handle's layout; empty for MEMRANGE_GET.

    Errors: EACCES, EBUSY, EDEADLK, EEXIST, EFAULT, EINVAL, ENODEV, ENOENT, ENOSPC, ENOTTY,
    ENXIO, EOPNOTSUPP, ETIMEDOUT.
    """

    TYPE: ClassVar[int] = 0x18

    handle: u32
    command: u32
    fence: u64
    wait_ms: u32
    room: u32
    op_size: u32
    op: rest
    desc: rest

    def __init__(
        self,
        request: int,
        handle: int,
        command: int,
        op: bytes,
        desc: bytes = b"",
        room: int = 0,
        wait_ms: int = 0,
        fence: int = 0,
    ) -> None:
        self.request = request
        self.handle = handle
        self.command = command
        self.fence = fence
        self.wait_ms = wait_ms
        self.room = room
        self.op_size = len(op)
        self.op = op
        self.desc = desc

    def encode(self) -> bytes:
        op, desc = self.op, self.desc
        try:
            head = _IOCTL_FRAME(
                28 + len(op) + len(desc),
                0x18,
                0,
                self.request,
                self.handle,
                self.command,
                self.fence,
                self.wait_ms,
                self.room,
                len(op),
            )
        except struct_error as error:
            raise LocalProtocolError(f"IOCTL cannot be sent: {error}") from None

        return head + op + desc

    @classmethod
    def decode(cls, data: bytes, at: int, stop: int, flags: int, request: int) -> Self:
        if stop - at < 28:
            raise cls.short(stop - at)

        handle, command, fence, wait_ms, room, op_size = _IOCTL_BODY(data, at)
        at += 28
        end = at + op_size
        if end > stop:
            raise ProtocolError(f"IOCTL holds {stop - at} bytes, fewer than its op_size {op_size}")

        return cls(request, handle, command, data[at:end], data[end:stop], room, wait_ms, fence)


_IOCTL_FRAME = Ioctl.FRAME.pack
_IOCTL_BODY = Ioctl.FIXED.unpack_from


class IoctlDone(Message):
    """An ioctl succeeded.

    Attributes:
        op_size: bytes of `op`.
        op: `struct mem_range_op` as the kernel copies it out; empty for a request that has no
            output (MEMRANGE_SET).
        desc: what was written behind `mo_desc`.
    """

    TYPE: ClassVar[int] = 0x82

    op_size: u32
    op: rest
    desc: rest

    def __init__(self, request: int, op: bytes, desc: bytes = b"") -> None:
        self.request = request
        self.op_size = len(op)
        self.op = op
        self.desc = desc

    def encode(self) -> bytes:
        op, desc = self.op, self.desc
        size = len(op)
        try:
            return _DONE_FRAME(4 + size + len(desc), 0x82, 0, self.request, size) + op + desc
        except struct_error as error:
            raise LocalProtocolError(f"IOCTL_DONE cannot be sent: {error}") from None

    @classmethod
    def decode(cls, data: bytes, at: int, stop: int, flags: int, request: int) -> Self:
        if stop - at < 4:
            raise cls.short(stop - at)

        (op_size,) = _DONE_BODY(data, at)
        at += 4
        end = at + op_size
        if end > stop:
            raise ProtocolError(
                f"IOCTL_DONE holds {stop - at} bytes, fewer than its op_size {op_size}"
            )

        return cls(request, data[at:end], data[end:stop])


_DONE_FRAME = IoctlDone.FRAME.pack
_DONE_BODY = IoctlDone.FIXED.unpack_from


class Read(Fixed):
    """Read at the handle's offset and move it; DATA answers.

    Attributes:
        handle: from OPENED.
        count: the most bytes to read.

    Errors: EFAULT, EINVAL, ENOMEM, ENXIO.
    """

    TYPE: ClassVar[int] = 0x12

    handle: u32
    count: u64

    def __init__(self, request: int, handle: int, count: int) -> None:
        self.request = request
        self.handle = handle
        self.count = count


class Pread(Fixed):
    """Read at an offset, without moving the handle's; DATA answers.

    Attributes:
        handle: from OPENED.
        offset: where, unsigned.
        count: the most bytes to read.

    Errors: EFAULT, EINVAL, ENOMEM, ENXIO.
    """

    TYPE: ClassVar[int] = 0x13

    handle: u32
    offset: u64
    count: u64

    def __init__(self, request: int, handle: int, offset: int, count: int) -> None:
        self.request = request
        self.handle = handle
        self.offset = offset
        self.count = count


class _Payload(Message):
    """A frame whose last field is the payload, which is not copied when it is sent."""

    def buffers(self) -> tuple[bytes, ...]:
        data: bytes = getattr(self, "data")  # noqa: B009 - the field is the subclass's
        head = [getattr(self, name) for name in self.HEAD]
        flags = LAST if getattr(self, "last", False) else 0
        try:
            self.check()
            length = self.FIXED.size + len(data)

            return self.FRAME.pack(length, self.TYPE, flags, self.request, *head), data
        except (struct_error, ProtocolError) as error:
            raise LocalProtocolError(f"{self.NAME} cannot be sent: {error}") from None

    def encode(self) -> bytes:
        return b"".join(self.buffers())


class Write(_Payload):
    """Write at the handle's offset and move it; DONE answers with the bytes moved.

    Attributes:
        handle: from OPENED.
        total: bytes to write, in this frame and the DATA frames that follow it.
        data: the first of them.

    Errors: EFAULT, EINVAL, ENOMEM, ENXIO.
    """

    TYPE: ClassVar[int] = 0x14

    handle: u32
    total: u64
    data: rest

    def __init__(self, request: int, handle: int, total: int, data: bytes) -> None:
        self.request = request
        self.handle = handle
        self.total = total
        self.data = data

    def check(self) -> None:
        if len(self.data) > self.total:
            raise ProtocolError(f"WRITE holds {len(self.data)} bytes, over its total {self.total}")

    @classmethod
    def decode(cls, data: bytes, at: int, stop: int, flags: int, request: int) -> Self:
        if stop - at < 12:
            raise cls.short(stop - at)

        handle, total = cls.FIXED.unpack_from(data, at)
        message = cls(request, handle, total, data[at + 12 : stop])
        message.check()

        return message


class Pwrite(_Payload):
    """Write at an offset, without moving the handle's; DONE answers with the bytes moved.

    Attributes:
        handle: from OPENED.
        offset: where, unsigned.
        total: bytes to write, in this frame and the DATA frames that follow it.
        data: the first of them.

    Errors: EFAULT, EINVAL, ENOMEM, ENXIO.
    """

    TYPE: ClassVar[int] = 0x15

    handle: u32
    offset: u64
    total: u64
    data: rest

    def __init__(self, request: int, handle: int, offset: int, total: int, data: bytes) -> None:
        self.request = request
        self.handle = handle
        self.offset = offset
        self.total = total
        self.data = data

    def check(self) -> None:
        if len(self.data) > self.total:
            raise ProtocolError(f"PWRITE holds {len(self.data)} bytes, over its total {self.total}")

    @classmethod
    def decode(cls, data: bytes, at: int, stop: int, flags: int, request: int) -> Self:
        if stop - at < 20:
            raise cls.short(stop - at)

        handle, offset, total = cls.FIXED.unpack_from(data, at)
        message = cls(request, handle, offset, total, data[at + 20 : stop])
        message.check()

        return message


class Data(_Payload):
    """A piece of a read's answer, of a write's payload, or of a report.

    Attributes:
        last: no piece follows; on a write before its total, the rest is not sent.
        data: the bytes.
    """

    TYPE: ClassVar[int] = 0x40

    last: bool
    data: rest

    def __init__(self, request: int, last: bool, data: bytes) -> None:
        self.request = request
        self.last = last
        self.data = data

    @classmethod
    def decode(cls, data: bytes, at: int, stop: int, flags: int, request: int) -> Self:
        return cls(request, flags == LAST, data[at:stop])


class Done(Fixed):
    """A request succeeded, with one number.

    Attributes:
        value: bytes moved, the new offset, the subscription's number, the count of claims that
            a BREAK ended, PING's cookie; 0 for every other request.
    """

    TYPE: ClassVar[int] = 0x80

    value: u64

    def __init__(self, request: int, value: int = 0) -> None:
        self.request = request
        self.value = value

    def encode(self) -> bytes:
        try:
            return _NUMBER_FRAME(8, 0x80, 0, self.request, self.value)
        except struct_error as error:
            raise LocalProtocolError(f"DONE cannot be sent: {error}") from None


_NUMBER_FRAME = Done.FRAME.pack
