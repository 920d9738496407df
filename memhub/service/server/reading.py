"""A read that is sent in pieces, as it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from anyio.lowlevel import checkpoint

from memhub.core.deciding.transfers import extent_of
from memhub.core.requests import Read
from memhub.errors import DeviceError
from memhub.handles.late_requests import move_bytes
from memhub.service import wire

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from memhub.core.memory.needs_device import NeedsDevice
    from memhub.engine.engine import Engine
    from memhub.handles.handle import Handle


class Sending(Protocol):
    """How a connection sends long answers.

    Attributes:
        max_body: the most bytes in one piece.
        moved: how many bytes of each request were sent.
    """

    max_body: int
    moved: dict[int, int]

    def bulk_turn(self) -> AbstractAsyncContextManager[None]:
        """Waits until a piece may be sent; held while it is made."""

    def send_reply(self, reply: wire.Message) -> None:
        """Send an answer or a piece of one."""


async def read_in_pieces(
    to: Sending,
    engine: Engine,
    request: int,
    handle: Handle,
    count: int,
    offset: int | None,
    late: NeedsDevice | None = None,
) -> None:
    """Read, and send what was read, also what an error left.

    It comes as far as it would in one piece.

    Args:
        to: the connection.
        engine: the hub's synchronous half.
        request: which it answers.
        handle: the open file.
        count: bytes.
        offset: first byte; None is where the file stands.
        late: why the first piece was not answered at once; None where it was not asked for.

    Raises:
        DeviceError: the read ended so; its `moved` is how many bytes were sent.
    """
    file, machine = engine.files.file(handle.number), engine.files.machine_of(handle.number)
    extent = extent_of(machine, file, count, offset, write=False)
    moved, size = 0, to.max_body
    while True:
        most = min(count - moved, size)
        step = extent.within(moved + most) - moved or count - moved
        async with to.bulk_turn():
            try:
                at = None if offset is None else offset + moved
                if late is None:
                    data = await _read_some(handle, step, at)
                else:
                    data = await move_bytes(engine, Read(handle.number, step, at), late)
                    late = None
            except DeviceError as error:
                if extent.excuses(error, moved):
                    to.send_reply(wire.Data(request, True, b""))
                    return

                if error.arrived:
                    to.send_reply(wire.Data(request, False, error.arrived))

                error.moved = moved + len(error.arrived)
                raise

            moved += len(data)
            if moved < count and len(data) == step and not extent.ends_short(moved):
                to.moved[request] = moved
                to.send_reply(wire.Data(request, False, data))
                continue

            to.send_reply(wire.Data(request, True, data))

        return


async def _read_some(handle: Handle, count: int, offset: int | None) -> bytes:
    """One piece of a read, after other tasks have run."""
    await checkpoint()
    if offset is None:
        return await handle.read(count)

    return await handle.pread(count, offset)
