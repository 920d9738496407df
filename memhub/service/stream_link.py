"""A link over a stream of anyio's, such as TLS."""

from __future__ import annotations

import socket
from collections import deque
from typing import TYPE_CHECKING, Final

import anyio
from anyio.abc import SocketAttribute

from memhub.service.link import progress_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anyio.abc import ByteStream

    from memhub.service.link import Buffer, Eat, Start

_CHUNK: Final = 1 << 16

#: How a stream says that it has ended. It is busy where TLS would answer, in a receive, what it has
#: to answer at once while something is sent: that is lost, and with it the stream.
_ENDS: Final = (
    anyio.EndOfStream,
    anyio.BrokenResourceError,
    anyio.BusyResourceError,
    anyio.ClosedResourceError,
    OSError,
)

#: Bytes that a stream is given at a time. It keeps them until the socket has taken all of them, and
#: only then they count as taken.
_PIECE: Final = 1 << 18


class StreamLink:
    """A link over an anyio byte stream, such as a TLS one.

    What the stream has been given counts as queued until the socket has all of it. So what TLS
    holds, encrypted, is at most a piece.

    Args:
        stream: the stream; the link owns it.
        start: starts a task that lives as long as the connection.
    """

    def __init__(self, stream: ByteStream, start: Start) -> None:
        self._stream = stream
        self._start = start
        self._queue: deque[Buffer] = deque()
        self._news: anyio.Event | None = None
        self._busy = False
        self.queued = 0
        self.taken = 0
        self.fds: deque[int] | None = None

    async def receive(self) -> bytes:
        """See `Link.receive`."""
        try:
            return await self._stream.receive(_CHUNK)
        except _ENDS:
            return b""

    async def feed(self, eat: Eat) -> None:
        """See `Link.feed`."""
        while eat(await self.receive()):
            pass

    def send(self, frames: Sequence[bytes], fd: int = -1) -> None:
        """See `Link.send`; a descriptor cannot be sent here and is closed."""
        if fd >= 0:
            socket.close(fd)

        self._queue += filter(len, frames)
        self.queued += sum(map(len, frames))
        if not self._busy:
            self._busy = True
            self._start(self._pump_queue)

    async def _pump_queue(self) -> None:
        try:
            while self._queue:
                data = self._take_piece()
                await self._stream.send(data)
                self.queued -= len(data)
                self.taken += len(data)
                self._tell_waiter()
        except _ENDS:
            self._queue.clear()
            self.queued = 0
            self._tell_waiter()
        finally:
            self._busy = False

    def _take_piece(self) -> bytes:
        """The next bytes to send: small frames together, of a large one a part."""
        queue, room = self._queue, _PIECE
        parts: list[Buffer] = []
        while queue and room:
            frame = queue.popleft()
            if len(frame) > room:
                queue.appendleft(memoryview(frame)[room:])
                frame = memoryview(frame)[:room]

            parts.append(frame)
            room -= len(frame)

        return b"".join(parts)

    def _tell_waiter(self) -> None:
        news, self._news = self._news, None
        if news is not None:
            news.set()

    async def room(self, limit: int) -> None:
        """See `Link.room`."""
        while self.queued > limit:
            self._news = self._news or anyio.Event()
            await self._news.wait()

    def progress(self) -> tuple[int, int]:
        """See `Link.progress`."""
        return progress_of(self, self._stream.extra(SocketAttribute.raw_socket, None))  # noqa: S610 - anyio

    def cut(self) -> None:
        """See `Link.cut`; what is queued after it goes nowhere, as its task ends first."""
        self._queue.clear()

    async def aclose(self) -> None:
        """See `Link.aclose`; TLS is not shut down in order."""
        self._queue.clear()
        await anyio.aclose_forcefully(self._stream)
