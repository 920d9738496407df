"""A byte stream whose `send` never awaits: what the socket does not take is queued."""

from __future__ import annotations

import socket
from array import array
from collections import deque
from contextlib import suppress
from fcntl import ioctl
from sys import byteorder
from termios import TIOCOUTQ
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio
from anyio import wait_writable

from memhub.service.readable import readable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Buffer = bytes | memoryview
    Eat = Callable[[bytes], bool]
    Start = Callable[..., object]

_CHUNK: Final = 1 << 16
_CHUNK_MAX: Final = (
    1 << 18
)  # only for large transfers: memory of this size is mapped anew for each receive
_SMALL: Final = 1 << 15  # below this, copying is cheaper than a vector
_VECTOR: Final = 64
_BESIDE: Final = socket.CMSG_LEN(16)  # room for four descriptors


class Link(Protocol):
    """What a connection sends to and receives from.

    Attributes:
        queued: bytes that the peer has not taken yet.
        taken: bytes that the kernel has taken for it.
    """

    queued: int
    taken: int

    async def receive(self) -> bytes:
        """The next bytes; none after the end, whatever its cause."""

    async def feed(self, eat: Eat) -> None:
        """Call `eat` with what comes, and with no bytes at the end, until it returns False.

        `eat` may be called by the event loop itself, but never while the calling task runs.
        """

    def send(self, frames: Sequence[bytes], fd: int = -1) -> None:
        """Send now, or as soon as the peer reads. On a broken stream it is dropped.

        Args:
            frames: what to send, in order.
            fd: a descriptor to send with them; the link closes it.
        """

    async def room(self, limit: int) -> None:
        """Return once at most `limit` bytes wait, or the stream is broken."""

    def progress(self) -> tuple[int, int]:
        """What becomes different as long as the peer reads: see `progress_of`."""

    def cut(self) -> None:
        """Let the peer find its end now; what waits, and what is sent after this, is lost."""

    async def aclose(self) -> None:
        """Close; what waits is lost."""


def progress_of(link: Link, sock: socket.socket | None) -> tuple[int, int]:
    """What becomes different as long as the peer of a link reads, also if it does so slowly.

    A socket takes more only when a good part of what it holds has gone, which a slow peer may need
    a minute for. So what it holds counts too, where something waits for it.

    Args:
        link: the link.
        sock: its socket; None if it is not known.

    Returns:
        bytes that the socket has taken, and how many of them it still holds: over TCP, those that
        the peer has not acknowledged.
    """
    if sock is None or not link.queued:
        return link.taken, 0

    try:
        held = ioctl(sock.fileno(), TIOCOUTQ, bytes(4))
    except OSError:  # it is closed, or cannot say
        return link.taken, 0

    return link.taken, int.from_bytes(held, byteorder)


class SocketLink:
    """A link over a non-blocking stream socket.

    Args:
        sock: the socket; the link owns it.
        start: starts a task that lives as long as the connection.
    """

    __slots__ = (
        "_chunk",
        "_news",
        "_queue",
        "_readable",
        "_socket",
        "_start",
        "fds",
        "queued",
        "taken",
    )

    def __init__(self, sock: socket.socket, start: Start) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._start = start
        self._readable = readable(sock, self._take_bytes)
        self._queue: deque[tuple[Buffer, int]] = deque()
        self._news: anyio.Event | None = None
        self._chunk = _CHUNK
        self.queued = 0
        self.taken = 0

        #: Descriptors that came; None lets the kernel drop them.
        self.fds: deque[int] | None = None

    def hang_up(self) -> None:
        """End the connection for both sides at once, as the end of a process does."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    async def receive(self) -> bytes:
        """See `Link.receive`."""
        return await self._readable.receive()

    async def feed(self, eat: Eat) -> None:
        """See `Link.feed`."""
        await self._readable.feed(eat)

    def _take_bytes(self) -> bytes:
        if self.fds is None:
            data = self._socket.recv(self._chunk)
        else:
            data, beside, _, _ = self._socket.recvmsg(self._chunk, _BESIDE)
            for _, _, raw in beside:
                self.fds.extend(memoryview(raw).cast("i"))

        if len(data) == self._chunk:
            self._chunk = _CHUNK_MAX
        elif len(data) < _CHUNK:
            self._chunk = _CHUNK

        return data

    def send(self, frames: Sequence[bytes], fd: int = -1) -> None:
        """See `Link.send`."""
        if self._queue or fd >= 0 or len(frames) > 1:
            self._send_many(frames, fd)
            return

        data = frames[0]
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return

        self.taken += sent
        if sent < len(data):
            self._queue_rest(memoryview(data)[sent:], -1)

    def _send_many(self, frames: Sequence[bytes], fd: int) -> None:
        if fd < 0 and sum(map(len, frames)) < _SMALL:
            joined = b"".join(frames)
            if not self._queue:
                self.send((joined,))
                return

            frames = (joined,)

        waiting = bool(self._queue)
        for frame in filter(len, frames):  # the kernel never takes an empty piece from the queue
            self._queue.append((frame, fd))
            self.queued += len(frame)
            fd = -1

        if fd >= 0:
            socket.close(fd)

        if not waiting:
            self._push_queue()
            if self._queue:
                self._start(self._pump_queue)

    def _queue_rest(self, data: Buffer, fd: int) -> None:
        self._queue.append((data, fd))
        self.queued += len(data)
        self._start(self._pump_queue)

    def _push_queue(self) -> None:
        """Send as much as the kernel takes."""
        try:
            while self._queue:
                sent = self._push_once()
                self.taken += sent
                self._drop_sent(sent)
        except BlockingIOError:
            return
        except OSError:
            self._drop_queue()

    def _push_once(self) -> int:
        data, fd = self._queue[0]
        if fd >= 0:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [fd]))]
            sent = self._socket.sendmsg([data], rights)
            self._queue[0] = (data, -1)
            socket.close(fd)

            return sent

        vector: list[Buffer] = []
        for data, fd in self._queue:
            if fd >= 0 or len(vector) == _VECTOR:
                break

            vector.append(data)

        return self._socket.sendmsg(vector)

    def _drop_sent(self, sent: int) -> None:
        self.queued -= sent
        queue = self._queue
        while sent:
            data, fd = queue.popleft()
            if sent < len(data):
                queue.appendleft((memoryview(data)[sent:], fd))
                return

            sent -= len(data)

    def _drop_queue(self) -> None:
        for _, fd in self._queue:
            if fd >= 0:
                socket.close(fd)

        self._queue.clear()
        self.queued = 0

    async def _pump_queue(self) -> None:
        while self._queue:
            await wait_writable(self._socket)
            self._push_queue()
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
        return progress_of(self, self._socket)

    def cut(self) -> None:
        """See `Link.cut`."""
        self._drop_queue()
        with suppress(OSError):  # the peer may be gone
            self._socket.shutdown(socket.SHUT_RDWR)

    async def aclose(self) -> None:
        """See `Link.aclose`; nothing is awaited."""
        self._drop_queue()
        self._readable.close()
        self._socket.close()


def peer_of(sock: socket.socket) -> tuple[int, int]:
    """The pid and uid of a Unix socket's peer, from the kernel (SO_PEERCRED)."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    who: Any = array("i", raw)

    return int(who[0]), int(who[1]) & 0xFFFFFFFF
