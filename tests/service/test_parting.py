"""Over TCP, what a client sends late costs it no answer, and TLS ends in order."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from memhub.service import wire
from memhub.service.server import parting
from memhub.service.settings import Limits, TcpConfig
from service.service_rig import MIB, frames, lab
from service.test_budgets import TOKEN, tcp
from service.test_tls import client_context, tcp_address

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    import trustme

    from service.service_rig import Lab

#: Answers that fit no socket's buffers.
SIZE, COUNT = MIB, 16


class FarClient:
    """A client over TCP, with TLS or without, that reads only when it is told to."""

    def __init__(self, it: Lab, context: ssl.SSLContext | None) -> None:
        host, port = tcp_address(it.server.addresses).split(":")[1:]
        self.place = host, int(port)
        self.context = context
        self.protocol = wire.ClientProtocol()

    async def __aenter__(self) -> FarClient:
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # the rest waits at the service
        await anyio.to_thread.run_sync(raw.connect, self.place)
        if self.context is not None:
            wrap = self.context.wrap_socket
            raw = await anyio.to_thread.run_sync(
                lambda: wrap(raw, server_hostname="localhost", suppress_ragged_eofs=False)
            )

        raw.settimeout(20)
        self.socket = raw
        await self.send(self.protocol.hello("far", token=b"" if self.context else TOKEN.encode()))
        await self.receive()

        return self

    async def __aexit__(self, *_: object) -> None:
        self.socket.close()

    async def send(self, *sent: bytes) -> None:
        await anyio.to_thread.run_sync(self.socket.sendall, b"".join(sent))

    async def receive(self) -> list[wire.Message]:
        data = await anyio.to_thread.run_sync(self.socket.recv, 1 << 18)

        return self.protocol.receive(data) if data else []

    async def ask(self, message: wire.Message) -> Any:
        await self.send(*self.protocol.send(message))
        found: list[wire.Message] = []
        while not found:
            found = await self.receive()

        return found[0]

    async def last_words(self) -> list[wire.Message]:
        """All up to the end, which has to be one in order."""
        found: list[wire.Message] = []
        while True:
            data = await anyio.to_thread.run_sync(self.socket.recv, 1 << 18)
            if not data:
                return found

            found += self.protocol.receive(data)


@pytest.fixture(params=["plain", "tls"])
def far(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    files: dict[str, Any],
    authority: trustme.CA,
) -> tuple[TcpConfig, ssl.SSLContext | None]:
    if request.param == "plain":
        return tcp(tmp_path), None

    return TcpConfig(**files), client_context(authority, "rig-a")


async def test_a_frame_behind_goodbye_costs_no_answer(tmp_path: Path, far: Any) -> None:
    """CANCEL may come when all is answered and nothing is read yet."""
    settings, context = far
    async with lab(tmp_path, tcp=settings) as it, FarClient(it, context) as client:
        handle = (await client.ask(wire.Open(0, 1, 0, "/dev/mem"))).handle
        asked = [wire.Pread(0, handle, 0, 60_000) for _ in range(2)]
        await client.send(*[b for each in asked for b in client.protocol.send(each)])
        await client.send(client.protocol.goodbye("enough"))
        await it.settled(0)
        await client.send(*frames(wire.Cancel(asked[0].request)))
        found: list[Any] = await client.last_words()
        assert sum(len(m.data) for m in found) == 2 * 60_000
        assert {m.request for m in found if m.last} == {it.request for it in asked}


async def test_a_request_that_crosses_a_stop_costs_no_answer(tmp_path: Path, far: Any) -> None:
    """What was answered before is read behind it, and GOODBYE too."""
    settings, context = far
    async with lab(tmp_path, tcp=settings) as it, FarClient(it, context) as client:
        handle = (await client.ask(wire.Open(0, 1, 0, "/dev/mem"))).handle
        asked = [wire.Pread(0, handle, 0, 60_000) for _ in range(2)]
        (connection,) = it.server._connections
        heard = connection.receives
        await client.send(*[b for each in asked for b in client.protocol.send(each)])
        while connection.receives == heard or connection.busy:
            await anyio.lowlevel.checkpoint()

        connection.begin_drain("the service stops", 5.0)
        await it.settled(0)
        await client.send(*frames(wire.Ping(60, 1)))
        found: list[Any] = await client.last_words()
        assert [m.NAME for m in found][-1] == "GOODBYE"
        assert sum(len(m.data) for m in found if isinstance(m, wire.Data)) == 2 * 60_000


async def test_the_answers_before_a_breach_and_the_abort_arrive(tmp_path: Path, far: Any) -> None:
    """However much was sent behind it."""
    settings, context = far
    async with lab(tmp_path, tcp=settings) as it, FarClient(it, context) as client:
        handle = (await client.ask(wire.Open(0, 1, 0, "/dev/mem"))).handle
        asked = [wire.Pread(0, handle, 0, 1000) for _ in range(3)]
        sent = [b for each in asked for b in client.protocol.send(each)]
        await client.send(*sent, b"\xff" * 50_000)
        *found, abort = await client.last_words()
        assert [m.NAME for m in found] == ["DATA"] * 3
        assert isinstance(abort, wire.Abort)
        await it.settled(0)


async def test_an_idle_client_gets_its_goodbye_over_tcp_too(tmp_path: Path, far: Any) -> None:
    settings, context = far
    limits = Limits(idle_timeout=0.1)
    async with lab(tmp_path, tcp=settings, limits=limits) as it, FarClient(it, context) as client:
        (goodbye,) = await client.last_words()
        assert isinstance(goodbye, wire.Goodbye)
        assert goodbye.reason == "no request in 0.1 seconds"


async def test_a_client_that_reads_slowly_after_its_goodbye_gets_all(
    tmp_path: Path, far: Any
) -> None:
    """As long as it reads some of it in `stall_timeout`."""
    settings, context = far
    async with lab(tmp_path, tcp=settings) as it, FarClient(it, context) as client:
        handle = (await client.ask(wire.Open(0, 1, 0, "/dev/mem"))).handle
        asked = [wire.Pread(0, handle, 0, SIZE) for _ in range(COUNT)]
        await client.send(*[b for each in asked for b in client.protocol.send(each)])
        await client.send(client.protocol.goodbye("enough"))
        (connection,) = it.server._connections
        with anyio.fail_after(20):
            while connection.receives < 3:
                await anyio.lowlevel.checkpoint()

        found: list[Any] = await client.last_words()
        assert sum(len(m.data) for m in found) == COUNT * SIZE


async def test_a_client_that_ends_tls_gets_the_end_of_it(
    tmp_path: Path, files: dict[str, Any], authority: trustme.CA
) -> None:
    settings, context = TcpConfig(**files), client_context(authority, "rig-a")
    async with lab(tmp_path, tcp=settings) as it, FarClient(it, context) as client:
        await client.ask(wire.Open(0, 1, 0, "/dev/mem"))
        tls: Any = client.socket
        plain = await anyio.to_thread.run_sync(tls.unwrap)
        assert await anyio.to_thread.run_sync(plain.recv, 1) == b""
        plain.close()
        await it.settled(0)


async def test_connections_that_part_are_few_and_keep_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients that never end their side: of more than the limit the oldest are closed."""
    monkeypatch.setattr(parting, "_PARTING_MAX", 2)
    limits = Limits(connections=1)
    async with lab(tmp_path, tcp=tcp(tmp_path), limits=limits) as it:
        clients = [FarClient(it, None) for _ in range(4)]
        for client in clients:
            await client.__aenter__()
            await client.send(client.protocol.goodbye("enough"))
            assert await client.last_words() == []
            await it.settled(0)

        with anyio.fail_after(20):
            while len(it.server._partings._scopes) > 2:
                await anyio.lowlevel.checkpoint()

        for client in clients:
            client.socket.close()
