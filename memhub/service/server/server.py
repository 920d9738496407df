"""The service: a hub behind sockets. One connection is one process of the hub."""

from __future__ import annotations

import logging
import os
import resource
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Self, final

import anyio
from anyio.streams.tls import TLSAttribute, TLSStream

from memhub.core.service_events import ClientRefused
from memhub.errors import AccessDenied, LogFailed
from memhub.service.link import Link, SocketLink, StreamLink, peer_of
from memhub.service.server.connection import Connection
from memhub.service.server.gate import Gate
from memhub.service.server.listening import UnixListener, tcp_listener
from memhub.service.server.mapping import seal_machines
from memhub.service.server.rights import Peer, unknown_process
from memhub.service.server.tls import Tokens, server_context
from memhub.service.settings import ServiceConfig, ServiceError
from memhub.service.subject import Subject

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from anyio.abc import TaskGroup

    from memhub.hub import Hub

_ACCEPTS: Final = 64  # connections taken in one turn
_SPARE: Final = 64  # connections above the limit that are told so; more are closed unheard
_PAUSE: Final = 0.1

log: Final = logging.getLogger("memhub.service")


class _TurnedAway(Exception):
    """Raised when a client failed before it could say HELLO; it is recorded already."""


@final
class Server(anyio.AsyncContextManagerMixin):
    """Serves a hub's machines to clients on sockets; use it in `async with`.

    Leaving the block drains: nobody new is taken, requests under way are answered, then every
    connection is closed, and with it what its client held.

    Args:
        hub: what is served; it stays the caller's.
        settings: where to listen, whom to serve, and what one client may use.
        socket_path: path of the Unix socket, in place of the settings' own.
        replace_stale: take away a socket at that path on which nobody answers.
        software: the service's name and version, for clients.
        grace: seconds that requests under way get at the end.

    Raises:
        ServiceError: on entering; it cannot listen, and the message says why.

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
    ) -> None:
        self._hub = hub
        self._settings = settings or ServiceConfig()
        self._path = socket_path or self._settings.socket
        self._replace = replace_stale
        self._grace = grace
        self._software = software
        self._connections: set[Connection] = set()
        self._opening = 0
        self._answered = 0
        self._empty = anyio.Event()
        self._stopping = False
        self.addresses: tuple[str, ...] = ()

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def facts(self) -> dict[str, Any]:
        """What the service says of itself in a report."""
        return {
            "software": self._software,
            "pid": os.getpid(),
            "connections": len(self._connections),
            "requests": self._answered + sum(it.answered for it in self._connections),
            "mono_ns": self._hub.engine.now().mono_ns,
        }

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        tcp = self._settings.tcp
        context = None if tcp is None else server_context(tcp)
        tokens = None if tcp is None or tcp.token_file is None else Tokens(tcp.token_file)
        gate = Gate(
            self._hub,
            self._settings,
            self._software,
            self.facts,
            lambda: len(self._connections),
            tokens,
        )
        unix, inet = self._listen()
        seal_machines(self._hub.machines.values(), self._settings.rights)
        raise_descriptor_limit()
        failure: Exception | None = None
        try:
            async with anyio.create_task_group() as clients, anyio.create_task_group() as doors:
                if unix is not None:
                    doors.start_soon(self._accept, unix.socket, clients, gate, self._local)
                if inet is not None:
                    doors.start_soon(self._accept, inet, clients, gate, self._remote(context))
                doors.start_soon(self._sweep)
                try:
                    yield self
                except Exception as error:  # noqa: BLE001 - raised below, bare
                    failure = error
                finally:
                    doors.cancel_scope.cancel()
                    with anyio.CancelScope(shield=True):
                        await self._drain(clients)
        finally:
            if unix is not None:
                unix.close()
            if inet is not None:
                inet.close()

        if failure is not None:
            raise failure

    def _listen(self) -> tuple[UnixListener | None, socket.socket | None]:
        path, tcp = self._path, self._settings.tcp
        if path is None and tcp is None:
            raise ServiceError("the service has no place to listen: name a socket")

        unix = None
        if path is not None:
            unix = UnixListener(path, self._settings, replace_stale=self._replace)

        try:
            inet = None if tcp is None else tcp_listener(tcp)
        except ServiceError:
            if unix is not None:
                unix.close()

            raise

        self.addresses = () if unix is None else (unix.address,)
        if inet is not None:
            host, port = inet.getsockname()[:2]
            self.addresses += (f"tcp:{host}:{port}",)

        return unix, inet

    # Taking clients

    async def _accept(
        self,
        listener: socket.socket,
        clients: TaskGroup,
        gate: Gate,
        welcome: Callable[..., Any],
    ) -> None:
        while True:
            await anyio.wait_readable(listener)
            for _ in range(_ACCEPTS):
                try:
                    client, _address = listener.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    log.warning("a connection could not be taken: %s", error)
                    await anyio.sleep(_PAUSE)
                    break

                if self._opening >= self._settings.limits.connections + _SPARE:
                    client.close()
                    continue

                self._opening += 1
                clients.start_soon(self._client, client, gate, welcome)

    async def _client(self, sock: socket.socket, gate: Gate, welcome: Callable[..., Any]) -> None:
        connection: Connection | None = None
        try:
            async with anyio.create_task_group() as tasks:
                link, peer = await welcome(sock, tasks)
                connection = Connection(gate, link, peer, tasks)
                self._connections.add(connection)
                await connection.run()
                tasks.cancel_scope.cancel()
        except* _TurnedAway:
            pass
        except* Exception as group:  # noqa: BLE001 - one client's, not the service's
            if connection is not None:
                connection.failed(group)
        finally:
            self._opening -= 1
            if connection is not None:
                with anyio.CancelScope(shield=True):
                    await self._forget(connection)

            sock.close()

    async def _forget(self, connection: Connection) -> None:
        connection.close()
        self._answered += connection.answered
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

        await connection.link.aclose()

    async def _local(self, sock: socket.socket, tasks: TaskGroup) -> tuple[Link, Peer]:
        pid, uid = peer_of(sock)

        return SocketLink(sock, tasks.start_soon), Peer(pid=pid, uid=uid)

    def _remote(self, context: ssl.SSLContext | None) -> Callable[..., Any]:
        async def welcome(sock: socket.socket, tasks: TaskGroup) -> tuple[Link, Peer]:
            address = "{}:{}".format(*sock.getpeername()[:2])
            if context is None:
                return SocketLink(sock, tasks.start_soon), Peer(address=address)

            raw = await anyio.abc.SocketStream.from_socket(sock.dup())
            try:
                with anyio.fail_after(self._settings.limits.handshake_timeout):
                    stream = await TLSStream.wrap(
                        raw, server_side=True, ssl_context=context, standard_compatible=False
                    )
            except (OSError, TimeoutError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
                await anyio.aclose_forcefully(raw)
                self._turn_away(address, error)
                raise _TurnedAway from error

            certificate = stream.extra(TLSAttribute.peer_certificate)  # noqa: S610
            subject = Subject.of_certificate(certificate) if certificate else None

            return StreamLink(stream, tasks.start_soon), Peer(subject=subject, address=address)

        return welcome

    def _turn_away(self, address: str, error: Exception) -> None:
        """Record a client that did not get as far as saying HELLO."""
        cause = error.__cause__ or error
        reason = AccessDenied(f"TLS failed: {type(cause).__name__} {cause}".rstrip())
        peer, engine = Peer(address=address), self._hub.engine
        who = unknown_process(peer)
        try:
            engine.note(ClientRefused(who, str(peer), engine.now(), "connect", reason))
        except LogFailed as failure:
            log.error("a refusal of %s is not logged: %s", address, failure)

    # Time limits

    async def _sweep(self) -> None:
        """Cut off who takes too long to greet, to ask or to read."""
        limits = self._settings.limits
        spans = [limits.handshake_timeout, limits.stall_timeout, limits.idle_timeout]
        pause = min(1.0, min(span for span in spans if span) / 4)
        seen: dict[Connection, tuple[int, float, int, float]] = {}
        while True:
            await anyio.sleep(pause)
            now = anyio.current_time()
            seen = {it: self._judge(it, seen.get(it), now) for it in tuple(self._connections)}

    def _judge(
        self, it: Connection, before: tuple[int, float, int, float] | None, now: float
    ) -> tuple[int, float, int, float]:
        limits = self._settings.limits
        turns, heard, taken, moved = before or (0, now, 0, now)
        if it.turns != turns and it.greeted:
            heard = now

        if it.link.taken != taken or not it.link.queued:
            moved = now

        if not it.greeted:
            if now - heard > limits.handshake_timeout:
                it.cut("handshake", f"no greeting in {limits.handshake_timeout} seconds")
        elif it.link.queued > limits.queued_bytes:
            it.cut("slow", f"{it.link.queued} bytes wait for the client, over the limit")
        elif now - moved > limits.stall_timeout:
            it.cut("slow", f"{it.link.queued} bytes wait and the client has stopped reading")
        elif limits.idle_timeout and now - heard > limits.idle_timeout and not it.busy:
            it.cut("idle", f"no request in {limits.idle_timeout} seconds")

        return it.turns, heard, it.link.taken, moved

    # The end

    async def _drain(self, clients: TaskGroup) -> None:
        for connection in tuple(self._connections):
            connection.say_goodbye("the service stops", self._grace)

        if self._connections:
            with anyio.move_on_after(self._grace):
                await self._all_gone()

        for connection in tuple(self._connections):
            connection.cut("stop", "the service stops")

        clients.cancel_scope.cancel()

    async def _all_gone(self) -> None:
        while self._connections:
            self._empty = anyio.Event()
            await self._empty.wait()


def raise_descriptor_limit() -> None:
    """Let this process open as many descriptors as it is ever allowed to."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
