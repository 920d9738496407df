"""Who waits for what, as data: the queue of one machine, and its wait-for graph.

A wait is a request that was refused with EBUSY and asked to wait. Waits are served first come
first served: one is tried again only while no earlier wait overlaps its bytes. A process waits
for the holders of the claims that refused it, and for those whose waits stand before its own; a
circle of such waits would never end, so the wait that closes it fails EDEADLK. Commits in flight
are not part of the graph: they end by themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from memhub.core.instant import NEVER
from memhub.core.overlap import OverlapIndex
from memhub.errors import DeviceError, Obstacle, RangeBusy, StaleClaim, WouldDeadlock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from memhub.core.files import Caller, Principal
    from memhub.core.instant import Instant
    from memhub.core.requests import AwaitFree, ClaimRange, SetRange


@dataclass(frozen=True, slots=True)
class Wait:
    """One request in the queue.

    Attributes:
        number: unique on its machine; it orders the queue.
        caller: who waits.
        request: what is asked.
        base: first byte of what is wanted.
        end: one past the last.
        since: when it began to wait.
        deadline_ns: when it gives up, monotonic nanoseconds, or None.
    """

    number: int
    caller: Caller
    request: SetRange | ClaimRange | AwaitFree
    base: int
    end: int
    since: Instant
    deadline_ns: int | None

    def obstacle(self) -> Obstacle:
        """This wait as what stands in a later one's way."""
        process = self.caller.process

        return Obstacle(
            kind="wait",
            base=self.base,
            length=self.end - self.base,
            process=process.name,
            process_id=process.id,
            pid=process.pid,
            since=self.since.wall_ns / 1e9,
        )


@dataclass(slots=True)
class WaitQueue:
    """The waits of one machine, in the order in which they came.

    Attributes:
        waits: by number, oldest first.
        last: the highest number given out.
        refusals: what each wait was told last; a wait behind others keeps its earlier answer.
        blockers: ids of the processes that each wait waited for when it was last tried.
        first_deadline: monotonic nanoseconds before which no wait gives up.
    """

    waits: dict[int, Wait] = field(default_factory=dict)
    last: int = 0
    refusals: dict[int, RangeBusy] = field(default_factory=dict, compare=False, repr=False)
    blockers: dict[int, frozenset[int]] = field(default_factory=dict, compare=False, repr=False)
    first_deadline: int = field(default=NEVER, compare=False)

    def __len__(self) -> int:
        return len(self.waits)

    def __bool__(self) -> bool:
        return bool(self.waits)

    def __iter__(self) -> Iterator[Wait]:
        return iter(self.waits.values())

    # Changing

    def add(self, wait: Wait) -> None:
        """Take a wait in; one that was taken out comes back to its place."""
        back = wait.number <= self.last
        self.waits[wait.number] = wait
        if back:
            self.waits = dict(sorted(self.waits.items()))

        self.last = max(self.last, wait.number)
        if wait.deadline_ns is not None:
            self.first_deadline = min(self.first_deadline, wait.deadline_ns)

    def remove(self, number: int) -> None:
        """Take a wait out."""
        del self.waits[number]
        self.refusals.pop(number, None)
        self.blockers.pop(number, None)

    def note_trial(self, wait: Wait, refusal: RangeBusy | None, ahead: Iterable[Wait]) -> None:
        """Note why a wait goes on: it was refused, or others stand before it."""
        if refusal is not None:
            self.refusals[wait.number] = refusal

        self.blockers[wait.number] = blockers_of(wait.caller.process.id, refusal, ahead)

    def recount_deadlines(self) -> int:
        """Find the first deadline anew; `first_deadline` is only a lower bound until then."""
        self.first_deadline = min(
            (w.deadline_ns for w in self if w.deadline_ns is not None), default=NEVER
        )

        return self.first_deadline

    # Looking

    def overlapping(self, base: int, end: int) -> list[Wait]:
        """The waits that a new waiting request for these bytes must stand behind."""
        return [wait for wait in self if wait.base < end and base < wait.end]

    def overdue(self, mono_ns: int) -> list[Wait]:
        """The waits whose time is up."""
        if mono_ns < self.first_deadline:
            return []

        return [w for w in self if w.deadline_ns is not None and w.deadline_ns <= mono_ns]

    def in_turn(self) -> Iterator[tuple[Wait, list[Wait]]]:
        """Each wait with the earlier ones that overlap it.

        The caller may take out the wait that it was given last.
        """
        ahead = OverlapIndex()
        for wait in list(self):
            rows = sorted(number for _, _, number in ahead.overlapping(wait.base, wait.end))
            yield wait, [self.waits[number] for number in rows]
            ahead.add(wait.base, wait.end, wait.number)

    def edges(self) -> Iterator[tuple[Principal, int]]:
        """The wait-for graph: who waits, and the id of a process waited for."""
        for wait in self:
            for blocker in sorted(self.blockers.get(wait.number, ())):
                yield wait.caller.process, blocker

    def has_circle(self) -> bool:
        """Whether some way of the wait-for graph leads back to where it began."""
        return _has_circle(self._graph())

    def find_circle(self, process: int, blockers: frozenset[int]) -> list[int]:
        """The processes on a way from some blockers of `process` back to it, or nothing."""
        waits = self._graph()
        came_from = dict.fromkeys(sorted(blockers), process)
        frontier = list(came_from)
        while frontier:
            at = frontier.pop()
            for blocker in sorted(waits.get(at, ())):
                if blocker == process:
                    return _way_back(at, came_from, process)

                if blocker not in came_from:
                    came_from[blocker] = at
                    frontier.append(blocker)

        return []

    def _graph(self) -> dict[int, set[int]]:
        waits: dict[int, set[int]] = {}
        for wait in self:
            found = self.blockers.get(wait.number, frozenset())
            waits.setdefault(wait.caller.process.id, set()).update(found)

        return waits


def blockers_of(process: int, refusal: DeviceError | None, ahead: Iterable[Wait]) -> frozenset[int]:
    """The ids of the processes that a refused request of `process` waits for."""
    found = {other.caller.process.id for other in ahead}
    if refusal is not None:
        found |= {
            it.process_id
            for it in refusal.obstacles
            if it.kind == "claim" and it.process_id is not None
        }

    return frozenset(found - {process})


def passing_refusal(error: DeviceError | None) -> RangeBusy | None:
    """The error, if it is one that may pass by waiting; a claim that is lost stays lost."""
    if isinstance(error, RangeBusy) and not isinstance(error, StaleClaim):
        return error

    return None


def queue_error(ahead: list[Wait]) -> RangeBusy:
    """The EBUSY of a waiting request that others stand before."""
    names = ", ".join(wait.caller.process.name for wait in ahead)

    return RangeBusy(f"{names} came first", obstacles=tuple(wait.obstacle() for wait in ahead))


def deadlock_error(base: int, end: int, circle: list[int]) -> WouldDeadlock:
    """The EDEADLK of a wait that would go round through `circle` (process ids)."""
    way = ", which waits for ".join([*(f"process {number}" for number in circle), "you"])

    return WouldDeadlock(f"waiting for {base:#x}-{end - 1:#x} would never end: you wait for {way}")


def _has_circle(waits: dict[int, set[int]]) -> bool:
    """Whether a circle is left when whoever waits for nobody that waits is taken away."""
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


def _way_back(last: int, came_from: dict[int, int], goal: int) -> list[int]:
    way = [last]
    while came_from[way[-1]] != goal:
        way.append(came_from[way[-1]])

    return way[::-1]
