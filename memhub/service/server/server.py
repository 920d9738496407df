"""The service: a hub behind sockets. One connection is one process of the hub."""

from __future__ import annotations

import logging
import os
import resource
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, final

import anyio
from anyio.streams.tls import TLSAttribute

from memhub.service.link import Link, SocketLink
from memhub.service.server.accepting import accept_clients
from memhub.service.server.admission import Gate, Place
from memhub.service.server.connection import Connection
from memhub.service.server.listening import Endpoints
from memhub.service.server.mapping import seal_machines
from memhub.service.server.parting import Partings, part_socket
from memhub.service.server.terms import ServiceTerms
from memhub.service.server.tls import TlsFailed, accept_tls
from memhub.service.server.turns import work_off_backlog
from memhub.service.settings import ServiceConfig
from memhub.service.stream_link import StreamLink
from memhub.service.subject import Subject

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import AsyncGenerator, Callable, Coroutine
    from pathlib import Path

    from anyio.abc import TaskGroup

    from memhub.core.files import Principal
    from memhub.hub.hub import Hub
    from memhub.service.server.listening import UnixListener
    from memhub.service.server.parting import Part
    from memhub.service.server.rights import Peer

    _Seen = tuple[int, float, tuple[int, int], float]

#: Seconds in which clients may take the last answers, after the grace of a service that stops.
_LAST_ANSWERS_SECONDS: Final = 1.0

log: Final = logging.getLogger("memhub.service")


@final
class Server(anyio.AsyncContextManagerMixin):
    """Serves a hub's machines to clients on sockets; use it in `async with`.

    Leaving the block stops the service in order: it takes no new clients, answers the requests
    that have begun, and then closes every connection. What a client held ends with its connection.

    Args:
        hub: what is served; the caller closes it.
        settings: where to listen, whom to serve, and what one client may use.
        socket_path: path of the Unix socket, in place of the settings' own.
        replace_stale: remove a socket at that path on which no service answers.
        software: the service's name and version, for clients.
        grace: seconds in which requests that have begun may end when the service stops.
        endpoints: where it listens already; the server closes them. None listens on entering.

    Raises:
        ServiceError: on entering the block, if it cannot listen; the message says why.

    Attributes:
        addresses: where it listens, as clients give it to `connect`.
    """

    def __init__(
        self,
        hub: Hub,
        settings: ServiceConfig | None = None,
        *,
        socket_path: Path | None = None,
        replace_stale: bool = False,
        software: str = "memhub",
        grace: float = 5.0,
        endpoints: Endpoints | None = None,
    ) -> None:
        self._hub = hub
        self._settings = settings or ServiceConfig()
        self._path = socket_path
        self._endpoints = endpoints
        self._replace_stale = replace_stale
        self._grace = grace
        self._software = software
        self._connections: set[Connection] = set()
        self._answered = 0
        self._no_connections = anyio.Event()
        self._stopping = False
        self._partings = Partings(self._settings.limits.stall_timeout)
        self.addresses: tuple[str, ...] = ()

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def describe_service(self) -> dict[str, Any]:
        """What a report says about the service."""
        return {
            "software": self._software,
            "pid": os.getpid(),
            "connections": len(self._connections),
            "requests": self._answered + sum(it.answered for it in self._connections),
            "mono_ns": self._hub.engine.now().mono_ns,
        }

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        endpoints = self._endpoints or Endpoints(
            self._settings, self._path, replace_stale=self._replace_stale
        )
        unix, inet, self.addresses = endpoints.unix, endpoints.inet, endpoints.addresses
        terms = ServiceTerms(
            self._hub,
            self._settings,
            self._software,
            self.describe_service,
            endpoints.tokens,
        )
        seal_machines(self._hub.machines.values(), self._settings.rights)
        raise_descriptor_limit()
        if self._settings.limits.unanswered_timeout:
            self._hub.engine.deadlines.answer_limit = self._settings.limits.unanswered_timeout

        failure: Exception | None = None
        on_cut = self._hub.faults.on_cut
        on_cut.append(self._cut_client)
        try:
            async with anyio.create_task_group() as clients, anyio.create_task_group() as listeners:
                if unix is not None:
                    serve = partial(self._serve_client, terms, self._link_local)
                    listeners.start_soon(self._accept_clients, unix.socket, unix, 0, clients, serve)
                if inet is not None:
                    link = self._link_remote(terms, endpoints.context)
                    serve = partial(self._serve_client, terms, link)
                    listeners.start_soon(self._accept_clients, inet, inet, -1, clients, serve)
                listeners.start_soon(self._enforce_time_limits)
                listeners.start_soon(work_off_backlog, self._hub.engine)
                try:
                    yield self
                except Exception as error:  # noqa: BLE001 - raised below, bare
                    failure = error
                finally:
                    listeners.cancel_scope.cancel()
                    with anyio.CancelScope(shield=True):
                        await self._drain_clients(clients)
        finally:
            on_cut.remove(self._cut_client)
            endpoints.close()

        if failure is not None:
            raise failure

    # Accepting clients

    async def _accept_clients(
        self,
        listener: socket.socket,
        owner: UnixListener | socket.socket,
        which: int,
        clients: TaskGroup,
        serve: Callable[[Gate, Place, socket.socket, Peer], Coroutine[Any, Any, None]],
    ) -> None:
        gate = Gate(self.addresses[which], self._settings.limits)

        def start(place: Place, sock: socket.socket, peer: Peer) -> None:
            clients.start_soon(serve, gate, place, sock, peer)

        try:
            await accept_clients(listener, gate, start)
        finally:
            owner.close()  # while the others are still answered, nobody waits in its backlog

    async def _serve_client(
        self,
        terms: ServiceTerms,
        make_link: Callable[..., Any],
        gate: Gate,
        place: Place,
        sock: socket.socket,
        peer: Peer,
    ) -> None:
        connection: Connection | None = None
        part: Part | None = None
        try:
            async with anyio.create_task_group() as task_group:
                place.cancel = task_group.cancel_scope.cancel
                if place.evicted is not None:
                    place.cancel()

                link, peer, part = await make_link(sock, task_group, peer)
                connection = Connection(terms, link, peer, task_group, partial(gate.admit, place))
                self._connections.add(connection)
                if self._stopping:  # it was taken before
                    self._drain_client(connection)

                await connection.run()
                task_group.cancel_scope.cancel()
        except* TlsFailed:
            pass
        except* Exception as group:  # noqa: BLE001 - it ends one connection, not the service
            if connection is not None:
                connection.record_failure(group)
        finally:
            if connection is not None:
                with anyio.CancelScope(shield=True):
                    await self._remove_connection(connection)

            gate.leave(place)
            if place.evicted is not None and (connection is None or connection.silent):
                terms.record_denial(peer, place.evicted)

            try:
                if part is not None and connection is not None and connection.parting:
                    await self._partings.part(part)
            finally:
                if connection is not None:
                    with anyio.CancelScope(shield=True):
                        await connection.link.aclose()

                sock.close()

    def _cut_client(self, process: Principal, reason: str) -> None:
        """A fault rule ends the connection of a process."""
        for connection in self._connections:
            connection.cut_off(process, reason)

    async def _remove_connection(self, connection: Connection) -> None:
        await connection.close()
        self._answered += connection.answered
        self._connections.discard(connection)
        if not self._connections:
            self._no_connections.set()

    async def _link_local(
        self, sock: socket.socket, task_group: TaskGroup, peer: Peer
    ) -> tuple[Link, Peer, Part | None]:
        return SocketLink(sock, task_group.start_soon), peer, None

    def _link_remote(
        self, terms: ServiceTerms, context: ssl.SSLContext | None
    ) -> Callable[..., Any]:
        async def make_link(
            sock: socket.socket, task_group: TaskGroup, peer: Peer
        ) -> tuple[Link, Peer, Part]:
            if context is None:
                link = SocketLink(sock, task_group.start_soon)
                return link, peer, partial(part_socket, link, sock)

            try:
                stream, part = await accept_tls(
                    sock, context, self._settings.limits.handshake_timeout
                )
            except TlsFailed as error:
                terms.record_denial(peer, str(error))
                raise

            certificate = stream.extra(TLSAttribute.peer_certificate)  # noqa: S610
            subject = Subject.of_certificate(certificate) if certificate else None

            named = replace(peer, subject=subject)

            return StreamLink(stream, task_group.start_soon), named, part

        return make_link

    # Time limits

    async def _enforce_time_limits(self) -> None:
        """End connections whose client takes too long to send HELLO, to ask or to read."""
        limits = self._settings.limits
        spans = [limits.handshake_timeout, limits.stall_timeout, limits.idle_timeout]
        pause = min(1.0, min(span for span in spans if span) / 4)
        seen: dict[Connection, _Seen] = {}
        while True:
            await anyio.sleep(pause)
            now = anyio.current_time()
            seen = {
                it: self._check_connection(it, seen.get(it), now) for it in tuple(self._connections)
            }

    def _check_connection(self, it: Connection, before: _Seen | None, now: float) -> _Seen:
        limits = self._settings.limits
        receives, heard, read, moved = before or (0, now, (0, 0), now)
        progress = it.link.progress()
        if (it.receives != receives or progress != read) and it.greeted:
            heard = now

        if progress != read or not it.link.queued:
            moved = now

        if not it.greeted:
            if now - heard > limits.handshake_timeout:
                it.end_now("handshake", f"no HELLO in {limits.handshake_timeout} seconds")
        elif now - moved > limits.stall_timeout:
            it.end_now("slow", f"{it.link.queued} bytes wait and the client has stopped reading")
        elif limits.idle_timeout and now - heard > limits.idle_timeout and not it.busy:
            it.end_now("idle", f"no request in {limits.idle_timeout} seconds")

        return it.receives, heard, progress, moved

    # The end

    async def _drain_clients(self, clients: TaskGroup) -> None:
        self._stopping = True
        for connection in tuple(self._connections):
            self._drain_client(connection)

        if self._connections:
            with anyio.move_on_after(self._grace):
                await self._await_no_connections()

        for connection in tuple(self._connections):
            connection.cancel_requests()

        if self._connections:
            with anyio.move_on_after(_LAST_ANSWERS_SECONDS):
                await self._await_no_connections()

        for connection in tuple(self._connections):
            connection.end_now("stop", "the service stops")

        with anyio.move_on_after(_LAST_ANSWERS_SECONDS):
            await self._partings.await_none()

        clients.cancel_scope.cancel()

    def _drain_client(self, connection: Connection) -> None:
        connection.begin_drain("the service stops", self._grace)

    async def _await_no_connections(self) -> None:
        while self._connections:
            self._no_connections = anyio.Event()
            await self._no_connections.wait()


def raise_descriptor_limit() -> None:
    """Raise the soft limit of this process's descriptors to its hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
