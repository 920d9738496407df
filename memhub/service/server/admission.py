"""Who may be connected through one listener: clients that have greeted, and those that have not.

Each listener has its own budgets, so that connections of one keep nobody out of another. Those
that have not sent HELLO have a budget apart: when it is full, the one that has been silent
longest makes room. So whoever greets at once gets in, however many others are silent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.abi import Errno
from memhub.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.service.settings import Limits


class Place:
    """The place of one connection at its gate.

    Attributes:
        cancel: ends the connection.
        evicted: why it had to make room, or None.
    """

    def __init__(self) -> None:
        self.cancel: Callable[[], None] | None = None
        self.evicted: str | None = None

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
        self._silent: dict[Place, None] = {}
        self._greeted: set[Place] = set()

    def enter(self) -> Place:
        """Take in a connection that has not greeted; the oldest of these may have to go."""
        most = self._limits.ungreeted
        if len(self._silent) >= most:
            oldest = next(iter(self._silent))
            self.leave(oldest)
            oldest.evict(
                f"{most} connections to {self._address} have not sent HELLO, which is the limit"
            )

        place = Place()
        self._silent[place] = None

        return place

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

        self._silent.pop(place, None)
        self._greeted.add(place)

    def leave(self, place: Place) -> None:
        """Give a place back. Twice is once."""
        self._silent.pop(place, None)
        self._greeted.discard(place)
