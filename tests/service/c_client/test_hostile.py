"""Whatever a server sends, the client in C neither crashes nor touches memory that is not its own.

It runs under the address and undefined-behaviour sanitizers where the compiler has them. Each case
ends with all calls done, no memory lost and no descriptor left open; `hostile.c` checks that.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from memhub.service import wire
from service.c_client.hostile_cases import (
    CALLS,
    FAULTS,
    REFUSAL,
    SECOND,
    WELCOME,
    Case,
    framed,
    good,
    run,
)

pytestmark = pytest.mark.campaign


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
    abort = wire.Abort(0, "malformed: the client is at fault").encode()
    refused = wire.Refused(0, 35, "EAGAIN", "too many").encode()
    goodbye = wire.Goodbye(0, 5000, "the service stops").encode()
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
    assert [it.succeeded for it in told] == [8, 0, 0, 0, 0, CALLS, CALLS - 1, CALLS]


def test_answers_that_have_grown_are_taken(programs: Path) -> None:
    """A later service may add fields behind the last one, but not behind a `rest`."""
    longer = {f"a{number}": framed(0x80, number, bytes(8) + b"later") for number in (9, 10, 11)}
    welcome = framed(3, 0, WELCOME[12:] + b"later")
    (outcome,) = run(programs, [good(**longer)._replace(first=welcome)])

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
        cases.append(Case(WELCOME, b"".join(answers), chance.randrange(3)))

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
        cases.append(Case(WELCOME, b"".join(frames), chance.randrange(3)))

    outcomes = run(programs, cases)
    assert {it.code for it in outcomes} >= {54, 92}
    assert len({it.reason for it in outcomes}) > 50
