"""Linux's face: the ioctls of `/proc/mtrr` in their binary layout, for 64-bit and 32-bit programs.

Source: Linux 6.18 `arch/x86/include/uapi/asm/mtrr.h`, `arch/x86/kernel/cpu/mtrr/if.c`
(mtrr_ioctl; `mtrr_sentry32` and `mtrr_gentry32` for 32-bit programs).
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memhub.abi import ILP32, IoctlReply
from memhub.arguments import take_buffer, take_integer
from memhub.core.deciding.kernel_requests import CallKernel
from memhub.core.requests import RefuseIoctl
from memhub.errors import UnknownIoctl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.abi import Buffer, DataModel

#: The commands by their number in the group `M`.
COMMANDS: Final = (
    "ADD",
    "SET",
    "DEL",
    "GET",
    "KILL",
    "ADD_PAGE",
    "SET_PAGE",
    "DEL_PAGE",
    "GET_PAGE",
    "KILL_PAGE",
)
_GROUP: Final = ord("M") << 8
_IN: Final = 1 << 30
_IN_OUT: Final = 3 << 30


class MtrrLayout(NamedTuple):
    """The structures of one data model, and the numbers of its ioctls.

    Attributes:
        bits: of a long: 64 or 32.
        sentry: `struct mtrr_sentry`: base, size, type.
        gentry: `struct mtrr_gentry`.
        fields: the members of that in their order; `""` is padding.
        numbers: the ioctls' numbers by command.
    """

    bits: int
    sentry: Struct
    gentry: Struct
    fields: tuple[str, ...]
    numbers: Mapping[str, int]


class MtrrReply(IoctlReply):
    """What an ioctl of `/proc/mtrr` leaves behind; `descs` is empty.

    Attributes:
        value: what the ioctl returned: the register of an ADD, SET, DEL or KILL, 0 of a GET.
    """

    value: int

    def __new__(cls, op: bytes, value: int) -> MtrrReply:
        """A reply with the structure as it is now."""
        reply = super().__new__(cls, op, b"")
        reply.value = value

        return reply


def _make_layout(bits: int, sentry: str, gentry: str, fields: tuple[str, ...]) -> MtrrLayout:
    sent, got = Struct(sentry), Struct(gentry)
    numbers = {
        command: (_IN_OUT | got.size << 16 if command.startswith("GET") else _IN | sent.size << 16)
        | _GROUP
        | number
        for number, command in enumerate(COMMANDS)
    }

    return MtrrLayout(bits, sent, got, fields, numbers)


#: The layout of 64-bit programs.
MTRR64: Final = _make_layout(64, "<QII", "<QIIII", ("base", "size", "regnum", "type", ""))
#: The layout of 32-bit programs.
MTRR32: Final = _make_layout(32, "<III", "<IIII", ("regnum", "base", "size", "type"))


def mtrr_layout(model: DataModel) -> MtrrLayout:
    """The layout of a data model."""
    return MTRR32 if model is ILP32 else MTRR64


def ask_mtrr(
    model: DataModel,
    handle: int,
    number: int,
    op: Buffer,
    descs: Buffer | None = None,
    wait: float | None = None,
    fence: int | None = None,
) -> CallKernel | RefuseIoctl:
    """Read a binary ioctl of `/proc/mtrr`.

    Args:
        model: the data model of the caller.
        handle: the open file.
        number: the request number; its upper 32 bits are ignored, as the kernel does.
        op: the structure; one of another size is a pointer to nothing (EFAULT).
        descs: not looked at, as `wait` and `fence` are not: the kernel has no such thing.
        wait: see `descs`.
        fence: see `descs`.

    Returns:
        the request; a RefuseIoctl (ENOTTY) for a number that the kernel does not know.

    Raises:
        TypeError: an argument has the wrong type.
    """
    number, data = take_integer("request", number) & 0xFFFFFFFF, bytes(take_buffer("op", op))
    layout = mtrr_layout(model)
    command = next((it for it in COMMANDS if layout.numbers[it] == number), None)
    if command is None:
        why = f"ioctl {number:#x} is none of {model.name}'s MTRRIOC_*"
        return RefuseIoctl(handle, number, UnknownIoctl(why))

    args: dict[str, Any] = {"cmd": command, "abi": layout.bits}
    struct = layout.gentry if command.startswith("GET") else layout.sentry
    if len(data) != struct.size:
        return CallKernel(handle, "ioctl", {**args, "bad_pointer": True})

    values = struct.unpack(data)
    if struct is layout.gentry:
        return CallKernel(handle, "ioctl", {**args, "regnum": _read_gentry(layout, data)["regnum"]})

    return CallKernel(
        handle, "ioctl", {**args, **dict(zip(("base", "size", "type"), values, strict=True))}
    )


def _read_gentry(layout: MtrrLayout, data: bytes) -> dict[str, int]:
    return dict(zip(layout.fields, layout.gentry.unpack(data), strict=True))


def answer_mtrr(model: DataModel, op: Buffer, reply: object) -> MtrrReply:
    """What an ioctl of `/proc/mtrr` leaves behind.

    Args:
        model: the data model of the caller.
        op: the structure as it was.
        reply: the kernel's answer: a register, or what a GET found.
    """
    data = bytes(op)
    if isinstance(reply, int):
        return MtrrReply(data, reply)

    assert isinstance(reply, dict)
    layout = mtrr_layout(model)
    members = {**_read_gentry(layout, data), **reply}

    return MtrrReply(layout.gentry.pack(*(members[it] for it in layout.fields)), 0)


def pack_entry(base: int, size: int, type_: int, *, model: DataModel) -> bytes:
    """`struct mtrr_sentry` of an ADD, SET, DEL or KILL.

    Args:
        base: bytes, or pages for a command with `_PAGE`.
        size: likewise.
        type_: the MTRR type: 0 uncachable, 1 write-combining, 4 write-through, 5 write-protect,
            6 write-back.
        model: the data model of the file.
    """
    return mtrr_layout(model).sentry.pack(base, size, type_)


def pack_query(register: int, *, model: DataModel) -> bytes:
    """`struct mtrr_gentry` of a GET that asks for a register."""
    layout = mtrr_layout(model)

    return layout.gentry.pack(*(register if it == "regnum" else 0 for it in layout.fields))


def unpack_answer(op: bytes, *, model: DataModel) -> dict[str, int]:
    """`struct mtrr_gentry` that a GET has filled: `base`, `size`, `regnum` and `type`."""
    found = _read_gentry(mtrr_layout(model), op)

    return {name: it for name, it in found.items() if name}
