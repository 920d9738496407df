"""The order of waits: what it says is what every pair would say, and it costs no pairs."""

from __future__ import annotations

import math
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memhub.core.files import Principal
from memhub.core.holding.wait_graph import WaitGraph
from memhub.core.holding.wait_order import WaitOrder
from memhub.core.piece_map import PieceMap
from memhub.core.requests import AwaitFree, ClaimRange, Open, ReleaseRange
from memhub.engine.lifecycle import close_file, open_file
from ownership.rig import PAGE, Bench, spec

if TYPE_CHECKING:
    from collections.abc import Callable

BYTES = 12
byte = st.integers(0, BYTES)
span = st.tuples(byte, byte).map(lambda ends: (min(ends), max(ends)))


@given(st.lists(st.tuples(span, st.integers(0, 3)), max_size=40), span)
def test_a_piece_map_against_a_list(puts: list[tuple[tuple[int, int], int]], at: Any) -> None:
    pieces, model = PieceMap(0), [0] * BYTES
    for (lo, hi), number in puts:
        if lo < hi:
            pieces.put(lo, hi, number)
            model[lo:hi] = [number] * (hi - lo)

    lo, hi = at
    found = pieces.pieces(lo, hi)
    assert [it for start, end, it in found for _ in range(start, end)] == model[lo:hi]
    whole = [it for _, _, it in pieces.pieces(0, BYTES)]
    assert all(one != other for one, other in pairwise(whole))


move = st.tuples(st.sampled_from("aaard"), span, st.integers(1, 4), st.integers(0, 99))


@given(st.lists(move, max_size=40), span)
def test_the_order_against_all_pairs(moves: list[Any], at: tuple[int, int]) -> None:
    graph = WaitGraph()
    order = WaitOrder(graph)
    waits, gone = dict[int, Any](), dict[int, Any]()
    for last, (kind, (lo, hi), process, which) in enumerate(moves, 1):
        before = fronts(waits)
        if kind == "a":
            waits[last] = (lo, hi, process)
            passed = order.add(last, lo, hi, process, new=True)
            assert passed == []
        elif kind == "r" and gone:
            number = [*gone][which % len(gone)]
            waits[number] = gone.pop(number)
            passed = order.add(number, *waits[number], new=False)
            assert set(passed) == before - fronts(waits)
        elif kind == "d" and waits:
            number = [*waits][which % len(waits)]
            gone[number] = waits.pop(number)
            assert set(order.remove(number)) == fronts(waits) - before

        assert {it for it in waits if order.in_front(it)} == fronts(waits)
        assert reached(graph._waits_for) == reached(all_edges(waits))

    lo, hi = at
    there = sorted(it for it, wait in waits.items() if overlap(wait, (lo, hi)))
    assert (order.count(lo, hi), order.first(lo, hi, 3)) == (len(there), there[:3])
    assert order.last_processes(lo, hi) == {
        waits[max(on)][2]
        for here in range(lo, hi)
        if (on := [it for it in waits if overlap(waits[it], (here, here + 1))])
    }


def overlap(one: Any, other: Any) -> bool:
    lo, hi = max(one[0], other[0]), min(one[1], other[1])
    return bool(lo < hi)


def ahead(waits: dict[int, Any], number: int) -> list[int]:
    return [it for it in waits if it < number and overlap(waits[it], waits[number])]


def fronts(waits: dict[int, Any]) -> set[int]:
    return {it for it in waits if not ahead(waits, it)}


def all_edges(waits: dict[int, Any]) -> dict[int, Any]:
    edges: dict[int, Any] = {}
    for number, (_, _, process) in waits.items():
        others = {waits[it][2] for it in ahead(waits, number)} - {process}
        edges.setdefault(process, set()).update(others)

    return edges


def reached(edges: dict[int, Any]) -> set[tuple[int, int]]:
    """From which process a way leads to which."""
    found = set[tuple[int, int]]()
    for begin in edges:
        left = [*edges[begin]]
        while left:
            at = left.pop()
            if (begin, at) not in found:
                found.add((begin, at))
                left += edges.get(at, ())

    return found


def calls(work: Callable[[], None]) -> int:
    """How many functions a piece of work calls."""
    counted = [0]

    def count(_frame: object, event: str, _arg: object) -> None:
        counted[0] += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)

    return counted[0]


def same(_at: int) -> tuple[int, int]:
    return PAGE, PAGE


def nested(at: int) -> tuple[int, int]:
    return PAGE, (at + 1) * PAGE


def stairs(at: int) -> tuple[int, int]:
    return at * PAGE, 2 * PAGE


def wide_and_narrow(at: int) -> tuple[int, int]:
    return (at // 2 * PAGE, PAGE) if at % 2 else (0, 1000 * PAGE)


class Crowd:
    """Waits for pages that one process holds, 16 of each process."""

    def __init__(self, count: int, spans: Callable[[int], tuple[int, int]]) -> None:
        bench = Bench(spec("amd64"))
        bench._news.close()
        self.engine = bench.hub.engine
        self.machine = bench.machine
        self.holder = self.open(0)
        self.engine.submit(ClaimRange(self.holder, 0, 1000 * PAGE, None, None))
        files = [self.open(1 + it) for it in range(count // 16)]
        self.asked = [AwaitFree(files[it // 16], *spans(it), math.inf) for it in range(count)]
        self.pending: list[Any] = []

    def open(self, process: int) -> int:
        return open_file(self.engine, Open(Principal(process + 1, f"p{process}"), "/dev/mem"))

    def begin(self) -> None:
        self.pending = [self.engine.submit(it) for it in self.asked]

    def release(self) -> None:
        self.engine.submit(ReleaseRange(self.holder, 0, 1000 * PAGE))
        assert [it.result() for it in self.pending] == [None] * len(self.asked)

    def abandon(self) -> None:
        for it in self.pending[::2] + self.pending[1::2]:
            self.engine.abandon(it)

        assert not self.machine.waits

    def close(self) -> None:
        for file in {it.handle for it in self.asked}:
            close_file(self.engine, file)

        assert not self.machine.waits


@pytest.mark.parametrize("spans", [same, stairs, wide_and_narrow])
@pytest.mark.parametrize("end", [Crowd.release, Crowd.close])
def test_twice_as_many_waits_cost_twice_as_much(
    end: Callable[[Crowd], None], spans: Callable[[int], tuple[int, int]]
) -> None:
    few, many = Crowd(160, spans), Crowd(320, spans)

    assert calls(many.begin) < 2.3 * calls(few.begin)
    assert calls(lambda: end(many)) < 2.3 * calls(lambda: end(few))


@pytest.mark.parametrize("spans", [same, nested, stairs])
def test_twice_as_many_abandoned_waits_cost_twice_as_much(
    spans: Callable[[int], tuple[int, int]],
) -> None:
    few, many = Crowd(160, spans), Crowd(320, spans)
    few.begin()
    many.begin()

    assert calls(many.abandon) < 2.3 * calls(few.abandon)
