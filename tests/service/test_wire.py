"""Frames: every message survives the trip, and nothing malformed gets through as anything else."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memhub import errors
from memhub.abi import Errno
from memhub.service.wire import (
    Data,
    Decoder,
    Error,
    Ioctl,
    LocalProtocolError,
    Map,
    Mapped,
    Message,
    Open,
    Ping,
    Pread,
    ProtocolError,
    Pwrite,
    Seek,
    Write,
    error_from_wire,
    error_to_wire,
)
from memhub.service.wire.layout import HEADER
from memhub.service.wire.replies import MAP_ROW
from service.wire_strategies import ALL, any_message, of


def decoder(max_body: int = 4096) -> Decoder:
    return Decoder(ALL, max_body)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.NAME)
def test_every_message_survives_the_trip(kind: type[Message]) -> None:
    """What is encoded is decoded as the same message, which is encoded as the same bytes."""

    @settings(max_examples=30, deadline=None)
    @given(of(kind))
    def trip(message: Message) -> None:
        frame = message.encode()
        assert frame == b"".join(message.buffers())
        (back,) = decoder().feed(frame)
        assert message == back
        assert type(back) is kind
        assert frame == back.encode()

    trip()


@settings(max_examples=60, deadline=None)
@given(st.lists(any_message, min_size=1, max_size=3))
def test_a_stream_cut_anywhere_gives_the_same_messages(messages: list[Message]) -> None:
    """Split at every byte boundary, and fed byte by byte, the messages are the same."""
    stream = b"".join(message.encode() for message in messages)
    for at in range(len(stream) + 1):
        cut = decoder()
        assert messages == cut.feed(stream[:at]) + cut.feed(memoryview(stream)[at:])
        assert cut.pending == 0

    drip = decoder()
    assert messages == [m for byte in stream for m in drip.feed(bytes([byte]))]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 1 << 18), max_size=30), st.integers(0, 12))
def test_a_large_frame_in_pieces_is_the_same_message(sizes: list[int], before: int) -> None:
    """With frames before and behind it, the small pieces and the large come to the same."""
    body = bytes(range(251)) * 3000
    messages = [Ping(1, 7), Data(2, True, body), Pwrite(3, 4, 5, len(body), body), Ping(4, 8)]
    stream = b"".join(message.encode() for message in messages)
    target = decoder(1 << 20)
    found, at = target.feed(stream[:before]), before
    for size in sizes:
        found += target.feed(stream[at : at + size])
        at += size

    assert target.pending <= len(stream)
    assert messages == found + target.feed(stream[at:])
    assert target.pending == 0


def test_a_large_frame_keeps_a_small_multiple_of_what_has_come() -> None:
    """What a header announces is not set aside before a part of it is there."""
    frame = Data(1, True, bytes(16 << 20)).encode()
    target = decoder(32 << 20)
    tracemalloc.start()
    try:
        target.feed(frame[: 1 << 20])
        assert tracemalloc.get_traced_memory()[0] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_large_body_that_breaks_a_rule_comes_after_what_was_before_it() -> None:
    """The decoder reads nothing more, as after a small one."""
    bad = HEADER.pack(1 << 18, Open.TYPE, 0, 1) + b"\xff" * (1 << 18)
    target = decoder(1 << 20)
    assert target.feed(Ping(1, 7).encode() + bad[: 1 << 17]) == [Ping(1, 7)]
    with pytest.raises(ProtocolError):
        target.feed(bad[1 << 17 :])

    with pytest.raises(ProtocolError, match="nothing more is read"):
        target.feed(b"")


def swallow(stream: bytes, sizes: list[int]) -> tuple[list[Message], str | None]:
    """What a decoder makes of a stream in pieces: messages, and the rule that it broke."""
    target, messages, at = decoder(), [], 0
    for size in [*sizes, len(stream)]:
        try:
            messages += target.feed(stream[at : at + size])
        except ProtocolError as error:
            with pytest.raises(ProtocolError, match="nothing more is read after an error"):
                target.feed(b"")
            return messages + error.messages, error.reason
        at += size

    return messages, None


@settings(max_examples=300, deadline=None)
@given(
    st.lists(any_message, max_size=4),
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 7)), max_size=6),
    st.binary(max_size=30),
    st.lists(st.integers(0, 50), max_size=8),
    st.integers(0, 400),
)
def test_a_spoilt_stream_gives_messages_or_protocol_errors(
    messages: list[Message],
    flips: list[tuple[int, int]],
    tail: bytes,
    sizes: list[int],
    keep: int,
) -> None:
    """Bit flips, truncation and garbage never raise anything else, however they are cut."""
    stream = bytearray(b"".join(m.encode() for m in messages)[:keep] + tail)
    for at, bit in flips:
        if stream:
            stream[at % len(stream)] ^= 1 << bit

    found, reason = swallow(bytes(stream), sizes)
    assert (found, reason) == swallow(bytes(stream), [1] * len(stream))
    accepted = b"".join(m.encode() for m in found)
    assert accepted == bytes(stream[: len(accepted)])


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(ALL), st.binary(max_size=80), st.integers(0, 1))
def test_a_random_body_under_a_good_header_is_judged(
    kind: type[Message], body: bytes, flags: int
) -> None:
    """A decoder takes exactly the bodies that some message encodes to."""
    frame = HEADER.pack(len(body), kind.TYPE, flags, int(kind.TYPE >= 0x10)) + body
    try:
        (message,) = decoder().feed(frame)
    except ProtocolError:
        return

    assert frame == message.encode()


@pytest.mark.parametrize(
    ("header", "rule"),
    [
        (HEADER.pack(4097, Ping.TYPE, 0, 1), "over the limit of 4096"),
        (HEADER.pack(8, 0x7777, 0, 1), "type 0x7777 is not a frame"),
        (HEADER.pack(8, Ping.TYPE, 1, 1), "flags 0x1 are not defined"),
        (HEADER.pack(8, Data.TYPE, 2, 1), "flags 0x2 are not defined"),
        (HEADER.pack(8, Ping.TYPE, 0, 0), "request id 0 on a frame of type 0x2d"),
        (HEADER.pack(4, 0x02, 0, 9), "request id 9 on a frame of the connection"),
        (HEADER.pack(7, Ping.TYPE, 0, 1) + bytes(7), "PING"),
        (HEADER.pack(40, Ioctl.TYPE, 0, 1) + bytes(24) + b"\xff" * 16, "fewer than its op_size"),
        (HEADER.pack(8, Open.TYPE, 0, 1) + b"\1\0\0\0\2\0\xff\xfe", "not valid utf-8"),
        (HEADER.pack(8, Open.TYPE, 0, 1) + b"\1\0\0\0\3\0ab", "ends inside its field path"),
        (HEADER.pack(8, Open.TYPE, 0, 1) + b"\1\0\0\0\1\0ab", "1 bytes after its last field"),
    ],
)
def test_each_rule_is_named_by_its_refusal(header: bytes, rule: str) -> None:
    """A header is judged before its body arrives, and the reason names the rule."""
    with pytest.raises(ProtocolError, match=rule) as caught:
        decoder().feed(Ping(3, 1).encode() + header)
    assert [Ping(3, 1)] == caught.value.messages


def test_an_oversize_body_is_never_kept() -> None:
    """The decoder refuses at the header, and keeps nothing of what follows."""
    target = decoder(4096)
    with pytest.raises(ProtocolError, match="body of 4294967295 bytes"):
        target.feed(HEADER.pack(0xFFFFFFFF, Data.TYPE, 0, 1) + bytes(10_000))
    assert target.pending == 0


@pytest.mark.parametrize(
    "message",
    [
        Open(1, 8, 0, "/dev/mem"),
        Open(1, 1, 3, "/dev/mem"),
        Open(1, 1, 0, "x" * 70_000),
        Open(1, 1, 0, "\ud800"),
        Seek(1, 1, 5, 0),
        Pread(1, 1, -1, 8),
        Pread(1, 1, 0, 1 << 64),
        Ioctl(1, 1 << 32, 0, b""),
        Write(1, 1, 2, b"abc"),
        Mapped(1, 1, bytes(33)),
        Mapped(1, 4, MAP_ROW.pack(0, 4096, 0, 6, 0)),
        Map(1, 1, 0),
        Map(1, 1, 5),
        Map(1, 1, 7),
    ],
    ids=repr,
)
def test_a_message_that_breaks_a_rule_is_not_sent(message: Message) -> None:
    """Encoding refuses what decoding would."""
    with pytest.raises(LocalProtocolError, match=f"{message.NAME} cannot be sent"):
        message.encode()


#: Those that a service can answer: kvm(3) makes its own of what comes back.
LEAVES = [it for it in errors.DeviceError.__subclasses__() if it.__module__ == errors.__name__]


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_every_error_arrives_as_itself(leaf: type[errors.DeviceError]) -> None:
    """Class, code, reason, obstacles and the moved count all cross the wire."""
    obstacle = errors.Obstacle(
        kind="claim", slot=3, base=1 << 63, length=4096, type="write-back",
        owner="xörg", process="p1", process_id=2, pid=7, since=1.5,
    )  # fmt: skip
    sent = leaf("slot 3 is claimed", obstacles=(obstacle, errors.Obstacle(kind="slot")), moved=9)
    (frame,) = decoder().feed(error_to_wire(5, sent).encode())
    assert isinstance(frame, Error)
    back = error_from_wire(frame)
    assert type(back) is leaf
    assert sent.__reduce__() == back.__reduce__()


def test_an_error_with_another_code_keeps_it() -> None:
    """arm64 may answer ENODEV for NotSupported."""
    sent = errors.NotSupported("no range operations", code=Errno.ENODEV)
    assert Errno.ENODEV is error_from_wire(error_to_wire(1, sent)).code


def test_an_error_of_a_newer_server_is_still_an_error() -> None:
    """An unknown kind or errno becomes the plain DeviceError."""
    back = error_from_wire(Error(1, 999, 0, "ENEW", "Newer", "why", b""))
    assert (errors.DeviceError, Errno.EIO, "ENEW (999): why") == (
        type(back),
        back.code,
        back.reason,
    )


def test_obstacles_that_do_not_fit_are_left_out() -> None:
    """A long list is cut so that the frame keeps to the limit."""
    many = tuple(errors.Obstacle(kind="slot", slot=n, owner="x" * 50) for n in range(500))
    frame = error_to_wire(1, errors.NoSpace("é" * 3000, obstacles=many), max_body=4096)
    (back,) = decoder(4096).feed(frame.encode())
    assert back == frame
    few = error_from_wire(error_to_wire(1, errors.NoSpace("full", obstacles=many)))
    assert 10 < len(few.obstacles) < 100
    assert few.obstacles == many[: len(few.obstacles)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["kind", "slot", "pid", "since", "new"]), inner, max_size=3
    ),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40) | json_values.map(lambda value: json.dumps(value).encode()))
def test_malformed_obstacles_are_a_protocol_error(obstacles: bytes) -> None:
    """Whatever stands in the obstacles, the client gets an error of the two kinds."""
    try:
        back = error_from_wire(Error(1, 16, 0, "EBUSY", "RangeBusy", "busy", obstacles))
    except ProtocolError:
        return

    assert type(back) is errors.RangeBusy


def test_deep_json_is_a_protocol_error() -> None:
    """Nesting cannot exhaust the stack."""
    with pytest.raises(ProtocolError, match="not json"):
        error_from_wire(Error(1, 16, 0, "EBUSY", "RangeBusy", "busy", b"[" * 200_000))


def test_the_protocol_imports_next_to_nothing() -> None:
    """Beyond the package's own face, a one-shot client pays for struct alone."""
    script = (
        f"import sys; sys.path[:0] = {sys.path!r}; import memhub; before = set(sys.modules); "
        "import memhub.service.wire; print(*sorted(set(sys.modules) - before))"
    )
    loaded = subprocess.check_output([sys.executable, "-I", "-S", "-c", script], text=True).split()
    foreign = [name for name in loaded if not name.startswith("memhub.service")]
    assert set(foreign) <= {"__future__", "_struct", "struct"}
