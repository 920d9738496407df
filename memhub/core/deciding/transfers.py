"""Reads, writes and seeks: what they come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from memhub.abi import U64_MAX, Errno
from memhub.arguments import (
    take_buffer,
    take_integer,
    wrong_address,
    wrong_seek,
    wrong_transfer,
)
from memhub.core.caches.transfer import CachedTransfer
from memhub.core.deciding.cache_requests import facts_of
from memhub.core.decision import Decision
from memhub.core.events import Event, MemoryRead, MemoryWritten, Sought
from memhub.core.files import KERNEL_FILES
from memhub.core.instant import make_tuple
from memhub.core.memory.extent import Extent
from memhub.core.memory.pieces import Piece, WritePlan
from memhub.core.memory.transfer import IOSIZE_MAX
from memhub.core.replies import Explanation
from memhub.core.requests import Read, Write
from memhub.core.served import why_no_ranges
from memhub.errors import BadAddress, BadHandle, DeviceError, InvalidArgument, NotSupported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.abi import Buffer
    from memhub.core.files import Caller, OpenFile
    from memhub.core.instant import Instant
    from memhub.core.kernel import TransferRules
    from memhub.core.machine import Machine
    from memhub.core.memory.pieces import Protection
    from memhub.core.requests import EndTransfer, Explain, ReadOp, Seek, WriteOp

#: lseek(2)'s `whence`: from where the file stands, and to the next data or hole. From its start and
#: from its end (0 and 2) are the same, since the size of a device is 0.
SEEK_CUR: Final = 1
SEEK_DATA: Final = 3
SEEK_HOLE: Final = 4


def decide_read(machine: Machine, request: Read, now: Instant) -> Decision:
    """read(2) and pread(2), where no device takes part.

    Raises:
        NeedsDevice: a device answers part of it.
    """
    file = machine.files.files[request.handle]
    offset, length, data = request.offset, request.length, b""
    if not (type(length) is type(offset) is int) and not (
        type(length) is int and offset is None and type(request) is Read
    ):
        length, offset = take_integer("length", length), _take_offset(request)

    error: DeviceError | None = None
    at = file.offset if offset is None else offset
    caller = file.caller
    try:
        if not file.readable or not 0 < length <= IOSIZE_MAX:
            _check_span(length, offset)
            check_request(machine.transfer.rules, file, length, write=False)

        if machine.caches is not None:
            return _decide_cached_read(machine, request, caller, (at, length), now)

        data = machine.transfer.read(caller.device, at, length, caller.process.id)
    except DeviceError as refusal:
        error = refusal

    if not machine.recorded and offset is not None:
        return make_tuple(Decision, (data, error, (), False, None))

    op: ReadOp = "read" if offset is None else "pread"
    moved = len(data) if error is None else error.moved
    facts = (caller, now, now.mono_ns, op, at, length, moved, error)
    event = make_tuple(MemoryRead, facts)

    return make_tuple(Decision, (data, error, (event,), offset is None, None))


def decide_write(machine: Machine, request: Write, now: Instant) -> Decision:
    """write(2) and pwrite(2), where no device takes part.

    Raises:
        NeedsDevice: a device takes part of it.
    """
    file = machine.files.files[request.handle]
    offset, data = request.offset, request.data
    if type(data) is not bytes or (
        type(offset) is not int and (offset is not None or type(request) is not Write)
    ):
        data, offset = take_buffer("data", data), _take_offset(request)

    at = file.offset if offset is None else offset
    caller, length, transfer = file.caller, len(data), machine.transfer
    pieces: tuple[Piece, ...] = ()
    before: bytes | None = None
    moved, error = 0, cast("DeviceError | None", None)
    try:
        if not file.writable or not 0 < length <= IOSIZE_MAX:
            _check_span(length, offset)
            check_request(machine.transfer.rules, file, length, write=True)

        protection = machine.protection()
        plan = transfer.plan_write(caller.device, at, length, caller.process.id, protection)
        if machine.caches is not None:
            return _decide_cached_write(machine, request, caller, at, data, plan, protection, now)

        pieces, moved, error = plan
        if machine.recorded and pieces:
            before = transfer.contents(pieces)
    except DeviceError as refusal:
        error, pieces, moved = refusal, (), 0

    op: WriteOp = "write" if offset is None else "pwrite"
    facts = (caller, now, now.mono_ns, op, at, length, moved, error, pieces, data, before)
    event = make_tuple(MemoryWritten, facts)

    return make_tuple(Decision, (moved, error, (event,), bool(moved), None))


def _decide_cached_read(
    machine: Machine, request: Read, caller: Caller, span: tuple[int, int], now: Instant
) -> Decision:
    """A read where memory is not coherent.

    Raises:
        DeviceError: nothing is read, and nothing changes.
    """
    transfer = machine.transfer
    assert isinstance(transfer, CachedTransfer)
    data, change = transfer.plan_load(
        caller.device, *span, caller.process, recorded=machine.recorded
    )
    op: ReadOp = "read" if request.offset is None else "pread"
    fact = MemoryRead(caller, now, now.mono_ns, op, *span, len(data), None)
    facts = facts_of(machine, change, fact, caller.process, now)

    return Decision(data, None, facts, change is not None or op == "read")


def _decide_cached_write(
    machine: Machine,
    request: Write,
    caller: Caller,
    at: int,
    data: Buffer,
    plan: WritePlan,
    protection: Protection | None,
    now: Instant,
) -> Decision:
    """A write where memory is not coherent: what it does to caches is a fact of its own."""
    transfer = machine.transfer
    assert isinstance(transfer, CachedTransfer)
    recorded, moved, error = machine.recorded, plan.moved, plan.error
    change = transfer.plan_store(
        caller.device, at, data, caller.process, plan, protection, recorded=recorded
    )
    pieces = transfer.moved_pieces(plan.pieces)
    before = transfer.contents(pieces) if recorded and pieces else None
    op: WriteOp = "write" if request.offset is None else "pwrite"
    parts = (caller, now, now.mono_ns, op, at, len(data), moved, error, pieces, data, before)
    facts = facts_of(machine, change, make_tuple(MemoryWritten, parts), caller.process, now)

    return make_tuple(Decision, (moved, error, facts, change is not None or bool(moved), None))


def _take_offset(request: Read | Write) -> int | None:
    """The offset as an integer; None where the file's own is meant."""
    if request.offset is None and type(request) in (Read, Write):
        return None

    return take_integer("offset", request.offset)


def _check_span(length: int, offset: int | None) -> None:
    """Refuse what no kernel could be asked for, before it looks at the file."""
    if reason := wrong_transfer(length, offset):
        raise InvalidArgument(reason)


def extent_of(
    machine: Machine, file: OpenFile, length: int, offset: int | None, *, write: bool
) -> Extent:
    """How far a transfer comes that is done in parts.

    Args:
        machine: the machine.
        file: the open file.
        length: bytes of the whole transfer.
        offset: its first byte; None is where the file stands.
        write: whether it is a write.
    """
    transfer, at = machine.transfer, file.offset if offset is None else offset
    device, process, buffers = file.caller.device, file.caller.process.id, ((0, length),)
    if device in KERNEL_FILES:
        pieces: Iterator[Piece] = iter((Piece(0, length),))
    elif write:
        pieces = transfer.pieces.writing(device, at, buffers, process, machine.protection())
    else:
        pieces = transfer.pieces.reading(device, at, buffers, process)

    return Extent(pieces, short_count=transfer.rules.short_count)


def decide_end_transfer(
    machine: Machine, caller: Caller, request: EndTransfer, now: Instant
) -> Decision:
    """A transfer that a device took part in has ended; its bytes have moved already.

    The file may have been closed meanwhile.
    """
    facts = (request.base, request.length, request.moved, request.error)
    if request.op == "read" or request.op == "pread":
        event: Event = MemoryRead(caller, now, request.began_ns, request.op, *facts)
    else:
        event = MemoryWritten(caller, now, request.began_ns, request.op, *facts)

    moves = request.op in ("read", "write") and request.handle in machine.files.files

    return Decision(None, None, (event,), moves)


def decide_seek(machine: Machine, request: Seek, now: Instant) -> Decision:
    """lseek(2) (`sys/kern/vfs_vnops.c`, vn_seek): offsets wrap at 2**64, and the size is 0."""
    file = machine.files.files[request.handle]
    before = file.offset
    offset, whence = take_integer("offset", request.offset), take_integer("whence", request.whence)
    if reason := wrong_seek(offset, whence):
        return Decision(None, InvalidArgument(reason), changes=False)

    if whence in (SEEK_DATA, SEEK_HOLE):
        reason = f"{file.caller.path} has no data and no holes to seek"
        return Decision(None, NotSupported(reason, code=Errno.ENOTTY), changes=False)

    target = offset + (before if whence == SEEK_CUR else 0) & U64_MAX

    return Decision(target, None, (Sought(file.caller, now, before, target),))


def decide_explain(machine: Machine, request: Explain, _now: Instant) -> Decision:
    """Which type an address has, and why."""
    address = take_integer("address", request.address)
    try:
        reply = explain(machine, machine.files[request.handle], address)
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
        why = why_no_ranges(machine.spec, machine.arch, machine.served)
        raise NotSupported(f"{why}: what types its memory has is not known")

    table, served = machine.table, machine.served
    registers = served is not None and served.kernel.numbers_registers
    answer = table.driver.explain(table.types, physical, registers=registers)

    return Explanation(address, physical, answer.type, answer.why, answer.implementation_defined)


def physical_address(machine: Machine, file: OpenFile, address: int) -> int:
    """The physical address that an address of an open device file means.

    Raises:
        BadAddress: EFAULT; the kernel maps nothing there, or a u-area.
        InvalidArgument: EINVAL; past the last physical address.
    """
    if reason := wrong_address(address):
        raise InvalidArgument(reason)

    physical = address
    if file.caller.device == "kmem":
        area = machine.kernel.find(address)
        if area is not None and area.what == "u-area":
            raise BadAddress(f"kernel address {address:#x} is in a u-area, which has no type")

        physical = machine.transfer.first_piece("kmem", address).address

    if not 0 <= physical < machine.memory.top:
        raise InvalidArgument(
            f"address {physical:#x} is outside the {machine.memory.phys_bits} physical "
            f"address bits of {machine.name}"
        )

    return physical


def check_request(rules: TransferRules, file: OpenFile | None, length: int, *, write: bool) -> None:
    """What FreeBSD checks of a read or write before the device sees it, in its order.

    Args:
        rules: how the kernel decides.
        file: the open file; None where the descriptor is not open.
        length: bytes asked for.
        write: whether it is a write.

    Source: `sys/kern/sys_generic.c` (sys_read, kern_readv, dofileread).

    Raises:
        InvalidArgument: EINVAL; no transfer is that long.
        BadHandle: EBADF; the file is not open for it.
    """
    if length > rules.length_max:
        raise InvalidArgument(f"length {length:#x} is not between 0 and {IOSIZE_MAX:#x}")

    if file is None:
        raise BadHandle("the descriptor is not open")

    if not (file.writable if write else file.readable):
        raise not_open(file, "writing" if write else "reading")


def not_open(file: OpenFile, purpose: str) -> BadHandle:
    """The EBADF of a handle that was not opened for what is asked of it."""
    return BadHandle(f"{file.caller.path} is not open for {purpose}")
