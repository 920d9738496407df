"""The server: a hub behind sockets. One connection is one process of the hub.

server      who listens, and its end            listening  the sockets, and whose they are
connection  one client: greeting, turns, end    gate       what every connection is held to
session     requests, answered in their turn    later      answers that take time
base        what a client has open; `memory` and `ranges` are the requests for each
mapping     memory as a descriptor              stream     a write that comes in pieces
rights      who may do what                     tls        certificates and tokens
auditing    what the service logs of itself     notify     telling a service manager
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memhub.service.server.server import Server as Server

__all__ = ("Server",)


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    from memhub.service.server import server

    return getattr(server, name)
