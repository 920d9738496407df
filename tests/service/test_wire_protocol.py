"""The two ends of a connection, wired to each other without I/O."""

from __future__ import annotations

import copy

import pytest

from memhub.service.wire import (
    FEATURE_MAP,
    Abort,
    Cancel,
    ClientProtocol,
    Data,
    Done,
    Error,
    Event,
    Goodbye,
    Hello,
    Limits,
    LocalProtocolError,
    Message,
    Ping,
    Pread,
    ProtocolError,
    Pwrite,
    Refused,
    Report,
    ServerProtocol,
    Welcome,
    pieces,
)
from memhub.service.wire.greeting import MAGIC


class Pair:
    """A client and a server whose bytes go straight across."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.client = ClientProtocol()
        self.server = ServerProtocol(limits or Limits(max_body=4096, max_in_flight=4))

    def greet(self) -> Pair:
        self.server.receive(self.client.hello("test"))
        self.client.receive(self.server.accept("memhub"))
        return self

    def ask(self, message: Message) -> list[Message]:
        return self.server.receive(b"".join(self.client.send(message)))

    def answer(self, message: Message) -> list[Message]:
        return self.client.receive(b"".join(self.server.send(message)))


@pytest.fixture
def pair() -> Pair:
    return Pair().greet()


def test_a_handshake_fixes_version_features_and_limits() -> None:
    """The client learns the limits, and is granted what it wants and the server has."""
    pair = Pair(Limits(8192, 3, 5, 60_000))
    (hello,) = pair.server.receive(
        pair.client.hello("top", model=2, features=FEATURE_MAP | 2, token=b"t")
    )
    assert Hello(0, MAGIC, 1, 1, 2, 0, 3, "top", b"t") == hello
    (welcome,) = pair.client.receive(pair.server.accept("memhub 0", FEATURE_MAP | 4))
    assert Welcome(0, 1, 2, FEATURE_MAP, 8192, 3, 5, 60_000, "memhub 0") == welcome
    assert (pair.client.state, pair.server.state) == ("open", "open")


def test_a_refusal_ends_the_connection_with_its_reason() -> None:
    """Neither side takes or sends anything after REFUSED."""
    pair = Pair()
    pair.server.receive(pair.client.hello())
    (refused,) = pair.client.receive(pair.server.refuse(13, "EACCES", "uid 7 is not allowed"))
    assert Refused(0, 13, "EACCES", "uid 7 is not allowed") == refused
    with pytest.raises(LocalProtocolError, match="PING cannot be sent"):
        pair.client.send(Ping(0, 1))
    with pytest.raises(ProtocolError, match="after an error: the connection was refused"):
        pair.server.receive(Ping(1, 1).encode())


@pytest.mark.parametrize(("low", "high", "chosen"), [(1, 1, 1), (1, 9, 1), (2, 9, None)])
def test_the_highest_common_version_is_chosen(low: int, high: int, chosen: int | None) -> None:
    """Without one, the server can only refuse."""
    server = ServerProtocol()
    server.receive(Hello(0, MAGIC, low, high, 0, 0, 0, "", b"").encode())
    assert chosen == server.version()
    if chosen is None:
        with pytest.raises(LocalProtocolError, match="no common version"):
            server.accept("memhub")
    assert server.refuse(92, "EPROTO", "no common version")


@pytest.mark.parametrize(
    ("first", "rule"),
    [
        (Ping(1, 1).encode(), "PING came before the handshake"),
        (Data(1, True, b"x").encode(), "DATA came before the handshake"),
        (Goodbye(0, 0, "").encode(), "GOODBYE came before the handshake"),
        (b"GET / HTTP/1.1\r\n", "not a frame"),
        (b"\x1d\0\0\0\1\0\0\0\0\0\0\0" + b"x" * 20 + b"\5\0hello\0\0", "not the magic"),
    ],
)
def test_nothing_comes_before_the_handshake(first: bytes, rule: str) -> None:
    """The server refuses whatever is not a HELLO, and reads nothing more."""
    server = ServerProtocol()
    with pytest.raises(ProtocolError, match=rule):
        server.receive(first)
    with pytest.raises(ProtocolError, match="nothing more is read after an error"):
        server.receive(ClientProtocol().hello())


@pytest.mark.parametrize("extra", [Ping(1, 1).encode(), ClientProtocol().hello(), b"\0"])
def test_nothing_follows_hello_before_its_answer(extra: bytes) -> None:
    """A request, a second HELLO or a single byte behind HELLO is refused, in one receive or two."""
    for together in (True, False):
        server = ServerProtocol()
        hello = ClientProtocol().hello()
        with pytest.raises(ProtocolError):  # noqa: PT012 - either receive may be the one
            server.receive(hello + extra if together else hello)
            server.receive(extra)
        assert server.state == "closed"


def test_a_replayed_handshake_is_refused(pair: Pair) -> None:
    """HELLO comes once."""
    with pytest.raises(ProtocolError, match="HELLO came twice on one connection") as caught:
        pair.server.receive(Ping(7, 7).encode() + ClientProtocol().hello())
    assert [Ping(7, 7)] == caught.value.messages
    (abort,) = pair.client.receive(pair.server.abort(caught.value))
    assert Abort(0, "out-of-order: HELLO came twice on one connection") == abort
    assert pair.client.state == "closed"


@pytest.mark.parametrize(("version", "model", "features"), [(2, 0, 0), (1, 1, 0), (1, 0, 2)])
def test_a_client_takes_only_what_it_offered(version: int, model: int, features: int) -> None:
    """A WELCOME with another version, model or feature than HELLO named is refused."""
    client = ClientProtocol()
    client.hello(features=FEATURE_MAP)
    with pytest.raises(ProtocolError, match="WELCOME"):
        client.receive(Welcome(0, version, model, features, 4096, 1, 1, 0, "").encode())


def test_nothing_follows_abort(pair: Pair) -> None:
    """What comes behind ABORT is not read: neither handed out nor answered with an ABORT."""
    for tail in (Ping(1, 1).encode(), b"\xff" * 40, Abort(0, "again").encode()):
        other = copy.deepcopy(pair)
        assert [Abort(0, "why")] == other.server.receive(Abort(0, "why").encode() + tail)
        assert other.server.receive(tail) == []
        assert other.server.state == "closed"


def test_an_abort_in_place_of_a_greeting_is_taken() -> None:
    """Neither side answers it with an ABORT of its own."""
    client, server = ClientProtocol(), ServerProtocol()
    hello = client.hello()
    assert [Abort(0, "why")] == server.receive(Abort(0, "why").encode() + hello)
    assert [Abort(0, "why")] == client.receive(Abort(0, "why").encode() + b"\xff" * 40)
    assert client.state == server.state == "closed"


def test_answers_come_in_any_order_and_free_their_ids(pair: Pair) -> None:
    """Four requests, answered backwards; the ids are then free on both sides."""
    asked = [pair.ask(Ping(0, n))[0] for n in range(4)]
    assert [message.request for message in asked] == [1, 2, 3, 4]
    for message in reversed(asked):
        assert [Done(message.request, 9)] == pair.answer(Done(message.request, 9))
    assert frozenset() == pair.client.in_flight == pair.server.in_flight
    assert [Ping(2, 5)] == pair.ask(Ping(2, 5))


def test_an_id_in_flight_is_not_used_again(pair: Pair) -> None:
    """The client refuses to send it, and the server to take it."""
    pair.ask(Ping(3, 1))
    with pytest.raises(LocalProtocolError, match="request id 3 is used again"):
        pair.client.send(Ping(3, 2))
    with pytest.raises(ProtocolError, match="request id 3 is used again before its answer"):
        pair.server.receive(Ping(3, 2).encode())


def test_requests_in_flight_are_limited(pair: Pair) -> None:
    """The fifth of four is refused on both sides."""
    for n in range(4):
        pair.ask(Ping(0, n))
    with pytest.raises(LocalProtocolError, match="4 requests are in flight"):
        pair.client.send(Ping(0, 9))
    with pytest.raises(ProtocolError, match="over the limit of 4 in flight"):
        pair.server.receive(Ping(9, 9).encode())


def test_unfinished_writes_count_against_the_limit(pair: Pair) -> None:
    """A client cannot pile up streams whose answer came early."""
    for n in range(1, 5):
        pair.server.receive(Pwrite(n, 1, 0, 100, b"").encode())
        pair.server.send(Error(n, 14, 0, "EFAULT", "BadAddress", "no", b""))
    with pytest.raises(ProtocolError, match="over the limit of 4"):
        pair.server.receive(Pwrite(5, 1, 0, 100, b"").encode())


def test_a_long_read_interleaves_with_other_answers(pair: Pair) -> None:
    """Pieces of one answer let another pass, and add up."""
    pair.ask(Pread(1, 1, 0, 10_000))
    pair.ask(Ping(2, 5))
    payload = bytes(range(256)) * 39
    got = b""
    for piece in pieces(1, payload, 4096):
        (back,) = pair.answer(piece)
        assert isinstance(back, Data)
        got += back.data
        if 2 in pair.server.in_flight:
            assert [Done(2, 5)] == pair.answer(Done(2, 5))
    assert payload == got
    assert frozenset() == pair.client.in_flight


def test_a_read_may_fail_after_some_pieces(pair: Pair) -> None:
    """i386 answers an error though bytes moved."""
    pair.ask(Pread(1, 1, 0, 10_000))
    pair.answer(Data(1, False, b"x" * 4096))
    failed = Error(1, 14, 4096, "EFAULT", "BadAddress", "0x1000 is not mapped", b"")
    assert [failed] == pair.answer(failed)
    assert frozenset() == pair.client.in_flight


@pytest.mark.parametrize("size", [0, 1, 4076, 4077, 4096, 8192, 10_001])
def test_a_long_write_arrives_whole(pair: Pair, size: int) -> None:
    """A payload of any size crosses in frames within the limit, and others pass between."""
    payload = bytes(n % 251 for n in range(size))
    got, frames = b"", 0
    for buffers in pair.client.write(Pwrite(0, 1, 0x1000, 0, b""), payload):
        for message in pair.server.receive(b"".join(buffers)):
            assert isinstance(message, Pwrite | Data)
            got += message.data
            frames += 1
        pair.ask(Ping(50, 1))
        pair.answer(Done(50, 1))
    assert payload == got
    assert (frames == 1) is (size <= 4076)
    assert [Done(1, size)] == pair.answer(Done(1, size))
    assert [Ping(1, 1)] == pair.ask(Ping(1, 1))


def test_a_write_answered_early_is_drained(pair: Pair) -> None:
    """What is under way is swallowed, and the id is free only after LAST."""
    sending = pair.client.write(Pwrite(0, 1, 0, 0, b""), bytes(20_000))
    pair.server.receive(b"".join(next(sending)))
    pair.answer(Error(1, 14, 0, "EFAULT", "BadAddress", "no", b""))
    assert pair.server.receive(b"".join(next(sending))) == []
    with pytest.raises(LocalProtocolError, match="used again"):
        pair.client.send(Ping(1, 1))
    with pytest.raises(ProtocolError, match="used again"):
        copy.deepcopy(pair.server).receive(Ping(1, 1).encode())
    assert pair.ask(Data(1, True, b"")) == []
    assert [Ping(1, 1)] == pair.ask(Ping(1, 1))


@pytest.mark.parametrize(
    ("piece", "rule"),
    [
        (Data(1, True, b"x" * 11), "1 bytes more than request 1 announced"),
        (Data(1, False, b"x" * 10), "without the flag LAST"),
        (Data(1, False, b""), "empty and not the last"),
        (Data(2, True, b""), "request 2, which expects none"),
    ],
)
def test_a_write_keeps_to_what_it_announced(pair: Pair, piece: Data, rule: str) -> None:
    """Both sides refuse a piece that does not belong."""
    pair.ask(Pwrite(1, 1, 0, 12, b"ab"))
    with pytest.raises(LocalProtocolError):
        pair.client.send(piece)
    with pytest.raises(ProtocolError, match=rule):
        pair.server.receive(piece.encode())


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        (Done(9, 0), "DONE answers request 9, which is not in flight"),
        (Done(1, 0), "DONE answers request 1, which expects DATA"),
        (Data(2, True, b""), "DATA answers request 2, which expects DONE"),
        (Data(1, True, b"x" * 9), "1 bytes more than request 1 asked"),
        (Data(1, False, b""), "empty and not the last"),
        (Welcome(0, 1, 0, 0, 4096, 1, 1, 0, ""), "WELCOME came after the handshake"),
    ],
)
def test_a_client_takes_only_what_it_asked_for(pair: Pair, answer: Message, rule: str) -> None:
    """An answer of the wrong kind, size or id ends the connection."""
    pair.ask(Pread(1, 1, 0, 8))
    pair.ask(Ping(2, 0))
    with pytest.raises(ProtocolError, match=rule):
        pair.client.receive(answer.encode())


def test_a_server_sends_only_answers_to_what_was_asked(pair: Pair) -> None:
    """The wrong kind, an unknown id and an answer too long are refused before they are sent."""
    pair.ask(Report(1, "", ""))
    for wrong in (Done(1, 0), Data(2, True, b""), Welcome(0, 1, 0, 0, 4096, 1, 1, 0, "")):
        with pytest.raises(LocalProtocolError, match="not in flight or has another kind"):
            pair.server.send(wrong)
    with pytest.raises(LocalProtocolError, match="over the limit of 4096"):
        pair.server.send(Data(1, True, bytes(4097)))
    assert [Data(1, True, b"{}")] == pair.answer(Data(1, True, b"{}"))


def test_cancel_reaches_only_what_is_in_flight(pair: Pair) -> None:
    """A CANCEL that crosses the answer is dropped."""
    pair.ask(Ping(1, 1))
    assert [Cancel(1)] == pair.ask(Cancel(1))
    pair.answer(Done(1, 1))
    assert pair.ask(Cancel(1)) == []


def test_events_come_at_any_time(pair: Pair) -> None:
    """They need no request in flight, and say how many were missed."""
    event = Event(0, 4, 17, 9, 0xA0000, 0x20000, "range.set", b"{}")
    assert [event] == pair.answer(event)


def test_goodbye_of_the_server_lets_requests_finish(pair: Pair) -> None:
    """In-flight requests are answered; a request that crosses it is still delivered."""
    pair.ask(Ping(1, 1))
    crossing = b"".join(pair.client.send(Ping(2, 2)))
    assert [Goodbye(0, 500, "stop")] == pair.client.receive(pair.server.goodbye("stop", 500))
    assert [Ping(2, 2)] == pair.server.receive(crossing)
    with pytest.raises(LocalProtocolError, match="while the connection is closing"):
        pair.client.send(Ping(3, 3))
    assert [Done(1, 1)] == pair.answer(Done(1, 1))
    assert [Done(2, 2)] == pair.answer(Done(2, 2))


def test_a_client_keeps_to_its_own_goodbye(pair: Pair) -> None:
    """A request after it is an offence; answers still come."""
    pair.ask(Ping(1, 1))
    pair.server.receive(pair.client.goodbye("done"))
    assert [Done(1, 1)] == pair.answer(Done(1, 1))
    with pytest.raises(ProtocolError, match="PING came after GOODBYE"):
        pair.server.receive(Ping(2, 1).encode())


def test_ids_wrap_around_past_those_in_flight(pair: Pair) -> None:
    """After 0xffffffff comes the first free one, never 0."""
    pair.ask(Ping(0xFFFFFFFE, 0))
    pair.ask(Ping(1, 0))
    pair.client._id = 0xFFFFFFFD
    assert [pair.client.next_id(), pair.client.next_id()] == [0xFFFFFFFF, 2]
