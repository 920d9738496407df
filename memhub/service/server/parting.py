"""The end of a connection over TCP, at which late bytes of the client must not cost it its answers.

Where a socket is closed with input that nobody has read, or to which more comes, the kernel sends
RST, and what the client has not received yet is dropped. So the service ends its own side, and
drops what comes until the client has ended too. Unix sockets keep what was sent.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import SocketStream

    from memhub.service.link import Link

    Part = Callable[[], Awaitable[None]]

#: Connections that part at once; when there are more, the oldest is closed.
_PARTING_MAX: Final = 64
_CHUNK: Final = 1 << 16


class Partings:
    """The connections that have ended and are not closed yet.

    Args:
        seconds: in which a client must end its side.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._scopes: dict[anyio.CancelScope, None] = {}
        self._none_left = anyio.Event()

    async def part(self, part: Part) -> None:
        """End this side, and wait until the client has, or had time enough for it."""
        if len(self._scopes) >= _PARTING_MAX:
            next(iter(self._scopes)).cancel()

        scope = anyio.CancelScope(deadline=anyio.current_time() + self._seconds)
        self._scopes[scope] = None
        try:
            with scope:
                await part()
        finally:
            del self._scopes[scope]
            if not self._scopes:
                self._none_left.set()

    async def await_none(self) -> None:
        """Return once no connection parts."""
        while self._scopes:
            self._none_left = anyio.Event()
            await self._none_left.wait()


async def part_socket(link: Link, sock: socket.socket) -> None:
    """End this side of a plain socket, and drop what comes until its end."""
    with suppress(OSError):  # the client may be gone
        sock.shutdown(socket.SHUT_WR)

    while await link.receive():
        pass


async def part_tls(raw: SocketStream, tls: ssl.SSLObject, outgoing: ssl.MemoryBIO) -> None:
    """The same for TLS, which says so with close_notify.

    `TLSStream` would also wait for the client's.

    Args:
        raw: the stream below TLS.
        tls: the client's connection.
        outgoing: where `tls` writes.
    """
    try:
        with suppress(ssl.SSLError):  # it wants to read the client's
            tls.unwrap()

        if outgoing.pending:
            await raw.send(outgoing.read())

        await raw.send_eof()
        while True:
            await raw.receive(_CHUNK)
    except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        return


async def await_reads(link: Link, seconds: float) -> None:
    """Wait until a client has read all that was sent, or none of it for some seconds."""
    progress = (-1, 0)
    while link.queued and (now := link.progress()) != progress:
        progress = now
        with anyio.move_on_after(seconds):
            await link.room(0)
