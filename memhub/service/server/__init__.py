"""The server: a hub behind sockets. One connection is one process of the hub.

server         accepts clients, and stops         listening  the listening sockets
connection     one client, from HELLO to its end  terms      what all connections share
session        what a client has open             handlers   which function answers which request
handles, memory, ranges, watching                 the functions
request_tasks  requests whose answers take time   stream     a write that comes in pieces
mapping        memory as a descriptor             rights     who may do what
tls            certificates and tokens            notify     tells a service manager
admission      how many may be connected          turns      long work a slice at a time
forwarding     events to a client                 accepting  the loop that accepts clients
parting        the end of a connection over TCP
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
