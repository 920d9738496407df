"""The protocol can grow, and a peer of an earlier version is none the worse for it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memhub.service.wire import (
    FEATURE_MAP,
    FEATURE_SET,
    Abort,
    Claimed,
    ClientProtocol,
    Decoder,
    Done,
    Goodbye,
    Hello,
    Limits,
    Message,
    Opened,
    Ping,
    ProtocolError,
    Refused,
    ServerProtocol,
    Set,
    SetDone,
    Subscribe,
    Welcome,
)
from memhub.service.wire.greeting import MAGIC, VERSION_MAX, VERSION_MIN
from memhub.service.wire.layout import HEADER, HEADER_SIZE

KNOWN = 0b11111

#: What a client of any version, from any language, can rely on.
FROZEN: dict[type[Message], tuple[int, str, Message]] = {
    Hello: (
        0x01,
        "6d656d6875620d0a 0100 0200 0100 0000 03000000 0100 61 0200 7462",
        Hello(0, MAGIC, 1, 2, 1, 0, 3, "a", b"tb"),
    ),
    Welcome: (
        0x03,
        "0100 0200 03000000 00100000 08000000 09000000 0a000000 0100 6d",
        Welcome(0, 1, 2, 3, 4096, 8, 9, 10, "m"),
    ),
    Refused: (0x04, "0d000000 0200 4e4f 0300 776879", Refused(0, 13, "NO", "why")),
    Abort: (0x05, "0300 776879", Abort(0, "why")),
}


@pytest.mark.parametrize("kind", FROZEN, ids=lambda kind: kind.NAME)
def test_the_frames_that_come_before_a_version_never_change(kind: type[Message]) -> None:
    number, body, message = FROZEN[kind]
    raw = bytes.fromhex(body)

    assert message.encode() == HEADER.pack(len(raw), number, 0, 0) + raw
    assert message == kind.decode(raw, 0, len(raw), 0, 0)


@pytest.mark.parametrize(
    "answer",
    [
        Welcome(0, 1, 0, 0, 4096, 8, 8, 0, "m"),
        Refused(0, 13, "EACCES", "why"),
        Goodbye(0, 5, "why"),
        Abort(0, "why"),
        Done(1, 7),
        Opened(1, 1, 1, 0, "amd64", "pc"),
        Claimed(1, 0, 5, 0x1000, 0x2000),
    ],
    ids=lambda answer: answer.NAME,
)
def test_a_client_ignores_what_a_later_service_adds_to_an_answer(answer: Message) -> None:
    frame = answer.encode()
    grown = HEADER.pack(len(frame) - 12 + 5, answer.TYPE, 0, answer.request) + frame[12:] + b"later"
    follows = Ping(2, 2).encode()

    assert Decoder([type(answer), Ping], grown=True).feed(grown + follows) == [answer, Ping(2, 2)]
    with pytest.raises(ProtocolError):
        Decoder([type(answer), Ping]).feed(grown + follows)


def test_a_service_takes_no_byte_that_it_does_not_know() -> None:
    """Otherwise a client could believe that an addition which it sent was understood."""
    server = greeted(0)
    frame = bytearray(Ping(1, 1).encode() + b"x")
    frame[0] += 1
    with pytest.raises(ProtocolError, match="PING has 1 bytes after its last field"):
        server.receive(frame)


def greeted(features: int, offered: int = KNOWN) -> ServerProtocol:
    server = ServerProtocol(Limits(4096, 8))
    server.receive(ClientProtocol().hello("new", features=features))
    server.accept("memhub", offered)

    return server


SETTING = Set(1, 1, 0, 0, 0, 0, bytes(32))


def test_a_frame_of_a_feature_that_was_not_granted_is_unknown() -> None:
    for features, offered in ((0, KNOWN), (FEATURE_SET, FEATURE_MAP)):
        with pytest.raises(ProtocolError, match="type 0x19 is not a frame") as caught:
            greeted(features, offered).receive(SETTING.encode())

        assert caught.value.code == "unknown-frame"

    assert greeted(FEATURE_SET).receive(SETTING.encode()) == [SETTING]


def test_an_answer_of_a_feature_that_was_not_granted_is_unknown() -> None:
    client = ClientProtocol()
    client.hello(features=FEATURE_SET)
    client.receive(Welcome(0, 1, 0, 0, 4096, 8, 8, 0, "memhub").encode())

    with pytest.raises(ProtocolError, match="type 0x85 is not a frame"):
        client.receive(SetDone(1, 0, 0, 0, 0, 0, b"").encode())


def test_what_answers_hello_fits_a_body_of_4096_bytes() -> None:
    """However long the words are: a client knows no other limit yet."""
    for words in ("x" * 5000, "\N{GRINNING FACE}" * 70_000):
        client, server = ClientProtocol(), ServerProtocol()
        server.receive(client.hello())
        frame = server.accept(words)
        assert len(frame) - HEADER_SIZE <= 4096
        (welcome,) = client.receive(frame)
        assert isinstance(welcome, Welcome)
        assert words.startswith(welcome.server)
        assert len(welcome.server) == 1000

        client, server = ClientProtocol(), ServerProtocol()
        server.receive(client.hello())
        frame = server.refuse(13, "EACCES", words)
        assert len(frame) - HEADER_SIZE <= 4096
        (refused,) = client.receive(frame)
        assert isinstance(refused, Refused)
        assert words.startswith(refused.reason)


def test_a_field_that_came_late_may_be_missing() -> None:
    """Whoever leaves it out sends the very bytes that SUBSCRIBE had before it."""
    early = Subscribe(1, 2, 3, 4, "m")
    late = Subscribe(1, 2, 3, 4, "m", 1)

    assert late.encode()[HEADER_SIZE:] == early.encode()[HEADER_SIZE:] + b"\1\0\0\0"
    assert (early.options, late.options) == (None, 1)
    for cut in (1, 2, 3):
        frame = late.encode()[:-cut]
        short = HEADER.pack(len(frame) - 12, Subscribe.TYPE, 0, 1) + frame[12:]
        with pytest.raises(ProtocolError, match="SUBSCRIBE ends inside its field options"):
            Decoder([Subscribe]).feed(short)


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.integers(0, 31)
)
def test_any_two_versions_and_sets_of_features_come_to_terms(
    low: int, high: int, wanted: int, offered: int
) -> None:
    """The last and this version, on either side: terms that both know, or a clear refusal."""
    raw = HEADER.pack(24, Hello.TYPE, 0, 0)
    raw += Hello.FIXED.pack(MAGIC, low, high, 0, 0, wanted) + bytes(4)
    raw = HEADER.pack(len(raw) - 12, Hello.TYPE, 0, 0) + raw[12:]
    server = ServerProtocol(Limits(4096, 8))
    if not 1 <= low <= high:
        with pytest.raises(ProtocolError, match="which is not a range"):
            server.receive(raw)

        return

    server.receive(raw)
    if server.version() is None:
        assert high < VERSION_MIN or low > VERSION_MAX
        assert server.refuse(45, "EOPNOTSUPP", "no common version")
        return

    version, features = Welcome.FIXED.unpack_from(server.accept("memhub", offered), 12)[::2][:2]
    assert max(low, VERSION_MIN) <= version <= min(high, VERSION_MAX)
    assert features == wanted & offered == server.features


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (HEADER.pack(8, 0x7777, 0, 1), "unknown-frame"),
        (HEADER.pack(4097, Ping.TYPE, 0, 1), "too-long"),
        (HEADER.pack(8, Ping.TYPE, 1, 1), "malformed"),
        (HEADER.pack(7, Ping.TYPE, 0, 1) + bytes(7), "malformed"),
        (HEADER.pack(8, Ping.TYPE, 0, 0), "bad-request-id"),
        (Ping(1, 1).encode() * 2, "bad-request-id"),
        (ClientProtocol().hello(), "out-of-order"),
        (Goodbye(0, 0, "").encode() + Ping(1, 1).encode(), "out-of-order"),
        (b"".join(Ping(n, 1).encode() for n in range(1, 10)), "too-many"),
        (HEADER.pack(0, 0x40, 1, 5), "bad-stream"),
    ],
)
def test_an_abort_begins_with_a_word_for_the_rule(frames: bytes, code: str) -> None:
    server = greeted(0)
    with pytest.raises(ProtocolError) as caught:
        server.receive(frames)

    frame = server.abort(caught.value)
    abort = Abort.decode(frame, HEADER_SIZE, len(frame), 0, 0)
    assert abort.reason == f"{code}: {caught.value.reason}"
