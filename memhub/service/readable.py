"""Receiving from a socket, again and again, at the least cost that the event loop allows.

anyio's `wait_readable` registers the socket and takes it out again for every wait, which on
asyncio is a quarter of what a small request costs. There, the socket stays registered here, and
the bytes are taken as the loop finds them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from anyio import wait_readable
from anyio.lowlevel import current_token

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable


class Readable:
    """Waits until a socket has bytes, and takes them; on any event loop.

    Args:
        sock: a non-blocking socket.
        take: takes what is there; raises BlockingIOError where nothing is.
    """

    __slots__ = ("_socket", "_take")

    def __init__(self, sock: socket.socket, take: Callable[[], bytes]) -> None:
        self._socket = sock
        self._take = take

    async def receive(self) -> bytes:
        """The next bytes; none at the end.

        Raises:
            OSError: the connection broke.
        """
        while True:
            await wait_readable(self._socket)
            try:
                return self._take()
            except BlockingIOError:
                continue

    def close(self) -> None:
        """Be done with the socket, before it is closed."""


class LoopReadable(Readable):
    """The same on asyncio; the socket is out of the loop as long as nobody receives."""

    __slots__ = ("_armed", "_fd", "_loop", "_waiter")

    def __init__(self, sock: socket.socket, take: Callable[[], bytes]) -> None:
        super().__init__(sock, take)
        self._fd = sock.fileno()
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[bytes] | None = None
        self._armed = False

    async def receive(self) -> bytes:
        """See `Readable.receive`."""
        waiter = self._waiter = self._loop.create_future()
        if not self._armed:
            self._armed = True
            self._loop.add_reader(self._fd, self._ready)

        try:
            data: bytes = await waiter
        finally:
            self._waiter = None

        return data

    def _ready(self) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            self.close()
            return

        try:
            waiter.set_result(self._take())
        except BlockingIOError:
            return
        except OSError as error:
            waiter.set_exception(error)

    def close(self) -> None:
        """See `Readable.close`."""
        if self._armed:
            self._armed = False
            self._loop.remove_reader(self._fd)


def readable(sock: socket.socket, take: Callable[[], bytes]) -> Readable:
    """What suits the running event loop; arguments are those of `Readable`."""
    on_asyncio = isinstance(current_token().native_token, asyncio.AbstractEventLoop)

    return LoopReadable(sock, take) if on_asyncio else Readable(sock, take)
