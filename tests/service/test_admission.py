"""Which connection makes room when too many have not sent HELLO, and what clients do about it."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest

from memhub.service import wire
from memhub.service.blocking import BlockingClient
from memhub.service.client import connect
from memhub.service.server.admission import Gate
from memhub.service.server.rights import Peer
from memhub.service.settings import Limits
from service.process_rig import Script, Served
from service.service_rig import RawClient, lab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from memhub.service.server.admission import Place


class Door:
    """A gate for three silent connections, and the far ends of those that came."""

    def __init__(self, stack: ExitStack) -> None:
        self.gate = Gate("unix:s", Limits(ungreeted=3))
        self.stack = stack

    def come(self, peer: Peer, said: bytes = b"") -> Place:
        near, far = socket.socketpair()
        self.stack.enter_context(near)
        self.stack.enter_context(far).send(said)

        return self.gate.enter(near, peer)


@pytest.fixture
def door() -> Iterator[Door]:
    with ExitStack() as stack:
        yield Door(stack)


def local(pid: int, uid: int = 1000) -> Peer:
    return Peer(pid=pid, uid=uid)


def evicted(*places: Place) -> list[bool]:
    return [place.evicted is not None for place in places]


def test_one_whose_hello_is_not_read_yet_stays(door: Door) -> None:
    first = [door.come(local(1), b"memhub"), door.come(local(2)), door.come(local(3))]
    assert evicted(*first, door.come(local(4))) == [False, True, False, False]


def test_the_process_with_most_makes_room(door: Door) -> None:
    first = [door.come(local(1)), door.come(local(2)), door.come(local(2))]
    assert evicted(*first, door.come(local(3))) == [False, True, False, False]


def test_the_user_with_most_makes_room_in_however_many_processes(door: Door) -> None:
    first = [door.come(local(1, 7)), door.come(local(2)), door.come(local(3))]
    assert evicted(*first, door.come(local(1, 7))) == [False, True, False, False]


def test_the_host_with_most_makes_room(door: Door) -> None:
    hosts = ("10.0.0.1:1", "10.0.0.2:1", "10.0.0.2:2", "10.0.0.2:3")
    places = [door.come(Peer(address=host)) for host in hosts]
    assert evicted(*places) == [False, True, False, False]


def test_a_process_that_has_most_makes_room_for_itself(door: Door) -> None:
    first = [door.come(local(1)), door.come(local(2)), door.come(local(2))]
    newest = door.come(local(2))
    assert evicted(*first, newest) == [False, True, False, False]
    greeting = door.come(local(2), b"memhub")
    assert evicted(*first, newest, greeting) == [False, True, True, False, False]


def test_of_five_silent_ones_of_a_process_the_newest_stay(door: Door) -> None:
    assert evicted(*[door.come(local(1)) for _ in range(5)]) == [True, True, False, False, False]


def test_no_process_pushes_out_one_that_has_fewer(door: Door) -> None:
    """With one each, the second of a process takes the place of its first."""
    first = [door.come(local(1)), door.come(local(2)), door.come(local(3))]
    assert evicted(*first, *[door.come(local(3)) for _ in range(4)]) == [
        *(False, False, True),
        *(True, True, True, False),
    ]


def test_no_user_pushes_out_one_that_has_fewer(door: Door) -> None:
    first = [door.come(local(1, 7)), door.come(local(2, 8)), door.come(local(3, 9))]
    assert evicted(*first, door.come(local(4, 9))) == [False, False, True, False]


def test_the_oldest_goes_if_something_has_come_from_all(door: Door) -> None:
    places = [door.come(local(pid), b"m") for pid in (1, 2, 2, 3)]
    assert evicted(*places) == [False, True, False, False]


def test_a_place_that_is_given_back_can_be_taken(door: Door) -> None:
    first = [door.come(local(1)) for _ in range(3)]
    door.gate.leave(first[0])
    door.gate.leave(first[0])
    assert evicted(*first, door.come(local(1))) == [False] * 4


async def test_the_newest_silent_connections_of_a_process_stay(tmp_path: Path) -> None:
    async with lab(tmp_path, limits=Limits(ungreeted=3)) as it:
        clients = [await RawClient.dial(it.address, greet=False) for _ in range(5)]
        with anyio.fail_after(20):
            for client in clients[:2]:
                await anyio.wait_readable(client.socket)
                assert client.socket.recv(1) == b""

        for client in clients[2:]:
            client.send(client.protocol.hello("late"))
            await client.receive()
            assert client.protocol.welcome is not None

        for client in clients:
            client.close()


async def test_who_greets_at_once_gets_in_beside_its_own_silent_connections(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path, limits=Limits(ungreeted=3)) as it:
        silent = [await RawClient.dial(it.address, greet=False) for _ in range(5)]
        for _ in range(20):
            (await RawClient.dial(it.address)).close()

        clients = [await RawClient.dial(it.address, greet=False) for _ in range(12)]
        for client in clients:
            client.send(client.protocol.hello("one of many"))

        for client in clients:
            await client.receive()
            assert client.protocol.welcome is not None

        for client in [*silent, *clients]:
            client.close()


# Clients


class Curt:
    """A service that closes its first connections before it answers, and answers the next.

    Args:
        path: its socket.
        times: how many it closes.
    """

    def __init__(self, path: Path, times: int) -> None:
        self.path = path
        self.times = times
        self.taken = 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve)

    def serve(self) -> None:
        while True:
            sock, _ = self.listener.accept()
            self.taken += 1
            with sock:
                if self.taken <= self.times:
                    continue

                protocol = wire.ServerProtocol(wire.Limits())
                while protocol.hello is None:
                    protocol.receive(sock.recv(1 << 16))

                sock.sendall(protocol.accept("curt", 0))
                sock.recv(1 << 16)
                return

    def __enter__(self) -> Curt:
        self.thread.start()

        return self

    def __exit__(self, *_: object) -> None:
        self.thread.join(20)
        self.listener.close()


async def test_a_connection_that_is_closed_unanswered_is_made_again(tmp_path: Path) -> None:
    with Curt(tmp_path / "s", 3) as service:
        async with connect(service.path) as hub:
            assert hub.software == "curt"

    assert service.taken == 4


def test_a_blocking_client_makes_it_again_too(tmp_path: Path) -> None:
    with Curt(tmp_path / "s", 3) as service, BlockingClient(service.path) as client:
        assert client.software == "curt"

    assert service.taken == 4


async def test_one_that_is_always_closed_is_an_error(tmp_path: Path) -> None:
    def blocking() -> None:
        BlockingClient(path)

    path = tmp_path / "s"
    with Curt(path, 14):
        with pytest.raises(ConnectionResetError, match="closed it during the handshake"):
            async with connect(path):
                pass

        with pytest.raises(ConnectionResetError, match="closed it during the handshake"):
            await anyio.to_thread.run_sync(blocking)

        BlockingClient(path).close()


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A socket that takes no more connections."""
    path = tmp_path / "s"
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        listener.listen(0)
        while True:
            sock = stack.enter_context(socket.socket(socket.AF_UNIX))
            sock.setblocking(False)
            try:
                sock.connect(str(path))
            except BlockingIOError:
                break

        yield path


async def test_a_service_that_takes_no_more_is_waited_for(full: Path) -> None:
    with pytest.raises(TimeoutError) as seen:
        BlockingClient(full, timeout=0.05)

    assert seen.value.filename == str(full)
    with pytest.raises(TimeoutError):
        async with connect(full, timeout=0.05):
            pass


# Under load

SILENT = """
import socket, sys
held = []
print("at work", flush=True)
while True:
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect(sys.argv[1])
    except OSError:
        pass
    held.append(sock)
    if len(held) > 400:
        held.pop(0).close()
"""

#: Seconds in which each client gets in.
BOUND = 5


@pytest.mark.campaign
@pytest.mark.alone
@pytest.mark.timeout(300)
@pytest.mark.parametrize("processes", [1, 2, 3])
async def test_silent_processes_keep_nobody_out(
    tmp_path: Path, anyio_backend_name: str, processes: int
) -> None:
    def blocking() -> None:
        for _ in range(25):
            BlockingClient(service.socket, timeout=BOUND).close()

    with Served(tmp_path, "--backend", anyio_backend_name) as service, ExitStack() as stack:
        service.ready()
        for _ in range(processes):
            flood = stack.enter_context(Script(SILENT, str(service.socket)))
            assert flood.line() == "at work"

        await anyio.to_thread.run_sync(blocking)
        for _ in range(25):
            async with connect(service.socket, timeout=BOUND) as hub:
                await hub.ping()
