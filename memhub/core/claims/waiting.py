"""Who waits for what: a fair queue and its wait-for graph.

A ticket is a request that was refused with EBUSY and asked to wait. Tickets are served first
come first served: one is tried again only while no earlier ticket overlaps its bytes. A process
waits for the holders of the claims that refused it, and for those whose tickets stand before
its own; a circle of such waits would never end, so the ticket that closes it fails EDEADLK.
Commits in flight are no part of the graph: they end by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from memhub.core.claims.overlap import OverlapIndex
from memhub.core.requests import Outcome, Principal
from memhub.errors import DeviceError, Obstacle, RangeBusy, StaleClaim, WouldDeadlock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memhub.core.machine import OpenFile
    from memhub.core.ranges.commits import Instant


@dataclass(slots=True, eq=False)
class Ticket:
    """One request in the queue.

    Attributes:
        file: the handle that waits.
        op: `set`, `claim` or `wait`.
        base: first byte of what is wanted.
        end: one past the last.
        attempt: tries the request once; an Outcome with RangeBusy means that it waits on.
        record: what the log is to say of the request once it has an outcome.
        since: wall-clock seconds when it began to wait.
        deadline: monotonic seconds at which it gives up, or None.
        blockers: ids of the processes it waits for.
        refusal: what the last attempt was told.
        outcome: what came of it, once something has.
        wake: called when `outcome` is set.
    """

    file: OpenFile
    op: str
    base: int
    end: int
    attempt: Callable[[], Outcome]
    record: Callable[[Outcome, Instant], dict[str, Any]]
    since: float
    deadline: float | None = None
    blockers: frozenset[int] = frozenset()
    refusal: RangeBusy | None = None
    outcome: Outcome | None = None
    wake: Callable[[], None] = field(default=lambda: None)

    @property
    def process(self) -> Principal:
        """Who waits."""
        return self.file.process

    def obstacle(self) -> Obstacle:
        """This ticket as what stands in a later one's way."""
        return Obstacle(
            kind="wait",
            base=self.base,
            length=self.end - self.base,
            process=self.process.name,
            process_id=self.process.id,
            pid=self.process.pid,
            since=self.since,
        )


class WaitQueue:
    """The tickets of one machine, in the order in which they came."""

    def __init__(self) -> None:
        self.tickets: list[Ticket] = []

    def __len__(self) -> int:
        return len(self.tickets)

    def enqueue(self, ticket: Ticket, refusal: RangeBusy) -> None:
        """Let a ticket wait.

        Args:
            ticket: the request.
            refusal: why it was refused just now.

        Raises:
            WouldDeadlock: EDEADLK; the wait would close a circle. The queue is unchanged.
        """
        ahead = self._ahead(ticket, self._index(self.tickets))
        ticket.refusal = refusal
        ticket.blockers = _blockers(ticket, refusal, ahead)
        self.tickets.append(ticket)
        circle = self._circle(ticket)
        if circle:
            self.tickets.pop()
            raise deadlock(ticket, circle)

    def must_queue(self, base: int, end: int) -> list[Ticket]:
        """The tickets that a new waiting request for these bytes must stand behind."""
        return [ticket for ticket in self.tickets if ticket.base < end and base < ticket.end]

    def discard(self, ticket: Ticket) -> None:
        """Take a ticket out, if it is in."""
        if ticket in self.tickets:
            self.tickets.remove(ticket)

    def try_next(self) -> tuple[Ticket, Outcome] | None:
        """Try the tickets in turn until one is done, and take that one out.

        Returns:
            the ticket with its outcome, which has taken effect; None when all wait on.
        """
        ahead = OverlapIndex()
        for number, ticket in enumerate(self.tickets):
            before = self._ahead(ticket, ahead)
            refusal = None
            if not before:
                outcome = ticket.attempt()
                refusal = ticket.refusal = passing(outcome.error)
                if refusal is None:
                    del self.tickets[number]
                    return ticket, outcome

            ticket.blockers = _blockers(ticket, refusal, before)
            ahead.add(ticket.base, ticket.end, number)

        return self._break_circle()

    def _break_circle(self) -> tuple[Ticket, Outcome] | None:
        # A claim can change hands while others wait, so a circle can close without a new wait.
        if not _has_circle(self._waits()):
            return None

        for ticket in reversed(self.tickets):
            circle = self._circle(ticket)
            if circle:
                self.tickets.remove(ticket)
                # Those before it may wait for its own process, and nothing else hold it up.
                alone = ticket.attempt()
                if passing(alone.error) is None:
                    return ticket, alone

                return ticket, Outcome(error=deadlock(ticket, circle))

        return None

    def _waits(self) -> dict[int, set[int]]:
        waits: dict[int, set[int]] = {}
        for ticket in self.tickets:
            waits.setdefault(ticket.process.id, set()).update(ticket.blockers)

        return waits

    def _index(self, tickets: list[Ticket]) -> OverlapIndex:
        index = OverlapIndex()
        for number, ticket in enumerate(tickets):
            index.add(ticket.base, ticket.end, number)

        return index

    def _ahead(self, ticket: Ticket, index: OverlapIndex) -> list[Ticket]:
        rows = sorted(number for _, _, number in index.overlapping(ticket.base, ticket.end))

        return [self.tickets[number] for number in rows]

    def edges(self) -> Iterator[tuple[Principal, int]]:
        """The wait-for graph: who waits, and the id of a process waited for."""
        for ticket in self.tickets:
            for blocker in sorted(ticket.blockers):
                yield ticket.process, blocker

    def _circle(self, ticket: Ticket) -> list[int]:
        """The processes on a way from this ticket back to its own process, or nothing."""
        waits = self._waits()
        goal = ticket.process.id
        came_from = dict.fromkeys(sorted(ticket.blockers), goal)
        frontier = list(came_from)
        while frontier:
            at = frontier.pop()
            for blocker in sorted(waits.get(at, ())):
                if blocker == goal:
                    return _way(at, came_from, goal)

                if blocker not in came_from:
                    came_from[blocker] = at
                    frontier.append(blocker)

        return []


def _has_circle(waits: dict[int, set[int]]) -> bool:
    """Whether a way leads back to where it began: take away whoever waits for nobody that waits."""
    waiters: dict[int, list[int]] = {}
    for process, blockers in waits.items():
        for blocker in blockers:
            waiters.setdefault(blocker, []).append(process)

    left = {process: len(blockers & waits.keys()) for process, blockers in waits.items()}
    free = [process for process, count in left.items() if not count]
    for process in free:
        for waiter in waiters.get(process, ()):
            left[waiter] -= 1
            if not left[waiter]:
                free.append(waiter)

    return len(free) < len(left)


def _way(last: int, came_from: dict[int, int], goal: int) -> list[int]:
    way = [last]
    while came_from[way[-1]] != goal:
        way.append(came_from[way[-1]])

    return way[::-1]


def _blockers(ticket: Ticket, refusal: DeviceError | None, ahead: list[Ticket]) -> frozenset[int]:
    found = {other.process.id for other in ahead}
    if refusal is not None:
        found |= {
            it.process_id
            for it in refusal.obstacles
            if it.kind == "claim" and it.process_id is not None
        }

    return frozenset(found - {ticket.process.id})


def passing(error: DeviceError | None) -> RangeBusy | None:
    """The error, if it is one that may pass by waiting; a claim that is lost stays lost."""
    if isinstance(error, RangeBusy) and not isinstance(error, StaleClaim):
        return error

    return None


def deadlock(ticket: Ticket, circle: list[int]) -> WouldDeadlock:
    """The EDEADLK of a ticket whose wait goes round through `circle` (process ids)."""
    way = ", which waits for ".join([*(f"process {number}" for number in circle), "you"])

    return WouldDeadlock(
        f"waiting for {ticket.base:#x}-{ticket.end - 1:#x} would never end: you wait for {way}"
    )
