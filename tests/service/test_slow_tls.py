"""A client over TLS that reads slowly: the service keeps a bounded part of its answers."""

from __future__ import annotations

import tracemalloc
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest

from memhub.service import wire
from memhub.service.settings import Limits, TcpConfig
from memhub.service.stream_link import StreamLink
from service.service_rig import MIB, lab
from service.test_tls import client_context, tcp_address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    import trustme
    from anyio.streams.tls import TLSStream

    from service.service_rig import Lab


class SlowStream:
    """A stream whose peer takes what it is given one send at a time, when it is told to."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.given = anyio.Event()
        self.takes = anyio.Semaphore(0)

    async def send(self, data: bytes) -> None:
        self.given.set()
        await self.takes.acquire()
        self.sent.append(data)


@pytest.mark.parametrize(
    "sizes", [(3 * MIB,), (12,) * 5000, (12, 0, MIB, 12, 0, 300_000, 1), (0, 0, 12), (1 << 18, 1)]
)
async def test_each_piece_that_a_peer_takes_counts_as_taken(sizes: tuple[int, ...]) -> None:
    """However large a frame is, a peer that takes some of it has not stopped reading."""
    stream = SlowStream()
    frames = [bytes([place & 0xFF]) * size for place, size in enumerate(sizes)]
    total = sum(sizes)
    async with anyio.create_task_group() as tasks:
        link = StreamLink(cast("Any", stream), tasks.start_soon)
        link.send(frames)
        assert (link.queued, link.taken) == (total, 0)
        with anyio.fail_after(20):
            while link.taken < total:
                await stream.given.wait()
                stream.given, taken = anyio.Event(), link.taken
                assert link.queued == total - taken
                stream.takes.release()
                await anyio.wait_all_tasks_blocked()
                assert 0 < link.taken - taken <= 1 << 18

            await link.room(0)

    assert b"".join(stream.sent) == b"".join(frames)


@pytest.mark.parametrize(
    "error",
    [
        anyio.EndOfStream,
        anyio.BrokenResourceError,
        anyio.ClosedResourceError,
        ConnectionResetError,
        partial(anyio.BusyResourceError, "sending"),
    ],
)
async def test_a_stream_that_ends_in_any_way_ends_its_link(error: Callable[[], Exception]) -> None:
    """It is busy where TLS has to answer the client while something is sent to it."""
    stream = SlowStream()

    async def receive(_size: int) -> bytes:
        raise error()

    vars(stream)["receive"] = receive
    async with anyio.create_task_group() as tasks:
        assert await StreamLink(cast("Any", stream), tasks.start_soon).receive() == b""


class TlsClient:
    """A client over TLS that reads only when it is told to."""

    def __init__(self, stream: TLSStream) -> None:
        self.stream = stream
        self.protocol = wire.ClientProtocol()

    async def ask(self, message: wire.Message) -> Any:
        await self.stream.send(b"".join(self.protocol.send(message)))

        return (await self.receive())[0]

    async def receive(self) -> list[wire.Message]:
        found: list[wire.Message] = []
        while not found:
            with anyio.fail_after(20):
                found = self.protocol.receive(await self.stream.receive(1 << 16))

        return found


@pytest.fixture
def dial(authority: trustme.CA) -> Any:
    @asynccontextmanager
    async def dialled(it: Lab) -> AsyncIterator[TlsClient]:
        host, port = tcp_address(it.server.addresses).split(":")[1:]
        async with await anyio.connect_tcp(
            host,
            int(port),
            ssl_context=client_context(authority, "rig-a"),
            tls_standard_compatible=False,
        ) as stream:
            client = TlsClient(stream)
            await stream.send(client.protocol.hello("slow"))
            await client.receive()
            yield client

    return dialled


async def test_a_slow_reader_over_tls_costs_a_bounded_part_of_its_answers(
    tmp_path: Path, files: dict[str, Any], dial: Any
) -> None:
    """What TLS holds is counted. Others are served, and the reader gets all in the end."""
    limits = Limits(frame_size=1 << 18, queued_bytes=1 << 20)
    connecting: AbstractAsyncContextManager[TlsClient]
    async with lab(tmp_path, tcp=TcpConfig(**files), limits=limits) as it:
        connecting = dial(it)
        async with connecting as client, it.connect("other") as other:
            (connection,) = it.server._connections - {
                each for each in it.server._connections if each.peer.subject is None
            }
            handle = (await client.ask(wire.Open(0, 1, 0, "/dev/mem"))).handle
            tracemalloc.start()
            try:
                for _ in range(60):
                    asked = client.protocol.send(wire.Pread(0, handle, 0, MIB))
                    await client.stream.send(b"".join(asked))

                with anyio.fail_after(20):
                    while connection.link.queued <= limits.queued_bytes // 2:
                        await anyio.lowlevel.checkpoint()

                file = await other.open("/dev/mem")
                for _ in range(50):
                    assert await file.pread(8, 0) == bytes(8)
                    assert connection.link.queued <= limits.queued_bytes // 2 + (1 << 18) + 12

                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()

            assert peak < 8 * MIB  # of 60
            got = 0
            while client.protocol.in_flight:
                got += sum(len(m.data) for m in await client.receive() if isinstance(m, wire.Data))

            assert got == 60 * MIB
