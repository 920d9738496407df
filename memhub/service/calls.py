"""What both clients share: addresses, requests from Python's words, answers back into them.

Nothing heavy is imported here: a one-shot command pays for a socket and little else.
"""

from __future__ import annotations

import os
from collections import namedtuple
from struct import Struct
from struct import error as struct_error

from memhub.escape import escape_controls
from memhub.service import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from memhub.abi import Buffer, DataModel
    from memhub.errors import DeviceError

#: Where a client looks for a service unless it is told.
VARIABLE: Final = "MEMHUB_SOCKET"
FOREVER: Final = 0xFFFFFFFF
EVERY: Final = 0x7FFFFFFF  # more slots than any machine has

_FORCE: Final = 1 << 31
_UPDATE: Final = 0
_REMOVE: Final = 1
_MODES: Final = {"r": wire.OPEN_READ, "w": wire.OPEN_WRITE, "r+": 3}
_MODELS: Final = {None: 0, "LP64": wire.MODEL_LP64, "ILP32": wire.MODEL_ILP32}


class Layout:
    """How a data model lays out the ioctls' arguments; the numbers are those of `memhub.abi`.

    Args:
        name: `LP64` or `ILP32`.
        op: `struct mem_range_op`.
        desc: `struct mem_range_desc`.
        pointer: bytes of a pointer.
        get: the number of MEMRANGE_GET.
        set: the number of MEMRANGE_SET.
    """

    __slots__ = ("desc", "get", "name", "op", "pointer", "set")

    def __init__(self, name: str, op: str, desc: str, pointer: int, get: int, set_: int) -> None:
        self.name = name
        self.op = Struct(op)
        self.desc = Struct(desc)
        self.pointer = pointer
        self.get = get
        self.set = set_

    def model(self) -> DataModel:
        """The same as `memhub.abi` has it."""
        from memhub import abi

        return abi.LP64 if self.name == "LP64" else abi.ILP32

    def pointing(self, op: Buffer) -> bytes:
        """An argument whose `mo_desc` is not NULL, so that the frame's descriptors count."""
        raw = bytes(op)
        if raw[: self.pointer].strip(b"\0"):
            return raw

        return (b"\1" + bytes(self.pointer - 1) + raw[self.pointer :])[: len(raw)]


LAYOUTS: Final = {
    wire.MODEL_LP64: Layout("LP64", "<Qii", "<QQI8s4x", 8, 0xC0106D32, 0x80106D33),
    wire.MODEL_ILP32: Layout("ILP32", "<Iii", "<QQI8s", 4, 0xC00C6D32, 0x800C6D33),
}

#: What an ioctl leaves behind: the argument, and the descriptors behind it.
IoctlReply = namedtuple("IoctlReply", "op descs")


class HeldClaim:
    """A claim as the service answers it.

    Attributes:
        fence: its fencing number.
        base: first byte.
        end: one past the last.
        lease: seconds from the answer until it must be renewed, or None.
    """

    __slots__ = ("base", "end", "fence", "lease")

    def __init__(self, fence: int, base: int, length: int, lease: float | None) -> None:
        self.fence = fence
        self.base = base
        self.end = base + length
        self.lease = lease

    @property
    def length(self) -> int:
        """Bytes."""
        return self.end - self.base

    def __repr__(self) -> str:
        return f"<HeldClaim {self.base:#x}-{self.end - 1:#x} fence {self.fence}>"


def where(address: str | os.PathLike[str] | None) -> tuple[str, str, int]:
    """Read an address.

    Args:
        address: `unix:PATH`, a path, or `tcp:HOST:PORT`; None takes `$MEMHUB_SOCKET`.

    Returns:
        `("unix", path, 0)` or `("tcp", host, port)`.

    Raises:
        ValueError: it is none of these, or nothing is named.
    """
    text = os.fspath(address) if address is not None else os.environ.get(VARIABLE, "")
    if not text:
        raise ValueError(f"no service is named: give an address, or set {VARIABLE}")

    if not text.startswith("tcp:"):
        return "unix", text.removeprefix("unix:"), 0

    host, colon, port = text[4:].rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 0xFFFF:
        raise ValueError(f"{text!r} is no address of the form tcp:HOST:PORT")

    return "tcp", host.strip("[]"), int(port)


def at(error: OSError, place: str) -> OSError:
    """Name the service in an error of the operating system that does not.

    Args:
        error: why it could not be reached, or why the connection ended.
        place: its path, or its host.

    Returns:
        the same error, whose `filename` is the place; one that already has one stays as it is.
    """
    if error.filename is None:
        if error.errno is None:
            import errno

            number = errno.ETIMEDOUT if isinstance(error, TimeoutError) else errno.EIO
            error.errno, error.strerror = number, str(error)

        error.filename = place

    return error


def milliseconds(wait: float | None) -> int:
    """A wait or a lease on the wire; at least one millisecond, unless it is None.

    Raises:
        InvalidArgument: EINVAL; it is negative or no number.
    """
    if wait is None:
        return 0

    if not wait >= 0:
        raise unfit(f"{wait} seconds are no time to come")

    return min(max(1, -int(-wait * 1000 // 1)), FOREVER) if wait < FOREVER else FOREVER


def open_request(path: str, mode: str, *, undo: bool, model: str | None) -> wire.Open:
    """OPEN.

    Raises:
        InvalidArgument: EINVAL; an unknown mode.
    """
    if mode not in _MODES:
        raise unfit(f"mode {mode!r} is none of r, w and r+")

    return wire.Open(0, _MODES[mode] | (wire.OPEN_UNDO if undo else 0), _MODELS[model], path)


def get_request(handle: int, layout: Layout, count: int, room: int) -> wire.Ioctl:
    """MEMRANGE_GET."""
    return wire.Ioctl(0, handle, layout.get, layout.op.pack(1, count, 0), room=room)


def ioctl_request(
    handle: int,
    layout: Layout,
    request: int,
    op: Buffer,
    descs: Buffer | None,
    room: int,
    wait: float | None,
) -> wire.Ioctl:
    """An ioctl in the device's own layout."""
    raw = b"" if descs is None else bytes(descs)
    number = request & 0xFFFFFFFF
    given = raw if number != layout.get else b""
    behind = room if descs is None else len(raw)

    return wire.Ioctl(0, handle, number, layout.pointing(op), given, behind, milliseconds(wait))


def ioctl_reply(op: Buffer, layout: Layout, reply: wire.IoctlDone) -> IoctlReply:
    """What an ioctl left behind, with the caller's own pointer."""
    if not reply.op:
        return IoctlReply(bytes(op), reply.desc)

    return IoctlReply(bytes(op)[: layout.pointer] + reply.op[layout.pointer :], reply.desc)


def update_request(
    handle: int,
    layout: Layout,
    base: int,
    length: int,
    flags: int,
    owner: str,
    *,
    force: bool,
    wait: float | None,
    fence: int | None,
) -> wire.Ioctl:
    """MEMRANGE_SET with MEMRANGE_SET_UPDATE."""
    flags |= _FORCE if force else 0

    return _set_request(handle, layout, _UPDATE, (base, length, flags, owner), wait, fence)


def remove_request(
    handle: int, layout: Layout, base: int, length: int, *, wait: float | None, fence: int | None
) -> wire.Ioctl:
    """MEMRANGE_SET with MEMRANGE_SET_REMOVE."""
    return _set_request(handle, layout, _REMOVE, (base, length, 0, ""), wait, fence)


def _set_request(
    handle: int,
    layout: Layout,
    arg: int,
    desc: tuple[int, int, int, str],
    wait: float | None,
    fence: int | None,
) -> wire.Ioctl:
    base, length, flags, owner = desc
    try:
        raw = layout.desc.pack(base, length, flags, owner.encode("latin-1")[:7])
    except (ValueError, OverflowError, struct_error) as error:
        raise unfit(f"{base:#x}/{length:#x} {owner!r} is no range: {error}") from error

    op = layout.op.pack(1, arg, 0)

    return wire.Ioctl(0, handle, layout.set, op, raw, 0, milliseconds(wait), fence or 0)


def claimed(reply: wire.Claimed) -> HeldClaim:
    """CLAIMED."""
    return HeldClaim(reply.fence, reply.base, reply.length, reply.lease_ms / 1000 or None)


def seek_request(handle: int, offset: int, whence: int) -> wire.Seek:
    """SEEK.

    Raises:
        InvalidArgument: EINVAL; another `whence`, or an offset that 64 bits do not hold.
    """
    if not 0 <= whence <= wire.SEEK_HOLE or not -(1 << 63) <= offset < 1 << 64:
        raise unfit(f"there is no seek to {offset:#x} by whence {whence}")

    return wire.Seek(0, handle, whence, offset & ((1 << 64) - 1))


def unfit(reason: str) -> DeviceError:
    """The error of an argument that has no place on the wire, as the hub would answer it."""
    from memhub.errors import InvalidArgument

    return InvalidArgument(reason)


def room_of(limits: wire.Limits, layout: Layout) -> int:
    """The most bytes of descriptors that one answer holds."""
    return limits.max_body - 4 - layout.op.size


def refused(message: wire.Refused) -> DeviceError:
    """The error of a connection that the service did not take."""
    answer = wire.Error(0, message.code, 0, message.name, "", message.reason, b"")
    if message.name == "EACCES":
        answer.kind = "AccessDenied"

    return wire.error_from_wire(answer)


def lost(reason: str) -> ConnectionError:
    """The error of every request that a broken connection leaves unanswered."""
    import errno

    return ConnectionResetError(
        errno.ECONNRESET, f"the connection to the service is gone: {escape_controls(reason)}"
    )


def joined(pieces: Sequence[bytes]) -> bytes:
    """The pieces of an answer as one."""
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
