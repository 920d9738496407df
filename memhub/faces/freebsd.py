"""FreeBSD's face: mem(4)'s ioctls in their binary layout, and in Python's words.

Every handle uses these functions, in process, over the service and under `memhub exec`, so that
one request means the same everywhere.

Source: FreeBSD `sys/sys/memrange.h`, `sys/dev/mem/memdev.c` (memioctl), `sys/dev/mem/memutil.c`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.abi import EVERY_SLOT as EVERY_SLOT
from memhub.abi import (
    MDF_FORCE,
    MEM_EXTRACT,
    MEM_EXTRACT_PADDR,
    MEMRANGE_SET_REMOVE,
    MEMRANGE_SET_UPDATE,
    RangeDesc,
    fitting_descs,
    flags_of_words,
    owner_field,
)
from memhub.abi import IoctlReply as IoctlReply
from memhub.arguments import (
    take_attribute,
    take_buffer,
    take_integer,
    take_lease,
    take_optional,
    take_owner,
    take_wait,
)
from memhub.core.deciding.extract_address import ExtractAddress
from memhub.core.extracted import Extracted
from memhub.core.instant import make_tuple
from memhub.core.requests import GetRanges, RefuseIoctl, SetRange
from memhub.errors import BadAddress, InvalidArgument, UnknownIoctl

if TYPE_CHECKING:
    from memhub.abi import Buffer, DataModel


def decode_ioctl(
    model: DataModel,
    handle: int,
    number: int,
    op: Buffer,
    desc: Buffer,
    room: int | None,
    *,
    wait: float | None = None,
    fence: int | None = None,
) -> GetRanges | SetRange | ExtractAddress | RefuseIoctl:
    """Read a binary ioctl.

    Args:
        model: the data model of the caller.
        handle: the open file.
        number: the request number; its upper 32 bits are ignored, as the kernel does.
        op: `struct mem_range_op`; for MEM_EXTRACT_PADDR, `struct mem_extract`.
        desc: for a SET, the descriptor that `mo_desc` points to.
        room: for a GET, bytes behind `mo_desc`, or None for as many as it takes.
        wait: for a SET, seconds to wait while it is BUSY; None answers EBUSY at once.
        fence: for a SET, the fencing number that the caller believes to hold.

    Returns:
        the request; a RefuseIoctl for what is malformed (EFAULT) or not mem(4)'s (ENOTTY).
    """
    number &= 0xFFFFFFFF
    if number == model.get:
        if len(op) != model.op.size:
            return RefuseIoctl(handle, number, _bad_op(model, op))

        return GetRanges(handle, model.op.unpack(op)[1], room)

    if number in model.set:
        return _decode_set(model, handle, number, op, desc, wait, fence)

    if number == MEM_EXTRACT_PADDR:
        if len(op) != MEM_EXTRACT.size:
            what = f"a mem_extract is {MEM_EXTRACT.size} bytes, not {len(op)}"
            return RefuseIoctl(handle, number, BadAddress(what))

        return ExtractAddress(handle, MEM_EXTRACT.unpack(op)[0])

    return RefuseIoctl(handle, number, _unknown_ioctl(model, number))


def _decode_set(
    model: DataModel,
    handle: int,
    number: int,
    op: Buffer,
    packed: Buffer,
    wait: float | None,
    fence: int | None,
) -> SetRange | RefuseIoctl:
    if len(op) != model.op.size:
        return RefuseIoctl(handle, number, _bad_op(model, op))

    arg = model.op.unpack(op)[1]

    return decode_set(model, handle, number, arg, packed, wait=wait, fence=fence)


def decode_set(
    model: DataModel,
    handle: int,
    number: int,
    arg: int,
    packed: Buffer,
    *,
    wait: float | None,
    fence: int | None,
    lease: float | None = None,
) -> SetRange | RefuseIoctl:
    """Read a MEMRANGE_SET with `mo_arg[0]` and one descriptor; see `decode_ioctl`."""
    if len(packed) != model.desc.size:
        error = BadAddress(
            f"a {model.name} mem_range_desc is {model.desc.size} bytes, and "
            f"{len(packed)} are behind mo_desc"
        )
        return RefuseIoctl(handle, number, error, needs_driver=True)

    base, length, flags, owner = model.desc.unpack(packed)
    (desc,) = fitting_descs(((base, length, flags, owner[:7] + b"\0"),))

    return SetRange(handle, arg, desc, fence, lease, wait)


def ask_ioctl(
    model: DataModel,
    handle: int,
    number: int,
    op: Buffer,
    descs: Buffer | None,
    wait: float | None,
    fence: int | None,
) -> GetRanges | SetRange | ExtractAddress | RefuseIoctl:
    """Read the arguments of a handle's `ioctl`, and then as `decode_ioctl`.

    Raises:
        TypeError: an argument has the wrong type.
    """
    op, desc = take_buffer("op", op), b"" if descs is None else take_buffer("descs", descs)
    room = None if descs is None else len(desc)

    if wait is not None or fence is not None:
        wait, fence, _ = _take_terms(wait, fence, None)

    return decode_ioctl(
        model, handle, take_integer("request", number), op, desc, room, wait=wait, fence=fence
    )


def _take_terms(
    wait: float | None, fence: int | None, lease: float | None
) -> tuple[float | None, int | None, float | None]:
    return take_wait(wait), take_optional("fence", fence), take_lease(lease)


def encode_get(model: DataModel, op: Buffer, reply: Any) -> IoctlReply:  # noqa: ANN401
    """What an ioctl that reads leaves behind, of the reply to its request: GetRanges' or
    ExtractAddress's.
    """
    if isinstance(reply, Extracted):
        return IoctlReply(_encode_extract(op, reply), b"")

    mo_desc, _, spare = model.op.unpack(op)

    return make_tuple(IoctlReply, (model.op.pack(mo_desc, reply[0], spare), reply[1]))


def _encode_extract(op: Buffer, reply: Extracted) -> bytes:
    """`struct mem_extract`; what the kernel does not set stays as it was."""
    address, physical, domain, _, padding = MEM_EXTRACT.unpack(op)
    physical = physical if reply.physical is None else reply.physical
    domain = domain if reply.domain is None else reply.domain

    return MEM_EXTRACT.pack(address, physical, domain, reply.state, padding)


def update_request(
    model: DataModel,
    handle: int,
    base: int,
    length: int,
    attribute: int | str,
    owner: str | bytes,
    *,
    force: bool,
    wait: float | None,
    fence: int | None,
    lease: float | None,
) -> SetRange | RefuseIoctl:
    """MEMRANGE_SET with MEMRANGE_SET_UPDATE; what does not fit a descriptor is refused."""
    if not (wait is fence is lease is None):
        wait, fence, lease = _take_terms(wait, fence, lease)

    if type(attribute) is not int or type(owner) is not str:
        attribute, owner = take_attribute(attribute), take_owner(owner)

    try:
        flags = flags_of_words(attribute) if isinstance(attribute, str) else attribute
        flags = flags | MDF_FORCE if force else flags
        desc = RangeDesc(base, length, flags, owner_field(owner))
    except ValueError as error:
        return RefuseIoctl(handle, model.set[0], InvalidArgument(str(error)))

    return SetRange(handle, MEMRANGE_SET_UPDATE, desc, fence, lease, wait)


def remove_request(
    model: DataModel,
    handle: int,
    base: int,
    length: int,
    *,
    wait: float | None,
    fence: int | None,
) -> SetRange | RefuseIoctl:
    """MEMRANGE_SET with MEMRANGE_SET_REMOVE; what does not fit a descriptor is refused."""
    if not (wait is fence is None):
        wait, fence, _ = _take_terms(wait, fence, None)

    try:
        desc = RangeDesc(base, length)
    except ValueError as error:
        return RefuseIoctl(handle, model.set[0], InvalidArgument(str(error)))

    return SetRange(handle, MEMRANGE_SET_REMOVE, desc, fence, None, wait)


def _unknown_ioctl(model: DataModel, number: int) -> UnknownIoctl:
    return UnknownIoctl(
        f"ioctl {number:#x} is not {model.name}'s MEMRANGE_GET {model.get:#x} or "
        f"MEMRANGE_SET {model.set[0]:#x} (or {model.set[1]:#x} as Linux encodes it)"
    )


def _bad_op(model: DataModel, op: Buffer) -> BadAddress:
    return BadAddress(f"a {model.name} mem_range_op is {model.op.size} bytes, not {len(op)}")
