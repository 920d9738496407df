"""Taking connections from a listening socket, however many come."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio

from memhub.service.server.admission import peek
from memhub.service.server.rights import peer_at

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from memhub.service.server.admission import Gate, Place
    from memhub.service.server.rights import Peer

#: Connections taken before other tasks have their turn, and how many of them are kept.
_ACCEPTS_AT_ONCE: Final = 256
_KEPT_AT_ONCE: Final = 16
_PAUSE_SECONDS: Final = 0.1

log: Final = logging.getLogger("memhub.service")


async def accept_clients(
    listener: socket.socket,
    gate: Gate,
    start: Callable[[Place, socket.socket, Peer], object],
) -> None:
    """Take connections until cancelled.

    Args:
        listener: where they come, non-blocking.
        gate: finds them a place.
        start: serves a connection in its place.
    """
    most = min(_KEPT_AT_ONCE, gate.at_once)
    while True:
        await anyio.wait_readable(listener)
        kept = 0
        for _ in range(_ACCEPTS_AT_ONCE):
            try:
                sock, address = listener.accept()
            except BlockingIOError:
                break
            except OSError as error:
                log.warning("a connection could not be taken: %s", error)
                await anyio.sleep(_PAUSE_SECONDS)
                break

            if peek(sock) == b"":  # it has ended: a task for each would hold up the others
                sock.close()
                continue

            peer = peer_at(sock, address)
            start(gate.enter(sock, peer), sock, peer)
            kept += 1
            if kept == most:
                break
