"""Repeated receiving from a socket, at low cost.

anyio's `wait_readable` registers the socket and unregisters it again for every wait, which on
asyncio is a quarter of the cost of a small request. So on asyncio the socket stays registered
here, and the receiver is called by the loop itself, because waking a task for it would take
another round of the loop.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from anyio import wait_readable
from anyio.lowlevel import current_token

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    Eat = Callable[[bytes], bool]


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
        """The next bytes; none after the end, whatever its cause."""
        while True:
            try:
                await wait_readable(self._socket)
                return self._take()
            except BlockingIOError:
                continue
            except OSError:
                return b""

    async def feed(self, eat: Eat) -> None:
        """Call `eat` with what comes, and with no bytes at the end, until it returns False."""
        while eat(await self.receive()):
            pass

    def close(self) -> None:
        """Unregister the socket, before it is closed; nothing comes after that.

        Who takes is let go too. It is the owner of this, and nobody but a collection of garbage
        would end the two.
        """
        self._take = _take_nothing


class LoopReadable(Readable):
    """The same on asyncio; the socket is registered only while somebody receives."""

    __slots__ = ("_armed", "_direct", "_eat", "_fd", "_loop", "_waiter")

    def __init__(self, sock: socket.socket, take: Callable[[], bytes]) -> None:
        super().__init__(sock, take)
        self._fd = sock.fileno()
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[bytes | None] | None = None
        self._armed = False
        self._eat: Eat | None = None
        self._direct: bool | None = None

    async def receive(self) -> bytes:
        """See `Readable.receive`."""
        return await self._await_bytes() or b""

    async def feed(self, eat: Eat) -> None:
        """See `Readable.feed`."""
        self._eat = eat
        try:
            while True:
                data = await self._await_bytes()
                if data is None or not eat(data):
                    return
        finally:
            self._eat = None

    async def _await_bytes(self) -> bytes | None:
        """The next bytes for the task; None when `eat` has returned False."""
        waiter = self._waiter = self._loop.create_future()
        if not self._armed:
            self._armed = True
            self._loop.add_reader(self._fd, self._on_ready)

        try:
            data: bytes | None = await waiter
        finally:
            self._waiter = None

        return data

    def _on_ready(self) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            self._unregister()
            return

        try:
            data = self._take()
        except BlockingIOError:
            return
        except OSError:
            data = b""

        if self._direct is None:
            self._direct = _knows_loop()

        if self._eat is None or not self._direct:
            waiter.set_result(data)
            return

        try:
            if self._eat(data):
                return
        except Exception as error:  # noqa: BLE001 - the task's, which raises it
            if not waiter.done():
                waiter.set_exception(error)
        else:
            if not waiter.done():
                waiter.set_result(None)

    def close(self) -> None:
        """See `Readable.close`."""
        super().close()
        self._unregister()

    def _unregister(self) -> None:
        if self._armed:
            self._armed = False
            self._loop.remove_reader(self._fd)


def readable(sock: socket.socket, take: Callable[[], bytes]) -> Readable:
    """The one for the running event loop; arguments are those of `Readable`."""
    on_asyncio = isinstance(current_token().native_token, asyncio.AbstractEventLoop)

    return LoopReadable(sock, take) if on_asyncio else Readable(sock, take)


def _take_nothing() -> bytes:
    return b""


def _knows_loop() -> bool:
    """Whether anyio works outside of a task; not where it cannot tell which loop runs."""
    try:
        current_token()
    except RuntimeError:
        return False

    return True
