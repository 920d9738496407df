"""How the asynchronous client reaches a local service."""

from __future__ import annotations

import socket

import anyio

from memhub.service.client_errors import BUSY_PAUSE


async def dial_unix(path: str) -> socket.socket:
    """Connect to the socket at a path, as soon as the service takes the client."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        while True:
            try:
                sock.connect(path)
            except BlockingIOError:
                await anyio.sleep(BUSY_PAUSE)  # the service has not taken those before
            else:
                return sock
    except BaseException:
        sock.close()
        raise
