"""Concurrent calls come out as if they had been made one at a time."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from memhub.abi import MDF_UNCACHEABLE, MDF_WRITECOMBINE, MDF_WRITEPROTECT
from ownership.clients import SLOTS, history
from ownership.history import CANCELLED, EBUSY, ENOENT, OK, Call, linearizable

HISTORIES = 200

every_latency = pytest.mark.parametrize("latency", [False, True], ids=["at-once", "in-time"])


@every_latency
async def test_every_history_has_a_legal_order(*, latency: bool) -> None:
    """200 histories with and 200 without latency on each event loop."""
    answers: Counter[str] = Counter()
    for seed in range(HISTORIES):
        calls = await history(seed, latency=latency)
        assert linearizable(calls, SLOTS, latency=latency), (seed, calls)
        answers.update(str(call.answer) for call in calls if call.op != "get")

    assert min(answers[word] for word in (OK, EBUSY, ENOENT, CANCELLED)) > 50


@pytest.mark.campaign
@every_latency
async def test_every_longer_history_has_a_legal_order(*, latency: bool) -> None:
    for seed in range(10_000, 13_000):
        calls = await history(seed, latency=latency, clients=2 + seed % 3, length=3 + seed % 4)
        assert linearizable(calls, SLOTS, latency=latency), (seed, calls)


@every_latency
async def test_a_corrupted_history_has_none(*, latency: bool) -> None:
    """The last calls were made alone: any other answer to one of them is wrong."""
    for seed in range(40):
        calls = await history(seed, latency=latency)
        assert linearizable(calls, SLOTS, latency=latency)
        for name, wrong in corruptions(calls).items():
            assert not linearizable(wrong, SLOTS, latency=latency), (seed, name, wrong)


def corruptions(calls: list[Call]) -> dict[str, list[Call]]:
    """Histories that are this one but for one lie."""
    *_, look, put, seen, away, take, give, last = calls
    table = list(look.answer)
    held = [None if row is None else (row[0], row[1], True) for row in table]
    odd = [None if row is None else (row[0], MDF_WRITEPROTECT, row[2]) for row in table]
    lies = {
        "a set that was refused in peace": (put, EBUSY),
        "a set without room to refuse it": (put, "EINVAL"),
        "a cancelled set that shows": (seen, look.answer if look.answer != seen.answer else ()),
        "a remove that found nothing": (away, ENOENT),
        "a remove refused in peace": (away, EBUSY),
        "a claim refused in peace": (take, EBUSY),
        "a release of nothing": (give, ENOENT),
        "a table with a slot less": (last, last.answer[1:]),
        "a removed range still there": (last, seen.answer),
        "a busy slot of nobody": (look, tuple(held)) if any(held) else (look, ()),
        "a type that nobody set": (look, tuple(odd)) if any(odd) else (look, ()),
        "an old table": (seen, (None,) * SLOTS),
        "a cancelled look instead of one": (look, None),
    }
    found = {name: _with(calls, call, answer=lie) for name, (call, lie) in lies.items()}
    found["a call that is missing"] = [call for call in calls if call is not put]
    found["an effect twice"] = [*calls, replace(away, called=last.returned + 1, returned=1 << 30)]
    found["a look before what it saw"] = _moved(calls, seen, put)
    found["a set by another"] = _with(calls, put, process=10_000)

    return found


def _with(calls: list[Call], call: Call, **changes: object) -> list[Call]:
    return [replace(it, **changes) if it is call else it for it in calls]  # type: ignore[arg-type]


def _moved(calls: list[Call], late: Call, early: Call) -> list[Call]:
    """`late` called and returned wholly before `early`."""
    room = [replace(c, called=c.called * 4, returned=c.returned * 4) for c in calls]
    at = early.called * 4

    return [
        replace(moved, called=at - 2, returned=at - 1) if call is late else moved
        for call, moved in zip(calls, room, strict=True)
    ]


def call(
    process: int, op: str, when: tuple[int, int], answer: object = OK, value: int | None = None
) -> Call:
    """A call on range 0."""
    if op == "set" and value is None:
        value = MDF_UNCACHEABLE

    target = None if op in ("get", "close") else 0

    return Call(process, op, target, value, False, *when, answer)


EMPTY = (None,)
MINE = ((0, MDF_UNCACHEABLE, False),)
YOURS = ((0, MDF_UNCACHEABLE, True),)

LEGAL = {
    "a look that overlaps a set may see it": [
        call(1, "set", (1, 4)),
        call(2, "get", (2, 3), YOURS),
    ],
    "or not yet": [call(1, "set", (1, 4)), call(2, "get", (2, 3), EMPTY)],
    "one of two sets wins": [call(1, "set", (1, 4)), call(2, "set", (2, 3), EBUSY)],
    "or the other": [call(1, "set", (1, 4), EBUSY), call(2, "set", (2, 3))],
    "a cancelled set may have happened": [
        call(1, "set", (1, 2), CANCELLED),
        call(2, "get", (3, 4), YOURS),
    ],
    "or not": [call(1, "set", (1, 2), CANCELLED), call(2, "get", (3, 4), EMPTY)],
    "a close frees": [call(1, "set", (1, 2)), call(1, "close", (3, 4)), call(2, "set", (5, 6))],
}
ILLEGAL = {
    "both of two sets": [call(1, "set", (1, 4)), call(2, "set", (2, 3))],
    "neither of two sets": [call(1, "set", (1, 4), EBUSY), call(2, "set", (2, 3), EBUSY)],
    "a look after a set that missed it": [call(1, "set", (1, 2)), call(2, "get", (3, 4), EMPTY)],
    "a look before a set that saw it": [call(2, "get", (1, 2), YOURS), call(1, "set", (3, 4))],
    "the owner sees his own slot busy": [call(1, "set", (1, 2)), call(1, "get", (3, 4), YOURS)],
    "another sees it free": [call(1, "set", (1, 2)), call(2, "get", (3, 4), MINE)],
    "two looks that went back in time": [
        call(1, "set", (1, 6)),
        call(2, "get", (2, 3), YOURS),
        call(3, "get", (4, 5), EMPTY),
    ],
    "a remove by a stranger": [call(1, "set", (1, 2)), call(2, "remove", (3, 4))],
    "a claim of what is held": [call(1, "set", (1, 2)), call(2, "claim", (3, 4))],
    "a release of what another holds": [call(1, "set", (1, 2)), call(2, "release", (3, 4))],
    "a claim that outlives its holder": [
        call(1, "claim", (1, 2)),
        call(1, "close", (3, 4)),
        call(2, "set", (5, 6), EBUSY),
    ],
    "a cancelled set seen and then not": [
        call(1, "set", (1, 2), CANCELLED),
        call(2, "get", (3, 4), YOURS),
        call(2, "get", (5, 6), EMPTY),
    ],
    "a remove that succeeded twice": [
        call(1, "set", (1, 2)),
        call(1, "remove", (3, 6)),
        call(1, "remove", (4, 5)),
    ],
    "a set that another's type came of": [
        call(1, "set", (1, 2), value=MDF_WRITECOMBINE),
        call(1, "get", (3, 4), MINE),
    ],
}


@pytest.mark.parametrize("name", LEGAL)
def test_the_checker_accepts(name: str) -> None:
    assert linearizable(LEGAL[name], 1, latency=False)


@pytest.mark.parametrize("name", ILLEGAL)
def test_the_checker_rejects(name: str) -> None:
    assert not linearizable(ILLEGAL[name], 1, latency=False)


def test_the_window_of_a_commit_is_legal_only_with_latency() -> None:
    """A refusal to its own process is one that only a commit in flight explains."""
    calls = [call(1, "set", (1, 4)), call(1, "set", (2, 3), EBUSY)]

    assert linearizable(calls, 1, latency=True)
    assert not linearizable(calls, 1, latency=False)
