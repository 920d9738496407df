"""The ioctls of mem(4) as frames, each with a codec of its own, since they are frequent."""

# ruff: noqa: D102 - an override keeps the docstring of layout.Message
from __future__ import annotations

from struct import Struct
from struct import error as struct_error

from memhub.service.wire.greeting import FEATURE_SET
from memhub.service.wire.layout import LocalProtocolError, Message, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar, Final, Self

    from memhub.service.wire.layout import rest, u16, u32, u64

#: One slot of SET_DONE's outcome: its number, and its descriptor before and after: base, length,
#: flags, owner and padding, as LP64 has them.
OUTCOME_SLOT: Final = Struct("<IQQI8s4xQQI8s4x")
#: One register of it: its number, and its value before and after.
OUTCOME_MSR: Final = Struct("<IQQ")
#: `slots` of a SET_DONE whose outcome is left out.
OUTCOME_LEFT_OUT: Final = 0xFFFF


class Ioctl(Message):
    """One ioctl on a handle.

    Attributes:
        handle: from OPENED.
        command: the request number of the handle's data model, such as 0xc0106d32.
        fence: the fencing number that the caller believes to hold, or 0. Only MEMRANGE_SET looks
            at it.
        wait_ms: how long MEMRANGE_SET may wait for a busy range; 0 answers EBUSY at once,
            0xffffffff waits without limit.
        room: bytes that the caller has behind `mo_desc`; the answer's `desc` is never longer.
        op_size: bytes of `op`.
        op: `struct mem_range_op` in the handle's layout; another size is EFAULT. Its pointer is
            not followed: NULL is a NULL pointer, anything else means the `desc` of this frame and
            its answer. Of `/proc/mtrr`, `struct mtrr_sentry` or `mtrr_gentry`.
        desc: for MEMRANGE_SET the descriptor behind `mo_desc`, in the handle's layout; another
            size is EFAULT. Empty for MEMRANGE_GET.

    Errors: EACCES, EAGAIN, EBUSY, EDEADLK, EEXIST, EFAULT, EINVAL, ENODEV, ENOENT, ENOSPC,
    ENOTTY, ENXIO, EOPNOTSUPP, ETIMEDOUT.
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

    def buffers(self) -> tuple[bytes, ...]:
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

        return (head + op + desc,)

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
        desc: what was written behind `mo_desc`. Of an ioctl of `/proc/mtrr`: what it returned, as
            an i32.
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

    def buffers(self) -> tuple[bytes, ...]:
        op, desc = self.op, self.desc
        size = len(op)
        try:
            head = _DONE_FRAME(4 + size + len(desc), 0x82, 0, self.request, size)
        except struct_error as error:
            raise LocalProtocolError(f"IOCTL_DONE cannot be sent: {error}") from None

        return (head + op + desc,)

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


class Set(Message):
    """MEMRANGE_SET with a lease; SET_DONE answers with what it changed.

    Attributes:
        handle: from OPENED.
        arg: `mo_arg[0]`: MEMRANGE_SET_UPDATE 0, MEMRANGE_SET_REMOVE 1; another is EOPNOTSUPP.
        fence: the fencing number that the caller believes to hold, or 0.
        wait_ms: how long a busy range may be waited for; 0 answers EBUSY at once, 0xffffffff
            waits without limit.
        lease_ms: lease of the claim that it takes, in milliseconds; 0 is until released.
        desc: one `struct mem_range_desc` in the handle's layout; another size is EFAULT.

    Errors: EACCES, EAGAIN, EBUSY, EDEADLK, EEXIST, EFAULT, EINVAL, ENODEV, ENOENT, ENOSPC,
    ENOTTY, ENXIO, EOPNOTSUPP, ETIMEDOUT.
    """

    TYPE: ClassVar[int] = 0x19
    FEATURE: ClassVar[int] = FEATURE_SET

    handle: u32
    arg: u32
    fence: u64
    wait_ms: u32
    lease_ms: u32
    desc: rest

    def __init__(
        self,
        request: int,
        handle: int,
        arg: int,
        fence: int,
        wait_ms: int,
        lease_ms: int,
        desc: bytes,
    ) -> None:
        self.request = request
        self.handle = handle
        self.arg = arg
        self.fence = fence
        self.wait_ms = wait_ms
        self.lease_ms = lease_ms
        self.desc = desc

    def buffers(self) -> tuple[bytes, ...]:
        desc = self.desc
        try:
            head = _SET_FRAME(
                24 + len(desc),
                0x19,
                0,
                self.request,
                self.handle,
                self.arg,
                self.fence,
                self.wait_ms,
                self.lease_ms,
            )
        except struct_error as error:
            raise LocalProtocolError(f"SET cannot be sent: {error}") from None

        return (head + desc,)

    @classmethod
    def decode(cls, data: bytes, at: int, stop: int, flags: int, request: int) -> Self:
        if stop - at < 24:
            raise cls.short(stop - at)

        handle, arg, fence, wait_ms, lease_ms = _SET_BODY(data, at)

        return cls(request, handle, arg, fence, wait_ms, lease_ms, data[at + 24 : stop])


_SET_FRAME = Set.FRAME.pack
_SET_BODY = Set.FIXED.unpack_from


class SetDone(Message):
    """A MEMRANGE_SET took effect.

    Attributes:
        fence: fencing number of the claim that it took or wrote under; 0 for none.
        slots: how many slots it wrote or left different; 0xffff if `outcome` would be longer
            than `max_body` and is left out, and the other counts are 0.
        claimed: how many slots it newly claimed.
        released: how many slots whose claim it ended.
        msrs: how many registers differ.
        outcome: `slots` rows of u32 slot and its `struct mem_range_desc` before and after, in
            LP64 layout; then `claimed` and then `released` slots, each u32; then `msrs` rows of
            u32 number, u64 before, u64 after.
    """

    TYPE: ClassVar[int] = 0x85
    FEATURE: ClassVar[int] = FEATURE_SET

    fence: u64
    slots: u16
    claimed: u16
    released: u16
    msrs: u16
    outcome: rest

    def __init__(
        self,
        request: int,
        fence: int,
        slots: int,
        claimed: int,
        released: int,
        msrs: int,
        outcome: bytes,
    ) -> None:
        self.request = request
        self.fence = fence
        self.slots = slots
        self.claimed = claimed
        self.released = released
        self.msrs = msrs
        self.outcome = outcome

    def check(self) -> None:
        size = len(self.outcome)
        if self.slots == OUTCOME_LEFT_OUT:
            if size:
                raise ProtocolError(f"SET_DONE leaves its outcome out and has {size} bytes of it")

            return

        wanted = self.slots * OUTCOME_SLOT.size + (self.claimed + self.released) * 4
        wanted += self.msrs * OUTCOME_MSR.size
        if size != wanted:
            raise ProtocolError(f"SET_DONE has {size} bytes of outcome where {wanted} are due")

    def buffers(self) -> tuple[bytes, ...]:
        outcome = self.outcome
        try:
            self.check()
            head = _SET_DONE_FRAME(
                16 + len(outcome),
                0x85,
                0,
                self.request,
                self.fence,
                self.slots,
                self.claimed,
                self.released,
                self.msrs,
            )
        except (ProtocolError, struct_error) as error:
            raise LocalProtocolError(f"SET_DONE cannot be sent: {error}") from None

        return (head + outcome,)

    @classmethod
    def decode(cls, data: bytes, at: int, stop: int, flags: int, request: int) -> Self:
        if stop - at < 16:
            raise cls.short(stop - at)

        fence, slots, claimed, released, msrs = _SET_DONE_BODY(data, at)
        message = cls(request, fence, slots, claimed, released, msrs, data[at + 16 : stop])
        message.check()

        return message


_SET_DONE_FRAME = SetDone.FRAME.pack
_SET_DONE_BODY = SetDone.FIXED.unpack_from
