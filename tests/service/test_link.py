"""What a link sends, byte for byte: large pieces, empty ones, and descriptors."""

from __future__ import annotations

import itertools
import os
import socket
from itertools import product
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest

from memhub.service import wire
from memhub.service.link import SocketLink
from memhub.service.server.parting import await_reads
from service.service_rig import RawClient, lab

if TYPE_CHECKING:
    from pathlib import Path

LARGE = 70_000


@pytest.fixture(autouse=True)
def _bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a link fail that sends without end: nothing else could stop it."""
    send, calls = socket.socket.sendmsg, itertools.count()

    def sendmsg(sock: socket.socket, *arguments: Any) -> int:
        assert next(calls) < 500, "the link sends for ever"

        return send(sock, *arguments)

    monkeypatch.setattr(socket.socket, "sendmsg", sendmsg, raising=False)


def receive_all(sock: socket.socket, size: int) -> tuple[bytes, list[int]]:
    data = b""
    fds: list[int] = []
    while len(data) < size:
        part, found, _, _ = socket.recv_fds(sock, 1 << 20, 4)
        assert part
        data += part
        fds += found

    return data, fds


@pytest.mark.parametrize("sizes", [*product((0, 1, LARGE), repeat=3)], ids=str)
async def test_every_piece_is_sent_and_an_empty_one_holds_nothing_up(
    sizes: tuple[int, ...],
) -> None:
    ours, theirs = socket.socketpair()
    pieces = [bytes([place]) * size for place, size in enumerate(sizes)]
    async with anyio.create_task_group() as tasks:
        link = SocketLink(ours, tasks.start_soon)
        link.send(pieces)
        with anyio.fail_after(20):
            data, _ = await anyio.to_thread.run_sync(receive_all, theirs, sum(sizes))
            await link.room(0)

        assert data == b"".join(pieces)
        assert (link.queued, link.taken) == (0, len(data))
        await link.aclose()

    theirs.close()


@pytest.mark.parametrize("pieces", [[b"", b"x"], [b"x", b""], [b"x" * LARGE, b""]])
async def test_a_descriptor_goes_with_the_first_byte(pieces: list[bytes]) -> None:
    ours, theirs = socket.socketpair()
    read_end, write_end = os.pipe()
    async with anyio.create_task_group() as tasks:
        link = SocketLink(ours, tasks.start_soon)
        link.send(pieces, read_end)
        with anyio.fail_after(20):
            data, fds = await anyio.to_thread.run_sync(receive_all, theirs, sum(map(len, pieces)))

        assert (data, len(fds)) == (b"".join(pieces), 1)
        await link.aclose()

    os.write(write_end, b"through")
    assert os.read(fds[0], 7) == b"through"
    os.close(fds[0])
    os.close(write_end)
    theirs.close()


async def test_a_descriptor_of_nothing_is_closed() -> None:
    ours, theirs = socket.socketpair()
    read_end, write_end = os.pipe()
    async with anyio.create_task_group() as tasks:
        link = SocketLink(ours, tasks.start_soon)
        link.send([b"", b""], read_end)
        await link.aclose()

    with pytest.raises(BrokenPipeError):
        os.write(write_end, b"nobody reads")

    os.close(write_end)
    theirs.close()


async def test_a_read_of_nothing_behind_a_large_one_holds_up_nobody(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path) as it:
        client, other = await RawClient.dial(it.address), await RawClient.dial(it.address)
        handle = await client.open()
        client.send(
            *client.protocol.send(wire.Pread(0, handle, 4096, LARGE)),
            *client.protocol.send(wire.Pread(0, handle, 0, 0)),
        )
        assert (await other.ask(wire.Ping(0, 7))).NAME == "DONE"
        client.close()
        other.close()


async def test_what_a_slow_peer_acknowledges_is_progress_before_the_socket_takes_more() -> None:
    """Over TCP, a socket takes more only when a good part of what it holds has gone."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()

    total, read = 16 << 20, 0
    async with anyio.create_task_group() as tasks:
        link = SocketLink(ours, tasks.start_soon)
        link.send([bytes(total)])
        seen: dict[int, set[int]] = {}
        while read < total:
            taken, held = link.progress()
            seen.setdefault(taken, set()).add(held)
            read += len(await anyio.to_thread.run_sync(theirs.recv, 1 << 16))

        with anyio.fail_after(20):
            await link.room(0)

        assert link.progress() == (total, 0)
        assert max(map(len, seen.values())) > 3
        await link.aclose()
        assert link.progress() == (total, 0)

    theirs.close()


class SlowlyRead:
    """A link of which the peer reads a little, again and again, and then the rest or no more."""

    def __init__(self, *, to_the_end: bool) -> None:
        self.queued, self.taken, self._held = 100, 5, 9
        self._last = 0 if to_the_end else 100

    def progress(self) -> tuple[int, int]:
        self._held = max(0, self._held - 1)
        self.queued = self.queued if self._held else self._last

        return self.taken, self._held

    async def room(self, limit: int) -> None:
        while self.queued > limit:
            await anyio.sleep_forever()


@pytest.mark.parametrize("to_the_end", [True, False])
async def test_a_slow_reader_is_waited_for_as_long_as_it_reads(to_the_end: bool) -> None:
    link = SlowlyRead(to_the_end=to_the_end)
    with anyio.fail_after(20):
        await await_reads(cast("Any", link), 0.001)

    assert link.progress()[1] == 0
    assert link.queued == (0 if to_the_end else 100)
