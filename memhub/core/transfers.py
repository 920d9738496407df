"""Reads, writes and seeks: what they come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from memhub.abi import U64_MAX
from memhub.core import events
from memhub.core.decision import Decision
from memhub.core.replies import Explanation
from memhub.errors import BadAddress, BadHandle, DeviceError, InvalidArgument, NotSupported

if TYPE_CHECKING:
    from memhub.core.files import Caller, OpenFile
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine
    from memhub.core.memory.pieces import Piece
    from memhub.core.requests import EndTransfer, Explain, Read, ReadOp, Seek, Write, WriteOp

#: lseek(2)'s `whence`: from the start of the file, or from where it stands.
SEEK_SET: Final = 0
SEEK_CUR: Final = 1


def decide_read(machine: Machine, request: Read, now: Instant) -> Decision:
    """read(2) and pread(2), where no device takes part.

    Raises:
        NeedsDevice: a device answers part of it.
    """
    file = machine.files.files[request.handle]
    offset, length, data = request.offset, request.length, b""
    error: DeviceError | None = None
    at = file.offset if offset is None else offset
    caller = file.caller
    try:
        if not file.readable:
            raise not_open(file, "reading")

        data = machine.transfer.read(caller.device, at, length, caller.process.id)
        moved = len(data)
    except DeviceError as refusal:
        error, moved = refusal, refusal.moved

    op: ReadOp = "read" if offset is None else "pread"
    event = events.MemoryRead(caller, now, now.mono_ns, op, at, length, moved, error)

    return Decision(data, error, (event,), offset is None)


def decide_write(machine: Machine, request: Write, now: Instant) -> Decision:
    """write(2) and pwrite(2), where no device takes part.

    Raises:
        NeedsDevice: a device takes part of it.
    """
    file = machine.files.files[request.handle]
    offset, data = request.offset, request.data
    at = file.offset if offset is None else offset
    caller, length, transfer = file.caller, len(data), machine.transfer
    pieces: tuple[Piece, ...] = ()
    before: bytes | None = None
    moved, error = 0, cast("DeviceError | None", None)
    try:
        if not file.writable:
            raise not_open(file, "writing")

        pieces, moved, error = transfer.plan_write(
            caller.device, at, length, caller.process.id, machine.protection()
        )
        if machine.keeps_before and pieces:
            before = transfer.contents(pieces)
    except DeviceError as refusal:
        error = refusal

    op: WriteOp = "write" if offset is None else "pwrite"
    event = events.MemoryWritten(
        caller, now, now.mono_ns, op, at, length, moved, error, pieces, data, before
    )

    return Decision(moved, error, (event,), bool(moved))


def decide_end_transfer(
    machine: Machine, caller: Caller, request: EndTransfer, now: Instant
) -> Decision:
    """A transfer that a device took part in has ended; its bytes have moved already.

    The file may have been closed meanwhile.
    """
    facts = (request.base, request.length, request.moved, request.error)
    if request.op == "read" or request.op == "pread":
        event: events.Event = events.MemoryRead(caller, now, request.began_ns, request.op, *facts)
    else:
        event = events.MemoryWritten(caller, now, request.began_ns, request.op, *facts)

    moves = request.op in ("read", "write") and request.handle in machine.files.files

    return Decision(None, None, (event,), moves)


def decide_seek(machine: Machine, request: Seek, now: Instant) -> Decision:
    """lseek(2); a device file has no end."""
    file = machine.files.files[request.handle]
    before, whence = file.offset, request.whence
    if whence not in (SEEK_SET, SEEK_CUR):
        return Decision(
            None, InvalidArgument(f"whence {whence} is not SEEK_SET or SEEK_CUR"), changes=False
        )

    target = request.offset + (before if whence == SEEK_CUR else 0)
    if not 0 <= target <= U64_MAX:
        error = InvalidArgument(f"offset {target:#x} is not an unsigned 64-bit number")
        return Decision(None, error, changes=False)

    return Decision(target, None, (events.Sought(file.caller, now, before, target),))


def decide_explain(machine: Machine, request: Explain, _now: Instant) -> Decision:
    """Which type an address has, and why."""
    try:
        reply = explain(machine, machine.files[request.handle], request.address)
    except DeviceError as error:
        return Decision(None, error, changes=False)

    return Decision(reply, None, changes=False)


def explain(machine: Machine, file: OpenFile, address: int) -> Explanation:
    """Which memory type an address of an open device file has.

    Raises:
        NotSupported: EOPNOTSUPP; the machine has no range operations.
        BadAddress: EFAULT; the kernel maps nothing there, or a u-area.
        InvalidArgument: EINVAL; past the last physical address.
    """
    physical = physical_address(machine, file, address)
    if machine.table is None:
        raise NotSupported(
            f"{machine.name} has no range operations ({machine.arch.name}: "
            f"{machine.arch.summary}): what types its memory has is not known"
        )

    answer = machine.table.types.lookup(physical)

    return Explanation(address, physical, answer.type, answer.why, answer.implementation_defined)


def physical_address(machine: Machine, file: OpenFile, address: int) -> int:
    """The physical address that an address of an open device file means.

    Raises:
        BadAddress: EFAULT; the kernel maps nothing there, or a u-area.
        InvalidArgument: EINVAL; past the last physical address.
    """
    physical = address
    if file.caller.device == "kmem":
        area = machine.kernel.area(address)
        if area.delta is None:
            raise BadAddress(f"kernel address {address:#x} is in a u-area, which has no type")

        physical = address + area.delta

    if not 0 <= physical < machine.memory.top:
        raise InvalidArgument(
            f"address {physical:#x} is outside the {machine.memory.phys_bits} physical "
            f"address bits of {machine.name}"
        )

    return physical


def not_open(file: OpenFile, purpose: str) -> BadHandle:
    """The EBADF of a handle that was not opened for what is asked of it."""
    return BadHandle(f"{file.caller.path} is not open for {purpose}")
