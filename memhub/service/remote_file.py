"""An open device file of a service: its methods as requests, and the answers as replies.

Both clients translate with this and differ in how they send and wait. Nothing heavy is imported
here, since the blocking client has to start quickly.
"""

from __future__ import annotations

from struct import error as struct_error

from memhub.abi_layout import (
    EVERY_SLOT,
    ILP32_LAYOUT,
    LP64_LAYOUT,
    MDF_FORCE,
    MEMRANGE_SET_REMOVE,
    MEMRANGE_SET_UPDATE,
    U64_MAX,
    IoctlReply,
    flags_of_words,
    misfit,
    owner_field,
)
from memhub.arguments import (
    take_attribute,
    take_buffer,
    take_integer,
    take_lease,
    take_optional,
    take_owner,
    take_seconds,
    take_span,
    take_text,
    take_wait,
    wrong_address,
    wrong_fence,
    wrong_seek,
    wrong_transfer,
)
from memhub.service import wire
from memhub.service.client_errors import (
    closed_handle,
    invalid_argument,
    not_on_the_wire,
)
from memhub.service.kernel_file import KERNEL_FILE, kernel_ioctl, kernel_reply
from memhub.service.wire_times import lease_ms, wait_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from memhub.abi import Buffer, DataModel
    from memhub.abi_layout import Layout

_LAYOUTS: Final = {wire.MODEL_LP64: LP64_LAYOUT, wire.MODEL_ILP32: ILP32_LAYOUT}


class RemoteFile:
    """An open `/dev/mem` or `/dev/kmem` of a service; each `*_request` makes a frame.

    They raise BadHandle (EBADF) once it is closed, and InvalidArgument (EINVAL) for what does
    not fit the frame's fields.

    Attributes:
        number: the connection's number for it.
        path: `NAME:/dev/mem`.
        arch: the machine's architecture.
        machine: its name.
        closed: whether it is closed.
    """

    __slots__ = ("_features", "_layout", "_room", "arch", "closed", "machine", "number", "path")

    def __init__(
        self, opened: wire.Opened, path: str, limits: wire.Limits, features: int = 0
    ) -> None:
        self.number = opened.handle
        self.path = f"{opened.machine}:{path.rpartition(':')[2]}"
        self.arch = opened.arch
        self.machine = opened.machine
        self.closed = False
        self._layout = _LAYOUTS[opened.model]
        self._features = features
        self._room = limits.max_body - 4 - self._layout.op.size

    def describe(self, kind: str) -> str:
        """What a handle of this file shows of itself; `kind` is the class."""
        state = " closed" if self.closed else ""

        return f"<{kind} {self.number} on {self.path}{state}>"

    def open_number(self) -> int:
        """The number, while it is open."""
        if self.closed:
            raise closed_handle(self.number)

        return self.number

    def model(self) -> DataModel:
        """The data model of its ioctls."""
        from memhub import abi

        return abi.LP64 if self._layout is LP64_LAYOUT else abi.ILP32

    # Memory

    def read_request(self, length: int) -> wire.Read:
        """READ."""
        number, length = self.open_number(), take_integer("length", length)
        _refuse(wrong_transfer(length, None))

        return wire.Read(0, number, length)

    def pread_request(self, length: int, offset: int) -> wire.Pread:
        """PREAD."""
        number, length = self.open_number(), take_integer("length", length)
        offset = take_integer("offset", offset)
        _refuse(wrong_transfer(length, offset))

        return wire.Pread(0, number, offset, length)

    def write_request(self, data: Buffer) -> tuple[wire.Write, bytes]:
        """WRITE, and the payload that is framed with it."""
        return wire.Write(0, self.open_number(), 0, b""), bytes(take_buffer("data", data))

    def pwrite_request(self, data: Buffer, offset: int) -> tuple[wire.Pwrite, bytes]:
        """PWRITE, and the payload that is framed with it."""
        number, payload = self.open_number(), bytes(take_buffer("data", data))
        offset = take_integer("offset", offset)
        _refuse(wrong_transfer(len(payload), offset))

        return wire.Pwrite(0, number, offset, 0, b""), payload

    def seek_request(self, offset: int, whence: int) -> wire.Seek:
        """SEEK; sums are taken modulo 2^64, as the protocol says."""
        number = self.open_number()
        offset, whence = take_integer("offset", offset), take_integer("whence", whence)
        _refuse(wrong_seek(offset, whence))

        return wire.Seek(0, number, whence, offset & U64_MAX)

    def map_request(self, rights: int) -> wire.Map:
        """MAP."""
        return wire.Map(0, self.open_number(), rights)

    # Ranges

    def ioctl_request(
        self,
        request: int,
        op: Buffer,
        descs: Buffer | None,
        wait: float | None,
        fence: int | None,
    ) -> wire.Ioctl:
        """IOCTL with the caller's own bytes."""
        if self.path.endswith(KERNEL_FILE):
            return kernel_ioctl(self.open_number(), request, op)

        layout, given = self._layout, b""
        packed = _point_somewhere(layout, bytes(take_buffer("op", op)))
        if descs is not None:
            given = bytes(take_buffer("descs", descs))

        wait, fence = take_wait(wait), take_optional("fence", fence)
        command, handle = take_integer("request", request) & 0xFFFFFFFF, self.open_number()
        if command in layout.set:
            times = wait_ms(wait), _fence(fence)
            return wire.Ioctl(0, handle, command, packed, given, 0, *times)

        room = self._room if descs is None else len(given)

        return wire.Ioctl(0, handle, command, packed, b"", room)

    def ioctl_reply(self, op: Buffer, answer: wire.IoctlDone) -> IoctlReply:
        """What an ioctl left behind, with the caller's own pointer."""
        if self.path.endswith(KERNEL_FILE):
            return kernel_reply(answer)

        raw, pointer = bytes(op), self._layout.pointer
        if not answer.op:
            return IoctlReply(raw, answer.desc)

        return IoctlReply(raw[:pointer] + answer.op[pointer:], answer.desc)

    def table_request(self) -> wire.Ioctl:
        """MEMRANGE_GET of the whole table."""
        layout = self._layout
        op = layout.op.pack(1, EVERY_SLOT, 0)

        return wire.Ioctl(0, self.open_number(), layout.get, op, room=self._room)

    def update_request(
        self,
        base: int,
        length: int,
        attribute: int | str,
        owner: str | bytes,
        *,
        force: bool,
        wait: float | None,
        fence: int | None,
        lease: float | None,
    ) -> wire.Ioctl | wire.Set:
        """MEMRANGE_SET with MEMRANGE_SET_UPDATE."""
        wait, fence, lease = take_wait(wait), take_optional("fence", fence), take_lease(lease)
        attribute, owner = take_attribute(attribute), take_owner(owner)
        base, length = take_integer("mr_base", base), take_integer("mr_len", length)
        self.open_number()
        flags = _read_flags(attribute)
        flags = flags | MDF_FORCE if force else flags
        times = wait_ms(wait), lease_ms(lease)

        return self._set_request(MEMRANGE_SET_UPDATE, (base, length, flags), owner, times, fence)

    def remove_request(
        self, base: int, length: int, *, wait: float | None, fence: int | None
    ) -> wire.Ioctl | wire.Set:
        """MEMRANGE_SET with MEMRANGE_SET_REMOVE."""
        wait, fence = take_wait(wait), take_optional("fence", fence)
        base, length = take_integer("mr_base", base), take_integer("mr_len", length)
        times = wait_ms(wait), 0

        return self._set_request(MEMRANGE_SET_REMOVE, (base, length, 0), "", times, fence)

    def _set_request(
        self,
        arg: int,
        fields: tuple[int, int, int],
        owner: str | bytes,
        times: tuple[int, int],
        fence: int | None,
    ) -> wire.Ioctl | wire.Set:
        layout, handle = self._layout, self.open_number()
        try:
            packed = layout.desc.pack(*fields, owner_field(owner))
        except (ValueError, struct_error) as error:
            raise invalid_argument(misfit(*fields) or str(error)) from error

        if self._features & wire.FEATURE_SET:
            return wire.Set(0, handle, arg, _fence(fence), *times, packed)

        if times[1]:
            raise not_on_the_wire(
                "the service is of a version without a lease in a MEMRANGE_SET: "
                "claim the range with a lease first"
            )

        op = layout.op.pack(1, arg, 0)

        return wire.Ioctl(0, handle, layout.set[0], op, packed, 0, times[0], _fence(fence))

    def explain_request(self, address: int) -> wire.Explain:
        """EXPLAIN."""
        number, address = self.open_number(), take_integer("address", address)
        _refuse(wrong_address(address))

        return wire.Explain(0, number, address)

    # Claims

    def claim_request(
        self, base: int, length: int, lease: float | None, wait: float | None
    ) -> wire.Claim:
        """CLAIM."""
        base, length = take_span(base, length)
        lease, wait = take_lease(lease), take_wait(wait)
        number, span, waits = self.open_number(), _span(base, length), wait_ms(wait)

        return wire.Claim(0, number, lease_ms(lease), waits, *span)

    def release_request(self, base: int, length: int, fence: int | None) -> wire.Release:
        """RELEASE."""
        base, length = take_span(base, length)
        fence = take_optional("fence", fence)

        return wire.Release(0, self.open_number(), *_span(base, length), _fence(fence))

    def renew_request(self, fence: int, lease: float | None) -> wire.Renew:
        """RENEW."""
        fence, lease = take_integer("fence", fence), take_lease(lease)

        number, milliseconds = self.open_number(), lease_ms(lease)

        return wire.Renew(0, number, 0, 0, _fence(fence), milliseconds)

    def wait_request(self, base: int, length: int, wait: float) -> wire.Wait:
        """WAIT."""
        base, length = take_span(base, length)
        wait = take_seconds("wait", wait)

        return wire.Wait(0, self.open_number(), *_span(base, length), wait_ms(wait))

    def break_request(self, base: int, length: int, reason: str, fence: int | None) -> wire.Break:
        """BREAK."""
        base, length = take_span(base, length)
        fence, reason = take_optional("fence", fence), take_text("reason", reason)

        return wire.Break(0, self.open_number(), *_span(base, length), _fence(fence), reason)


def _read_flags(attribute: int | str) -> int:
    try:
        return flags_of_words(attribute) if isinstance(attribute, str) else attribute
    except ValueError as error:
        raise invalid_argument(str(error)) from error


def _point_somewhere(layout: Layout, raw: bytes) -> bytes:
    """An argument whose `mo_desc` is not NULL, so that the frame's descriptors count."""
    pointer = layout.pointer
    if raw[:pointer].strip(b"\0"):
        return raw

    return (b"\1" + bytes(pointer - 1) + raw[pointer:])[: len(raw)]


def _fence(fence: int | None) -> int:
    """A fencing number on the wire, where 0 stands for none.

    Raises:
        InvalidArgument: EINVAL; no claim can have that number.
    """
    if fence is None:
        return 0

    _refuse(wrong_fence(fence))

    return fence


def _refuse(reason: str) -> None:
    """Raise what is wrong with an argument, if anything is."""
    if reason:
        raise invalid_argument(reason)


def _span(base: int, length: int) -> tuple[int, int]:
    """A range whose numbers fit 64 bits; what else is wrong with it, the hub says."""
    if not (0 <= base <= U64_MAX and 0 <= length <= U64_MAX):
        raise invalid_argument(f"{base:#x}/{length:#x} is not a range of 64-bit addresses")

    return base, length
