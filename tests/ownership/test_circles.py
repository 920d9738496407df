"""No wake-up is lost and no circle of waits stands, whatever is claimed, awaited and released."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memhub.core.files import Principal
from memhub.core.requests import ClaimRange, Open, ReleaseRange
from memhub.engine.lifecycle import close_file, open_file
from memhub.engine.pending import Pending
from memhub.errors import DeviceError
from ownership.rig import PAGE, Bench, spec

PROCESSES = 4
PAGES = 6

Move = tuple[int, int, int, int]


@dataclass
class Table:
    """Claims of pages and the queue, as sets and lists of this test's own."""

    bench: Bench
    files: dict[int, int] = field(default_factory=dict)
    held: dict[int, set[int]] = field(default_factory=dict)
    queue: list[tuple[int, set[int], Pending[Any]]] = field(default_factory=list)
    deadlocks: int = 0

    def file(self, process: int) -> int:
        if process not in self.files:
            who = Principal(process, f"p{process}")
            self.files[process] = open_file(self.bench.hub.engine, Open(who, "/dev/mem"))

        return self.files[process]

    def claim(self, process: int, pages: set[int], *, wait: bool) -> None:
        lo, size = min(pages) * PAGE, len(pages) * PAGE
        limit = math.inf if wait else None
        circle = self.would_close(process, pages)
        try:
            request = ClaimRange(self.file(process), lo, size, None, limit)
            done = self.bench.hub.engine.submit(request)
        except DeviceError as error:
            self._refused(error.code.name, wait=wait, circle=circle)
            return

        if isinstance(done, Pending):
            assert not circle, "a wait that closes a circle"
            self.queue.append((process, pages, done))
        else:
            self.held.setdefault(process, set()).update(pages)

    def _refused(self, errno: str, *, wait: bool, circle: bool) -> None:
        assert errno == ("EDEADLK" if wait else "EBUSY")
        if wait:
            assert circle, "EDEADLK without a circle"
            self.deadlocks += 1

    def collect(self) -> None:
        """Take in what the queue's tickets came to."""
        for row in list(self.queue):
            process, pages, pending = row
            if pending.done:
                self.queue.remove(row)
                try:
                    pending.result()
                    self.held.setdefault(process, set()).update(pages)
                except DeviceError as error:
                    self.deadlocks += error.code.name == "EDEADLK"

    def blockers(self, process: int, pages: set[int], ahead: int) -> set[int]:
        """Whom a wait is known to wait for: those before it in the queue, else the holders.

        What holds up a request behind the queue is looked at when its turn comes.
        """
        found = {p for p, wanted, _ in self.queue[:ahead] if wanted & pages}
        if not found:
            found = {p for p, held in self.held.items() if held & pages}

        return found - {process}

    def may_go_on(self, process: int, pages: set[int], ahead: int) -> bool:
        """Whether nothing holds up a wait: no page is another's, and nobody stands before it."""
        held = any(held & pages for p, held in self.held.items() if p != process)

        return not held and not any(wanted & pages for _, wanted, _ in self.queue[:ahead])

    def would_close(self, process: int, pages: set[int]) -> bool:
        edges = self.edges()
        edges.setdefault(process, set()).update(self.blockers(process, pages, len(self.queue)))

        return reaches(edges, process)

    def edges(self) -> dict[int, set[int]]:
        found: dict[int, set[int]] = {}
        for at, (process, pages, _) in enumerate(self.queue):
            found.setdefault(process, set()).update(self.blockers(process, pages, at))

        return found

    def check(self) -> None:
        real: dict[int, set[int]] = {}
        for claim in self.bench.machine.claims.claims.values():
            span = range(claim.base // PAGE, claim.end // PAGE)
            real.setdefault(claim.process.id, set()).update(span)

        assert real == {process: held for process, held in self.held.items() if held}
        assert list(self.bench.machine.waits) == [pending.stage for _, _, pending in self.queue]
        for at, (process, pages, _) in enumerate(self.queue):
            assert not self.may_go_on(process, pages, at), "a wake-up was lost"

        edges = self.edges()
        assert not any(reaches(edges, process) for process in edges), "a circle stands"


def reaches(edges: dict[int, set[int]], goal: int) -> bool:
    """Whether a way leads from a process back to itself."""
    seen: set[int] = set()
    frontier = list(edges.get(goal, ()))
    while frontier:
        at = frontier.pop()
        if at == goal:
            return True

        if at not in seen:
            seen.add(at)
            frontier += edges.get(at, ())

    return False


def play(moves: list[Move]) -> int:
    """Make the moves, checking after each; how often a circle was refused or broken."""
    bench = Bench(spec("amd64"))
    bench._news.close()
    table = Table(bench)
    for kind, process, first, size in moves:
        pages = set(range(first, min(PAGES, first + size)))
        file = table.file(process)
        if kind < 6:
            # Whoever holds a page of it would hold two claims there; that is no matter here.
            if not table.held.get(process, set()) & pages:
                table.claim(process, pages, wait=kind < 4)
        elif kind == 6:
            close_file(bench.hub.engine, file)
            table.files.pop(process)
            table.held.pop(process, None)
        elif table.held.get(process):
            bench.hub.engine.submit(ReleaseRange(file, 0, PAGES * PAGE))
            table.held.pop(process)

        table.collect()
        table.check()

    return table.deadlocks


move = st.tuples(
    st.integers(0, 7), st.integers(1, PROCESSES), st.integers(0, PAGES - 1), st.integers(1, 3)
)


@settings(max_examples=150)
@given(moves=st.lists(move, max_size=30))
def test_no_wake_up_is_lost_and_no_circle_stands(moves: list[Move]) -> None:
    play(moves)


@pytest.mark.parametrize("seed", range(40))
def test_long_games_meet_circles(seed: int) -> None:
    rng = Random(seed)
    moves = [
        (rng.randrange(8), rng.randint(1, PROCESSES), rng.randrange(PAGES), rng.randint(1, 3))
        for _ in range(300)
    ]

    assert play(moves) > 0
