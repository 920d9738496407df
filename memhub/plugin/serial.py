"""A wire with two ends, for device models: a rig holds one as a stream, the model the other.

The rig's end is an `anyio.abc.ByteStream`, so that all that anyio has for streams works on it:
`async for`, `TextReceiveStream`, `BufferedByteReceiveStream`. The model's end never waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

import anyio
from anyio.abc import ByteStream
from anyio.lowlevel import checkpoint

from memhub.arguments import take_buffer, take_integer

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.abi import Buffer

#: Bytes on their way to a rig that does not receive, before the model has to hold them.
WIRE_HOLDS: Final = 65536


def _do_nothing() -> None:
    """Nobody is told."""


@final
class SerialLine(ByteStream):
    """The wire. A rig awaits `receive` and `send`; a model calls `put`, `take` and `room`.

    Args:
        holds: bytes that the wire holds on their way to the rig.

    Attributes:
        on_bytes: the model's: called when the rig has sent bytes.
        on_room: the model's: called when the wire can hold more bytes for the rig.
        on_look: the model's: called before the rig takes what has come.
        closed: whether the rig has closed its end.
    """

    def __init__(self, holds: int = WIRE_HOLDS) -> None:
        self.on_bytes: Callable[[], object] = _do_nothing
        self.on_room: Callable[[], object] = _do_nothing
        self.on_look: Callable[[], object] = _do_nothing
        self.closed = False
        self._holds = holds
        self._to_rig = bytearray()
        self._to_model = bytearray()
        self._arrived: anyio.Event | None = None
        self._taken: anyio.Event | None = None
        self._receiving = anyio.ResourceGuard("receiving from")

    # The rig's end

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Wait for bytes from the model, and take them.

        Args:
            max_bytes: how many at most, at least 1.

        Raises:
            anyio.ClosedResourceError: this end is closed, and all bytes are taken.
            anyio.BusyResourceError: another task receives.
            ValueError: `max_bytes` is below 1.
        """
        if take_integer("max_bytes", max_bytes) < 1:
            raise ValueError(f"max_bytes {max_bytes} is below 1")

        with self._receiving:
            await checkpoint()
            try:
                while not self._to_rig:
                    if self.closed:
                        raise anyio.ClosedResourceError

                    self._arrived = anyio.Event()
                    await self._arrived.wait()
            finally:
                self._arrived = None

        return self.receive_nowait(max_bytes)

    def receive_nowait(self, max_bytes: int = 65536) -> bytes:
        """The bytes that have come; none if there are none."""
        self.on_look()
        data = bytes(self._to_rig[:max_bytes])
        del self._to_rig[:max_bytes]
        if data:
            self.on_room()

        return data

    async def send(self, item: Buffer) -> None:
        """Send bytes, and wait until the model has taken all of them.

        What a caller that is cancelled has not seen taken is still on the wire.

        Raises:
            anyio.ClosedResourceError: this end is closed.
        """
        await checkpoint()
        self.send_nowait(item)
        while self._to_model:
            if self.closed:
                raise anyio.ClosedResourceError

            taken = self._taken = self._taken or anyio.Event()
            await taken.wait()

    def send_nowait(self, item: Buffer) -> None:
        """Put bytes on the wire, which the model takes when it can; errors are those of `send`."""
        data = take_buffer("item", item)
        if self.closed:
            raise anyio.ClosedResourceError

        self._to_model += data
        self.on_bytes()

    async def send_eof(self) -> None:
        """Do nothing: a serial line has no end of one direction."""
        await checkpoint()

    async def aclose(self) -> None:
        """Close the rig's end: what the model sends from now on is lost. Twice is once."""
        self.closed = True
        self._to_model.clear()
        self._wake()
        self.on_room()
        await checkpoint()

    # The model's end

    @property
    def room(self) -> int:
        """Bytes that `put` takes now."""
        return max(0, self._holds - len(self._to_rig))

    @property
    def waiting(self) -> int:
        """Bytes that the rig has sent and the model has not taken."""
        return len(self._to_model)

    def put(self, data: bytes) -> None:
        """Send bytes to the rig; they are lost where it has closed its end."""
        if not self.closed:
            self._to_rig += data
            if self._arrived is not None:
                self._arrived.set()

    def take(self, most: int) -> bytes:
        """Take bytes that the rig has sent."""
        data = bytes(self._to_model[:most])
        del self._to_model[:most]
        if not self._to_model and self._taken is not None:
            self._taken.set()
            self._taken = None

        return data

    def save(self) -> tuple[bytes, bytes]:
        """The bytes on their way to the rig and to the model, for a snapshot."""
        return bytes(self._to_rig), bytes(self._to_model)

    def load(self, to_rig: bytes, to_model: bytes) -> None:
        """Let these bytes be on their way; who waits looks again."""
        self._to_rig[:] = to_rig
        self._to_model[:] = to_model
        self._wake()

    def _wake(self) -> None:
        if self._arrived is not None:
            self._arrived.set()

        if self._taken is not None:
            self._taken.set()
            self._taken = None
