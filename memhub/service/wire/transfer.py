"""Reads and writes, each with a codec of its own, since they are frequent.

A body that is longer than one frame allows is followed by DATA frames of the same request id.
"""

# ruff: noqa: D102 - an override keeps the docstring of layout.Message
from __future__ import annotations

from struct import error as struct_error

from memhub.service.wire.layout import LAST, LocalProtocolError, Message, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ClassVar, Self

    from memhub.service.wire.layout import rest, u32, u64


class Fixed(Message):
    """A frame of fixed fields alone, decoded with one call."""

    @classmethod
    def decode(cls, data: bytes, at: int, stop: int, flags: int, request: int) -> Self:
        if stop - at != cls.FIXED.size:
            raise ProtocolError(f"{cls.NAME} body is {stop - at} bytes, not {cls.FIXED.size}")

        return cls(request, *cls.FIXED.unpack_from(data, at))

    @classmethod
    def decode_grown(cls, data: bytes, at: int, stop: int, flags: int, request: int) -> Self:
        if stop - at < cls.FIXED.size:
            raise cls.short(stop - at)

        return cls(request, *cls.FIXED.unpack_from(data, at))


class Read(Fixed):
    """Read at the handle's offset and move it; DATA answers.

    Attributes:
        handle: from OPENED.
        count: the most bytes to read, up to 2^31-1.

    Errors: EFAULT, EINVAL, ENOMEM.
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
        count: the most bytes to read, up to 2^31-1.

    Errors: EFAULT, EINVAL, ENOMEM.
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
        try:
            self.check()
            length = self.FIXED.size + len(data)

            return self.FRAME.pack(length, self.TYPE, 0, self.request, *head), data
        except (struct_error, ProtocolError) as error:
            raise LocalProtocolError(f"{self.NAME} cannot be sent: {error}") from None

    @classmethod
    def decode(cls, data: bytes, at: int, stop: int, flags: int, request: int) -> Self:
        size = cls.FIXED.size
        if stop - at < size:
            raise cls.short(stop - at)

        make: Callable[..., Self] = cls  # each subclass has the fixed fields and then `data`
        message = make(request, *cls.FIXED.unpack_from(data, at), data[at + size : stop])
        message.check()

        return message


class Write(_Payload):
    """Write at the handle's offset and move it; DONE answers with the bytes moved.

    Attributes:
        handle: from OPENED.
        total: bytes to write, in this frame and the DATA frames that follow it; up to 2^31-1.
        data: the first of them.

    Errors: EFAULT, EINVAL, ENOMEM; of `/proc/mtrr` also EBUSY, ENOSPC, ENOSYS.
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


class Pwrite(_Payload):
    """Write at an offset, without moving the handle's; DONE answers with the bytes moved.

    Attributes:
        handle: from OPENED.
        offset: where, unsigned.
        total: bytes to write, in this frame and the DATA frames that follow it; up to 2^31-1.
        data: the first of them.

    Errors: EFAULT, EINVAL, ENOMEM; of `/proc/mtrr` ESPIPE.
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


class Data(Message):
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

    def buffers(self) -> tuple[bytes, ...]:
        data = self.data
        try:
            return _DATA_FRAME(len(data), 0x40, LAST if self.last else 0, self.request), data
        except struct_error as error:
            raise LocalProtocolError(f"DATA cannot be sent: {error}") from None

    @classmethod
    def decode(cls, data: bytes, at: int, stop: int, flags: int, request: int) -> Self:
        return cls(request, flags == LAST, data[at:stop])


_DATA_FRAME = Data.FRAME.pack


class Done(Fixed):
    """A request succeeded, with one number.

    Attributes:
        value: bytes moved, the new offset, the subscription's number, the count of claims that
            a BREAK ended, PING's cookie; 0 for a CLOSE, RELEASE, WAIT or UNSUBSCRIBE.
    """

    TYPE: ClassVar[int] = 0x80

    value: u64

    def __init__(self, request: int, value: int = 0) -> None:
        self.request = request
        self.value = value

    def buffers(self) -> tuple[bytes, ...]:
        try:
            return (_DONE_FRAME(8, 0x80, 0, self.request, self.value),)
        except struct_error as error:
            raise LocalProtocolError(f"DONE cannot be sent: {error}") from None


_DONE_FRAME = Done.FRAME.pack
