"""A write whose payload comes in pieces; each takes effect as it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.core.memory.physical import NeedsDevice
from memhub.core.requests import Write
from memhub.devices.device_transfers import refuse_write
from memhub.errors import DeviceError, InvalidArgument
from memhub.faults.hub_rules import Delayed
from memhub.handles.async_shell import go_on
from memhub.handles.late_requests import finish_late
from memhub.service import wire

if TYPE_CHECKING:
    from memhub.core.memory.extent import Extent
    from memhub.engine.engine import Engine
    from memhub.handles.handle import Handle


class WriteStream:
    """A write that has begun.

    Args:
        handle: where it goes.
        offset: first byte, or None to write at the handle's offset.
        total: bytes announced.
        extent: how far it comes.
    """

    __slots__ = ("extent", "handle", "held", "late", "moved", "offset", "total")

    def __init__(self, handle: Handle, offset: int | None, total: int, extent: Extent) -> None:
        self.extent = extent
        self.handle = handle
        self.offset = offset
        self.total = total
        self.moved = 0

        #: What goes to a device, kept until all of it has come; None while only memory is written.
        self.held: bytearray | None = None

        #: Why what is kept was not written at once, where a fault rule delays it.
        self.late: Delayed | None = None

    def hold(self, data: bytes, most: int) -> None:
        """Keep what comes from now on, until all of it has come.

        Args:
            data: what has come and is not written.
            most: the most bytes that can still be kept.

        Raises:
            InvalidArgument: EINVAL; it is more than that.
        """
        left = self.total - self.moved
        if left > most:
            raise InvalidArgument(
                f"{left} bytes to a device are more than the {most} that can still be kept for one"
            )

        self.held = bytearray(data)

    @property
    def held_total(self) -> int:
        """Bytes that are kept or are still to be kept for a device."""
        return 0 if self.held is None else self.total - self.moved


def write_piece(stream: WriteStream, engine: Engine, data: bytes, most: int) -> bool:
    """Write one piece, or keep it where it goes to a device.

    Args:
        stream: the write.
        engine: the hub's synchronous half.
        data: the piece.
        most: the most bytes that can still be kept for a device.

    Returns:
        False if the write ends here, with a short count.

    Raises:
        DeviceError: the piece could not be written.
    """
    if stream.held is not None:
        stream.held += data
        return True

    at = None if stream.offset is None else stream.offset + stream.moved
    extent, number = stream.extent, stream.handle.number
    can = extent.within(stream.moved + len(data)) - stream.moved
    if not stream.moved and not can and extent.error is not None:
        refuse_write(engine, number, stream.total, at, len(data), extent.error)

    part = data[:can] if can and extent.ends_short(stream.moved + can) else data
    try:
        moved = engine.submit(Write(number, part, at))
    except (NeedsDevice, Delayed) as late:
        stream.late = late if isinstance(late, Delayed) else None
        stream.hold(data, most)
        return True

    stream.moved += moved

    return moved == len(data) and not stream.extent.ends_short(stream.moved)


async def finish_write(engine: Engine, request: int, stream: WriteStream) -> wire.Message:
    """Write what was kept for a device, or because a fault rule delays it."""
    held, before = bytes(stream.held or b""), stream.moved
    handle = stream.handle
    try:
        if stream.late is not None:
            at = None if stream.offset is None else stream.offset + before
            asked = Write(handle.number, held, at)
            moved = await finish_late(engine, asked, stream.late, go_on)
        elif stream.offset is None:
            moved = await handle.write(held)
        else:
            moved = await handle.pwrite(held, stream.offset + before)
    except DeviceError as error:
        if stream.extent.excuses(error, before):
            return wire.Done(request, before)

        error.moved += before
        raise

    return wire.Done(request, before + moved)
