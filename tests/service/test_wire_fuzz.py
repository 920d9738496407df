"""A server's end under spoilt streams: it takes them or refuses them, and nothing piles up."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memhub.abi import LP64
from memhub.service.wire import (
    Break,
    Cancel,
    Claim,
    ClientProtocol,
    Data,
    Error,
    Goodbye,
    Ioctl,
    Limits,
    Map,
    Message,
    Open,
    Ping,
    Pread,
    ProtocolError,
    Pwrite,
    Report,
    Seek,
    ServerProtocol,
    Subscribe,
    Welcome,
)
from service.wire_strategies import from_client, from_server

MESSAGES: list[Message] = [
    Open(1, 1, 0, "/dev/mem"),
    Ioctl(2, 1, LP64.get, bytes(16), b"", 64),
    Pwrite(3, 1, 0, 20, b"abc"),
    Data(3, True, bytes(17)),
    Data(3, False, bytes(5)),
    Ping(4, 1),
    Cancel(2),
    Claim(5, 1, 0, 0, 0, 4096),
    Break(6, 1, 0, 4096, 0, "why"),
    Map(7, 1, 1),
    Report(8, "all", ""),
    Goodbye(0, 1, "bye"),
    Seek(9, 1, 0, 4),
    Subscribe(10, 1, 0, 0, "lab"),
]
FRAMES = [*(message.encode() for message in MESSAGES), ClientProtocol().hello("again")]
HELLO = ClientProtocol().hello("fuzz")


def spoilt(rng: random.Random) -> bytes:
    """A few frames in any order, some bits flipped, some of the end missing."""
    stream = bytearray(b"".join(rng.choices(FRAMES, k=rng.randint(1, 6))))
    for _ in range(rng.randint(0, 3)):
        stream[rng.randrange(len(stream))] ^= 1 << rng.randrange(8)

    return bytes(stream[: rng.randint(1, len(stream))] if rng.random() < 0.2 else stream)


def greeted() -> ServerProtocol:
    server = ServerProtocol(Limits(4096, 8))
    server.receive(HELLO)
    server.accept("memhub")

    return server


def answer_some(server: ServerProtocol, messages: list[Message], rng: random.Random) -> None:
    for message in messages:
        if message.request in server.in_flight and rng.random() < 0.5:
            server.send(Error(message.request, 5, 0, "EIO", "DeviceError", "no", b""))


def run(streams: int, seed: int) -> tuple[int, int]:
    """Feed spoilt streams to as many servers; how many were taken whole, and how many refused."""
    rng, taken, refused = random.Random(seed), 0, 0
    for _ in range(streams):
        server, stream, at = greeted(), spoilt(rng), 0
        try:
            while at < len(stream):
                size = rng.randint(1, 60)
                answer_some(server, server.receive(stream[at : at + size]), rng)
                at += size
                assert len(server.in_flight) <= 8
                assert len(server._due) <= 8
                assert server._decoder.pending < 4096 + 12
            taken += 1
        except ProtocolError:
            refused += 1

        assert server.state != "closed" or server._decoder.pending == 0

    return taken, refused


def test_spoilt_streams_are_taken_or_refused() -> None:
    """Three thousand of them; both outcomes occur."""
    taken, refused = run(3_000, seed=4)
    assert min(taken, refused) > 300


@settings(max_examples=200, deadline=None)
@given(st.lists(from_client, max_size=12), st.booleans())
def test_any_order_of_frames_is_taken_or_refused(messages: list[Message], is_greeted: bool) -> None:
    """A server that is sent frames in any order raises nothing but ProtocolError, and then stays
    dead; the ids it holds are within the limit."""
    server = greeted() if is_greeted else ServerProtocol()
    for message in messages:
        try:
            server.receive(message.encode())
        except ProtocolError:
            with pytest.raises(ProtocolError, match="nothing more is read after an error"):
                server.receive(message.encode())
            break
        assert len(server.in_flight) <= 8


@settings(max_examples=200, deadline=None)
@given(st.lists(from_server, max_size=6), st.binary(max_size=20))
def test_a_client_survives_any_server(messages: list[Message], tail: bytes) -> None:
    """A client raises nothing but ProtocolError whatever it is sent."""
    client = ClientProtocol()
    client.hello()
    client.receive(Welcome(0, 1, 0, 0, 4096, 8, 8, 0, "memhub").encode())
    client.send(Pread(1, 1, 0, 64))
    try:
        client.receive(b"".join(m.encode() for m in messages) + tail)
    except ProtocolError:
        assert client.state == "closed"


@pytest.mark.campaign
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(10))
def test_a_million_spoilt_streams(seed: int) -> None:
    """A hundred thousand for each of ten seeds."""
    assert sum(run(100_000, seed)) == 100_000
