"""Whatever a server sends, the client in C neither crashes nor touches memory that is not its own.

It runs under the address and undefined-behaviour sanitizers where the compiler has them. Each case
ends with all calls done, no memory lost and no descriptor left open; `hostile.c` checks that.
"""

from __future__ import annotations

import json
import random
import struct
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from memhub.service import wire
from memhub.service.wire import greeting, replies, transfer
from service.c_client.c_rig import ENVIRON

pytestmark = pytest.mark.campaign

ALL = 31
BODY = 65536
CALLS = 19


class Case(NamedTuple):
    """What a server sends before the client greets, and once 19 requests are on their way."""

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


WELCOME = greeting.Welcome(0, 1, 0, ALL, BODY, 64, 256, 0, "hostile").encode()
OPENED = replies.Opened(1, 1, 1, 0, "amd64", "pc").encode()
FIRST = [WELCOME, OPENED]

DESC = struct.pack("<QQI8s4x", 0xD0000000, 0x100000, 2, b"rig")
EVENT = json.dumps({"event": "claim.take", "fence": "7"}).encode()

#: An answer to each request of `start_all` in hostile.c, in its order.
SECOND = [
    b"".join(
        it for piece in (b"a" * 400, b"b" * 300) for it in [transfer.Data(2, False, piece).encode()]
    )
    + transfer.Data(2, True, b"").encode(),
    transfer.Data(3, True, bytes(1000)).encode(),
    framed(0x82, 4, struct.pack("<IQii", 16, 0, 8, 0)),
    framed(0x82, 5, struct.pack("<IQii", 16, 1, 3, 0) + DESC * 3),
    framed(
        0x85,
        6,
        struct.pack("<QHHHH", 7, 2, 1, 1, 1)
        + (struct.pack("<I", 1) + DESC * 2) * 2
        + struct.pack("<IIIQQ", 1, 2, 3, 4, 5),
    ),
    replies.Claimed(7, 0, 7, 0, 4096).encode(),
    replies.Claimed(8, 0, 7, 0, 4096).encode(),
    replies.Done(9, 0).encode(),
    replies.Done(10, 0).encode(),
    replies.Done(11, 1).encode(),
    transfer.Data(12, True, b'{"address":"4096"}').encode(),
    transfer.Data(13, False, b"[" * 5000).encode() + transfer.Data(13, True, b"]" * 5000).encode(),
    framed(0x84, 14, struct.pack("<IQQQII", 1, 0, 0x1000, 0, 4, 0)),
    replies.Done(15, 3).encode(),
    replies.Opened(16, 2, 2, 0, "i386", "old").encode(),
    replies.Done(17, 2**64 - 1).encode(),
    replies.Done(18, 99).encode(),
    replies.Done(19, 0).encode(),
    replies.Done(20, 300_000).encode(),
    greeting.Event(0, 3, 0, 1, 0, 4096, "claim.take", EVENT).encode(),
]
REFUSAL = replies.Error(2, 16, 0, "EBUSY", "RangeBusy", "busy", b"[]").encode()


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
        found.append(Outcome(*map(int, numbers), reason))  # type: ignore[arg-type]

    assert len(found) == len(cases)

    return found


def good(**changes: bytes) -> Case:
    """A conversation without a fault, with some answers replaced: `a5` is that to request 5."""
    answers = [changes.get(f"a{number}", it) for number, it in enumerate(SECOND, 2)]

    return Case(b"".join(FIRST), b"".join(answers))


def test_a_good_conversation_succeeds(programs: Path) -> None:
    (outcome,) = run(programs, [good()])

    assert outcome == (54, CALLS, 0, 1, "the service closed the connection")


def test_what_is_cut_anywhere_fails(programs: Path) -> None:
    first, second, _ = good()
    cases = [Case(first[:at], b"") for at in range(len(first))]
    cases += [Case(first, second[:at]) for at in range(1, len(second), 7)]
    for case, outcome in zip(cases, run(programs, cases), strict=True):
        assert outcome.code == 54, (case, outcome)
        assert outcome.succeeded + outcome.failed == (CALLS if case.second else 0)


FAULTS: dict[str, Case] = {
    # the connection
    "length over the limit": good(a9=struct.pack("<IHHI", BODY + 1, 0x80, 0, 9)),
    "length of 4 GiB": good(a9=struct.pack("<IHHI", 0xFFFFFFFF, 0x80, 0, 9)),
    "unknown type": good(a9=framed(0x99, 9, bytes(8))),
    "a request": good(a9=framed(0x2D, 9, bytes(8))),
    "HELLO": good(a9=framed(1, 0, bytes(28))),
    "WELCOME twice": good(a9=WELCOME),
    "REFUSED too late": good(a9=greeting.Refused(0, 13, "EACCES", "no").encode()),
    "flags": good(a9=framed(0x80, 9, bytes(8), flags=2)),
    "LAST on DONE": good(a9=framed(0x80, 9, bytes(8), flags=1)),
    "id on EVENT": good(a9=framed(6, 9, bytes(40))),
    "id 0": good(a9=framed(0x80, 0, bytes(8))),
    "id not in flight": good(a9=framed(0x80, 999, bytes(8))),
    "answered twice": good(a9=SECOND[7] * 2),
    "short DONE": good(a9=framed(0x80, 9, bytes(7))),
    "text past the end": good(a9=framed(0xFF, 9, bytes(12) + b"\xff\xff")),
    "another answer": good(a9=replies.Claimed(9, 0, 7, 0, 4096).encode()),
    "ERROR with code 0": good(a9=framed(0xFF, 9, bytes(18))),
    "ERROR with code 2^31": good(a9=framed(0xFF, 9, b"\0\0\0\x80" + bytes(14))),
    # reads and writes
    "more than count": good(a3=transfer.Data(3, True, bytes(1001)).encode()),
    "more in two pieces": good(a3=transfer.Data(3, False, bytes(999)).encode() * 2),
    "empty piece": good(a3=framed(0x40, 3, b"")),
    "written more than sent": good(a20=replies.Done(20, 300_001).encode()),
    "moved more than sent": good(a20=replies.Error(20, 5, 300_001, "EIO", "", "", b"").encode()),
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
    "PING's cookie": good(a18=replies.Done(18, 98).encode()),
    "model 0": good(a16=framed(0x81, 16, struct.pack("<IHHHH", 1, 0, 0, 0, 0))),
    "subscription above 2^32": good(a15=replies.Done(15, 1 << 32).encode()),
    "event of no subscription": good(a21=greeting.Event(0, 4, 0, 1, 0, 0, "x", b"").encode()),
    "no descriptor": good()._replace(descriptors=0),
    "half a row": good(a14=framed(0x84, 14, bytes(4 + 31))),
    "row without bytes": good(a14=framed(0x84, 14, bytes(4 + 32))),
    "row that wraps": good(a14=framed(0x84, 14, struct.pack("<IQQQII", 1, 9, 2**64 - 1, 0, 4, 0))),
    "row past the file": good(
        a14=framed(0x84, 14, struct.pack("<IQQQII", 1, 0, 4096, 2**62, 0, 0))
    ),
    # before the requests
    "version 2": Case(greeting.Welcome(0, 2, 0, 0, BODY, 64, 256, 0, "").encode(), b""),
    "none in flight": Case(greeting.Welcome(0, 1, 0, 0, BODY, 0, 256, 0, "").encode(), b""),
    "tiny bodies": Case(framed(3, 0, struct.pack("<HHIIIIIH", 1, 0, 0, 4095, 1, 1, 0, 0)), b""),
    "an answer first": Case(OPENED, b""),
    "long greeting": Case(struct.pack("<IHHI", 200_000, 3, 0, 0), b""),
    "garbage": Case(b"HTTP/1.1 400 Bad Request\r\n\r\n", b""),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_breach_ends_the_connection(programs: Path, name: str) -> None:
    (outcome,) = run(programs, [FAULTS[name]])

    assert outcome.code == 92, outcome
    assert outcome.reason.partition(":")[0] in wire_words(), outcome


def wire_words() -> set[str]:
    """The words that an ABORT may begin with, as the page has them."""
    page = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text()
    table = page.partition("| word | rule that was broken |")[2].partition("\n\n")[0]

    return {line.split("`")[1] for line in table.splitlines() if "`" in line}


def test_what_the_service_says_at_the_end_is_told(programs: Path) -> None:
    abort = greeting.Abort(0, "malformed: the client is at fault").encode()
    refused = greeting.Refused(0, 35, "EAGAIN", "too many").encode()
    goodbye = greeting.Goodbye(0, 5000, "the service stops").encode()
    cases = [
        good(a9=abort),
        Case(abort, b""),
        Case(refused, b""),
        Case(goodbye, b""),
        Case(b"", b""),
        good(a21=goodbye),
        good(a2=REFUSAL),
        good(a21=b""),
    ]
    told = run(programs, cases)

    assert [(it.code, it.reason) for it in told] == [
        (92, "the service ended the connection: malformed: the client is at fault"),
        (92, "the service ended the connection: malformed: the client is at fault"),
        (35, "too many"),
        (85, "the service stops"),
        (54, "the service closed before it answered HELLO"),
        (54, "the service ended: the service stops"),
        (54, "the service closed the connection"),
        (54, "the service closed the connection"),
    ]
    assert [it.succeeded for it in told] == [7, 0, 0, 0, 0, CALLS, CALLS - 1, CALLS]
    assert wire.Welcome is greeting.Welcome


def test_answers_that_have_grown_are_taken(programs: Path) -> None:
    """Behind the last field of an answer, and behind an event's nothing can be: it ends in a rest."""
    more = [framed(0x80, number, bytes(8) + b"later") for number in (9, 10, 11)]
    grown = FIRST[0][:4] + FIRST[0][4:]
    welcome = framed(3, 0, grown[12:] + b"more")
    case = good(a9=more[0], a10=more[1], a11=more[2])
    (outcome,) = run(programs, [case._replace(first=welcome + OPENED)])

    assert outcome.succeeded == CALLS


def test_descriptors_that_nobody_asked_for_are_closed(programs: Path) -> None:
    """`hostile.c` fails if one is left open."""
    outcomes = run(programs, [good()._replace(descriptors=count) for count in (2, 16, 17, 60)])

    assert [it.succeeded for it in outcomes] == [CALLS] * 4


def mutated(chance: random.Random, case: Case) -> Case:
    """A conversation with some bytes changed, dropped, repeated or moved."""
    pieces = [bytearray(case.first), bytearray(case.second)]
    for _ in range(chance.randrange(1, 6)):
        piece = pieces[chance.random() < 0.8]
        at = chance.randrange(len(piece))
        to = min(len(piece), at + chance.randrange(1, 40))
        match chance.randrange(5):
            case 0:
                piece[at] = chance.randrange(256)
            case 1:
                piece[at] ^= 1 << chance.randrange(8)
            case 2:
                del piece[at:to]
            case 3:
                piece[at:at] = piece[at:to]
            case _:
                piece[at:to] = chance.choice((b"\xff", b"\0", b"\x7f", b"\x80")) * (to - at)

        if not piece:
            piece.append(0)

    return Case(bytes(pieces[0]), bytes(pieces[1]), chance.randrange(3))


def test_random_conversations(programs: Path) -> None:
    """Mutations of a good conversation, whole frames in another order, and random frames."""
    chance = random.Random(15)
    cases = [mutated(chance, good()) for _ in range(6000)]
    for _ in range(1000):
        answers = chance.sample(SECOND, len(SECOND))
        cases.append(Case(b"".join(FIRST), b"".join(answers), chance.randrange(3)))

    types = (0x40, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0xFF, 6, 2, 5)
    for _ in range(2000):
        frames = [
            framed(
                chance.choice(types),
                chance.randrange(22),
                chance.randbytes(chance.choice((0, 4, 8, 18, 28, 36, 52, 90))),
                chance.randrange(2),
            )
            for _ in range(4)
        ]
        cases.append(Case(b"".join(FIRST), b"".join(frames), chance.randrange(3)))

    outcomes = run(programs, cases)
    assert {it.code for it in outcomes} >= {54, 92}
    assert len({it.reason for it in outcomes}) > 50


def test_json_is_read_within_its_bounds(programs: Path) -> None:
    chance = random.Random(15)
    text = r'{"b": [{"a": 1}, "}"], "a": "\u00e9\ud83d\ude00\n\"x", "n": 18446744073709551615}'
    texts = [text[:at] for at in range(len(text))]
    for _ in range(5000):
        raw = bytearray(text.encode())
        for _ in range(chance.randrange(1, 4)):
            raw[chance.randrange(len(raw))] = ord(chance.choice('{}[]",:\\u0a9-e.'))

        texts.append(raw.decode())

    outcomes = subprocess.run(
        [programs / "hostile"],
        input=b"".join(struct.pack("<III", len(it), 0, 1000) + it.encode() for it in texts),
        capture_output=True,
        check=False,
        env=ENVIRON,
        timeout=60,
    )
    assert (outcomes.returncode, outcomes.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("text", "number", "string"),
    [
        ('{"a":7}', 7, None),
        ('{"a":"7"}', 7, "7"),
        (' { "x" : [1, {"a": 3}], "a" : 18446744073709551615 } ', 2**64 - 1, None),
        ('{"a":18446744073709551616}', None, None),
        ('{"a":1.5}', None, None),
        ('{"a":-1}', None, None),
        ('{"a":1e3}', None, None),
        ('{"a":""}', None, ""),
        ('{"a":null}', None, None),
        (r'{"a":"\u00e9\ud83d\ude00\\\/\t"}', None, "é😀\\/\t"),
        (r'{"a":"\ud83d"}', None, None),
        (r'{"a":"\u0000"}', None, None),
        ('{"b":{"a":1}}', None, None),
        ('["a",1]', None, None),
        ("", None, None),
    ],
)
def test_members_of_json(programs: Path, text: str, number: int | None, string: str | None) -> None:
    raw = text.encode()
    done = subprocess.run(
        [programs / "hostile"],
        input=struct.pack("<III", len(raw), 0, 1000) + raw,
        capture_output=True,
        text=False,
        check=True,
        env=ENVIRON,
        timeout=60,
    )
    _, is_number, value, is_string, digits = done.stdout.decode().rstrip("\n").split(" ")

    assert (int(value) if is_number == "1" else None) == number
    assert (bytes.fromhex(digits).decode() if is_string == "1" else None) == string
