"""Conversations of servers, good and bad, as bytes for `hostile.c`."""

from __future__ import annotations

import json
import struct
import subprocess
from typing import TYPE_CHECKING, NamedTuple

from memhub.service import wire
from service.c_client.c_rig import ENVIRON

if TYPE_CHECKING:
    from pathlib import Path

ALL = 31
BODY = 65536
CALLS = 20


class Case(NamedTuple):
    """What a server sends before the client greets, and once 20 requests are on their way."""

    first: bytes
    second: bytes
    descriptors: int = 1


class Outcome(NamedTuple):
    """What became of it: the code of the end, and the calls."""

    code: int
    succeeded: int
    failed: int
    events: int
    reason: str


def framed(kind: int, request: int, body: bytes, flags: int = 0) -> bytes:
    return struct.pack("<IHHI", len(body), kind, flags, request) + body


WELCOME = wire.Welcome(0, 1, 0, ALL, BODY, 64, 256, 0, "hostile").encode()
OPENED = wire.Opened(1, 1, 1, 0, "amd64", "pc").encode()

DESC = struct.pack("<QQI8s4x", 0xD0000000, 0x100000, 2, b"rig")
EVENT = json.dumps({"event": "claim.take", "fence": "7"}).encode()

#: An answer to each request of `start_all` in hostile.c, in its order.
SECOND = [
    OPENED,
    b"".join(
        it for piece in (b"a" * 400, b"b" * 300) for it in [wire.Data(2, False, piece).encode()]
    )
    + wire.Data(2, True, b"").encode(),
    wire.Data(3, True, bytes(1000)).encode(),
    framed(0x82, 4, struct.pack("<IQii", 16, 0, 8, 0)),
    framed(0x82, 5, struct.pack("<IQii", 16, 1, 3, 0) + DESC * 3),
    framed(
        0x85,
        6,
        struct.pack("<QHHHH", 7, 2, 1, 1, 1)
        + (struct.pack("<I", 1) + DESC * 2) * 2
        + struct.pack("<IIIQQ", 1, 2, 3, 4, 5),
    ),
    wire.Claimed(7, 0, 7, 0, 4096).encode(),
    wire.Claimed(8, 0, 7, 0, 4096).encode(),
    wire.Done(9, 0).encode(),
    wire.Done(10, 0).encode(),
    wire.Done(11, 1).encode(),
    wire.Data(12, True, b'{"address":"4096"}').encode(),
    wire.Data(13, False, b"[" * 5000).encode() + wire.Data(13, True, b"]" * 5000).encode(),
    framed(0x84, 14, struct.pack("<IQQQII", 1, 0, 0x1000, 0, 4, 0)),
    wire.Done(15, 3).encode(),
    wire.Opened(16, 2, 2, 0, "i386", "old").encode(),
    wire.Done(17, 2**64 - 1).encode(),
    wire.Done(18, 99).encode(),
    wire.Done(19, 0).encode(),
    wire.Done(20, 300_000).encode(),
    wire.Event(0, 3, 0, 1, 0, 4096, "claim.take", EVENT).encode(),
]
REFUSAL = wire.Error(2, 16, 0, "EBUSY", "RangeBusy", "busy", b"[]").encode()


def run(programs: Path, cases: list[Case]) -> list[Outcome]:
    """Each case in a connection of its own, in one process."""
    done = subprocess.run(
        [programs / "hostile"],
        input=b"".join(
            struct.pack("<III", len(it.first), len(it.second), it.descriptors)
            + it.first
            + it.second
            for it in cases
        ),
        capture_output=True,
        check=False,
        env=ENVIRON,
        timeout=600,
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")
    found = []
    for line in done.stdout.decode().splitlines():
        *numbers, reason = line.split(" ", 4)
        code, succeeded, failed, events = map(int, numbers)
        found.append(Outcome(code, succeeded, failed, events, reason))

    assert len(found) == len(cases)

    return found


def good(**changes: bytes) -> Case:
    """A conversation without a fault, with some answers replaced: `a5` is that to request 5."""
    answers = [changes.get(f"a{number}", it) for number, it in enumerate(SECOND, 1)]

    return Case(WELCOME, b"".join(answers))


FAULTS: dict[str, Case] = {
    # the connection
    "length over the limit": good(a9=struct.pack("<IHHI", BODY + 1, 0x80, 0, 9)),
    "length of 4 GiB": good(a9=struct.pack("<IHHI", 0xFFFFFFFF, 0x80, 0, 9)),
    "unknown type": good(a9=framed(0x99, 9, bytes(8))),
    "a request": good(a9=framed(0x2D, 9, bytes(8))),
    "HELLO": good(a9=framed(1, 0, bytes(28))),
    "WELCOME twice": good(a9=WELCOME),
    "REFUSED too late": good(a9=wire.Refused(0, 13, "EACCES", "no").encode()),
    "flags": good(a9=framed(0x80, 9, bytes(8), flags=2)),
    "LAST on DONE": good(a9=framed(0x80, 9, bytes(8), flags=1)),
    "id on EVENT": good(a9=framed(6, 9, bytes(40))),
    "id 0": good(a9=framed(0x80, 0, bytes(8))),
    "id not in flight": good(a9=framed(0x80, 999, bytes(8))),
    "answered twice": good(a9=SECOND[8] * 2),
    "short DONE": good(a9=framed(0x80, 9, bytes(7))),
    "text past the end": good(a9=framed(0xFF, 9, bytes(12) + b"\xff\xff")),
    "another answer": good(a9=wire.Claimed(9, 0, 7, 0, 4096).encode()),
    "ERROR with code 0": good(a9=framed(0xFF, 9, bytes(18))),
    "ERROR with code 2^31": good(a9=framed(0xFF, 9, b"\0\0\0\x80" + bytes(14))),
    # reads and writes
    "more than count": good(a3=wire.Data(3, True, bytes(1001)).encode()),
    "more in two pieces": good(a3=wire.Data(3, False, bytes(999)).encode() * 2),
    "empty piece": good(a3=framed(0x40, 3, b"")),
    "written more than sent": good(a20=wire.Done(20, 300_001).encode()),
    "moved more than sent": good(a20=wire.Error(20, 5, 300_001, "EIO", "", "", b"").encode()),
    # the ioctls
    "a slot too many": good(a5=framed(0x82, 5, struct.pack("<IQii", 16, 1, 4, 0) + DESC * 4)),
    "a stated slot too many": good(
        a5=framed(0x82, 5, struct.pack("<IQii", 16, 1, 3, 0) + DESC * 2)
    ),
    "half a slot": good(a5=framed(0x82, 5, struct.pack("<IQii", 16, 1, 1, 0) + DESC[:20])),
    "slots for NULL": good(a4=framed(0x82, 4, struct.pack("<IQii", 16, 1, 1, 0) + DESC)),
    "slots below 0": good(a4=framed(0x82, 4, struct.pack("<IQii", 16, 0, -1, 0))),
    "op_size past the end": good(a4=framed(0x82, 4, struct.pack("<IQii", 17, 0, 1, 0))),
    "op of ILP32": good(a4=framed(0x82, 4, struct.pack("<IIii", 12, 0, 1, 0))),
    "outcome too short": good(a6=framed(0x85, 6, struct.pack("<QHHHH", 7, 1, 0, 0, 0))),
    "outcome of 65534 slots": good(
        a6=framed(0x85, 6, struct.pack("<QHHHH", 7, 65534, 65535, 65535, 65535) + bytes(60_000))
    ),
    # the rest
    "PING's cookie": good(a18=wire.Done(18, 98).encode()),
    "model 0": good(a16=framed(0x81, 16, struct.pack("<IHHHH", 1, 0, 0, 0, 0))),
    "subscription above 2^32": good(a15=wire.Done(15, 1 << 32).encode()),
    "event of no subscription": good(a21=wire.Event(0, 4, 0, 1, 0, 0, "x", b"").encode()),
    "no descriptor": good()._replace(descriptors=0),
    "half a row": good(a14=framed(0x84, 14, bytes(4 + 31))),
    "row without bytes": good(a14=framed(0x84, 14, bytes(4 + 32))),
    "row that wraps": good(a14=framed(0x84, 14, struct.pack("<IQQQII", 1, 9, 2**64 - 1, 0, 4, 0))),
    "row past the file": good(
        a14=framed(0x84, 14, struct.pack("<IQQQII", 1, 0, 4096, 2**62, 0, 0))
    ),
    # before the requests
    "version 2": Case(framed(3, 0, struct.pack("<HHIIIIIH", 2, 0, 0, BODY, 1, 1, 0, 0)), b""),
    "none in flight": Case(framed(3, 0, struct.pack("<HHIIIIIH", 1, 0, 0, BODY, 0, 1, 0, 0)), b""),
    "tiny bodies": Case(framed(3, 0, struct.pack("<HHIIIIIH", 1, 0, 0, 4095, 1, 1, 0, 0)), b""),
    "an answer first": Case(OPENED, b""),
    "long greeting": Case(struct.pack("<IHHI", 200_000, 3, 0, 0), b""),
    "garbage": Case(b"HTTP/1.1 400 Bad Request\r\n\r\n", b""),
}
