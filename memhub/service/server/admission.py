"""Who may be connected through one listener: clients that have greeted, and those that have not.

Each listener has its own budgets, so that connections of one keep nobody out of another. Those
that have not sent HELLO have a budget apart. When it is full, one of them makes room: of the peer
that has most of them the oldest, and none whose HELLO has come and is still to be read. A peer that
would then have more than the other loses one of its own. So whoever greets at once gets in, however
many others are silent, and nobody's silent connections push out those of who has fewer.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

from memhub.abi import Errno
from memhub.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.service.server.rights import Peer
    from memhub.service.settings import Limits

    #: The user, or the remote host, and the process if it is known.
    Origin = tuple[int | str | None, int | None]

_LOOK: Final = socket.MSG_PEEK | socket.MSG_DONTWAIT


def peek(sock: socket.socket) -> bytes | None:
    """The next byte of a connection, which stays unread; none after its end, None before it came.

    What a client sent before it left counts as well.
    """
    try:
        return sock.recv(1, _LOOK)
    except BlockingIOError:
        return None
    except OSError:
        return b""


class Place:
    """The place of one connection at its gate.

    Args:
        sock: the connection.
        origin: whose connections are counted together.

    Attributes:
        cancel: ends the connection.
        evicted: why it had to make room, or None.
    """

    def __init__(self, sock: socket.socket, origin: Origin) -> None:
        self._socket = sock
        self.origin = origin
        self.cancel: Callable[[], None] | None = None
        self.evicted: str | None = None

    def has_unread(self) -> bool:
        """Whether something has come that was not read yet."""
        return bool(peek(self._socket))

    def evict(self, reason: str) -> None:
        """End the connection, for a reason in words."""
        self.evicted = reason
        if self.cancel is not None:
            self.cancel()


class Gate:
    """The connections of one listener.

    Args:
        address: the listener's address, for refusals.
        limits: `connections` bounds those that have greeted, `ungreeted` the others.
    """

    def __init__(self, address: str, limits: Limits) -> None:
        self._address = address
        self._limits = limits
        self._silent: dict[Origin, dict[Place, None]] = {}
        self._silent_count = 0
        self._greeted: set[Place] = set()

    @property
    def full(self) -> str:
        """Why a connection that has not greeted has to go."""
        return (
            f"{self._limits.ungreeted} connections to {self._address} have not sent HELLO, "
            "which is the limit"
        )

    @property
    def at_once(self) -> int:
        """Connections that may be taken before those that came last have had a turn to be read.

        They are few of those that may be silent, so that a HELLO is read before its connection is
        among the oldest.
        """
        return max(1, self._limits.ungreeted // 4)

    def enter(self, sock: socket.socket, peer: Peer) -> Place:
        """Take in a connection that has not greeted; another of these may have to go.

        Args:
            sock: the connection.
            peer: who opened it, as far as it is known before HELLO.

        Returns:
            its place.
        """
        host = None if peer.address is None else peer.address.rpartition(":")[0]
        place = Place(sock, (peer.uid if host is None else host, peer.pid))
        if self._silent_count >= self._limits.ungreeted:
            evicted = self._choose_evicted(place.origin)
            self.leave(evicted)
            evicted.evict(self.full)

        self._silent.setdefault(place.origin, {})[place] = None
        self._silent_count += 1

        return place

    def _choose_evicted(self, newcomer: Origin) -> Place:
        """The oldest with nothing unread, of the user or host and then the process with most.

        Of several that have most, it is the newcomer's own.
        """
        users: dict[int | str | None, int] = {}
        for (user, _), places in self._silent.items():
            users[user] = users.get(user, 0) + len(places)

        def rank(it: tuple[Origin, dict[Place, None]]) -> tuple[int, bool, int, bool]:
            origin, places = it
            user = origin[0]

            return users[user], user == newcomer[0], len(places), origin == newcomer

        most_first = sorted(self._silent.items(), key=rank, reverse=True)
        for _, places in most_first:
            for place in places:
                if not place.has_unread():
                    return place

        return next(iter(most_first[0][1]))

    def admit(self, place: Place) -> None:
        """Let a connection in that has greeted.

        Raises:
            DeviceError: EAGAIN; too many have.
        """
        most = self._limits.connections
        if len(self._greeted) >= most:
            raise DeviceError(
                f"{most} clients are connected, which is the limit of {self._address}",
                code=Errno.EAGAIN,
            )

        self.leave(place)
        self._greeted.add(place)

    def leave(self, place: Place) -> None:
        """Give a place back. Twice is once."""
        self._greeted.discard(place)
        places = self._silent.get(place.origin, {})
        if place in places:
            del places[place]
            self._silent_count -= 1
            if not places:
                del self._silent[place.origin]
