"""The asynchronous client: a service's machines with the face of an embedded hub.

hub     `connect`, and the hub                 handle  an open device
caller  requests in flight, and who waits      events  a subscription
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memhub.service.client.hub import RemoteHub as RemoteHub
    from memhub.service.client.hub import connect as connect

__all__ = (
    "RemoteHub",
    "connect",
)


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    from memhub.service.client import hub

    return getattr(hub, name)
