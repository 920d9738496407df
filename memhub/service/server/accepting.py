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

#: Connections taken before other tasks have their turn, and how many of them are kept: few of
#: `Limits.ungreeted`, so that a HELLO is read before its connection is among the oldest.
_ACCEPTS_AT_ONCE: Final = 256
_KEPT_AT_ONCE: Final = 16
_PAUSE_SECONDS: Final = 0.1

log: Final = logging.getLogger("memhub.service")


async def accept_clients(
    listener: socket.socket,
    gate: Gate,
    start: Callable[[Place, socket.socket, Peer], object],
    refuse: Callable[[Peer, str], None],
) -> None:
    """Take connections until cancelled.

    Args:
        listener: where they come, non-blocking.
        gate: finds them a place.
        start: serves a connection in its place.
        refuse: records a connection that found none, and why.
    """
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

            peer = peer_at(sock, address)
            place = _enter_gate(gate, sock, peer, refuse)
            if place is not None:
                start(place, sock, peer)
                kept += 1
                if kept == _KEPT_AT_ONCE:
                    break


def _enter_gate(
    gate: Gate, sock: socket.socket, peer: Peer, refuse: Callable[[Peer, str], None]
) -> Place | None:
    """Take in a connection, or close it here: a task for each would hold up the others."""
    if peek(sock) == b"":
        sock.close()
        return None

    place = gate.enter(sock, peer)
    if place is None:
        sock.close()
        refuse(peer, gate.full)

    return place
