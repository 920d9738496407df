"""What becomes true of a service and its clients, and of faults; it changes no machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from memhub.core.faults.fault_rules import FaultInjected

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.core.files import Caller, Principal
    from memhub.core.instant import Instant
    from memhub.errors import DeviceError


class ClientConnected(NamedTuple):
    """The service took a client."""

    process: Principal
    peer: str
    at: Instant


class ClientGone(NamedTuple):
    """A client of the service is gone, and what it held has ended."""

    process: Principal
    peer: str
    at: Instant
    began_ns: int
    cause: str
    reason: str | None


class ClientRefused(NamedTuple):
    """The service refused a connection or a request before it was one to a device."""

    who: Mapping[str, object]
    peer: str
    at: Instant
    op: str
    error: DeviceError


class MemoryMapped(NamedTuple):
    """A machine's memory was handed out as a file, or was not; accesses to it are not logged."""

    caller: Caller
    peer: str
    at: Instant
    rights: int
    error: DeviceError | None


ServiceEvent = ClientConnected | ClientGone | ClientRefused | MemoryMapped | FaultInjected

#: The facts whose records may share a write with those that follow.
SERVICE_LOOKS: Final[frozenset[type]] = frozenset({ClientConnected, ClientGone, ClientRefused})
