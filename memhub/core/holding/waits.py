"""Who waits for what, as data: the queue of one machine, and its wait-for graph.

A wait is a request that was refused with EBUSY and asked to wait. Waits are served first come
first served: one is tried again only while no earlier wait overlaps its bytes. A process waits
for the holders of the claims that refused it, and for those whose waits stand before its own; a
circle of such waits would never end, so the wait that closes it fails EDEADLK. Commits in flight
are not part of the graph: they end by themselves. `wait_order.py` keeps who stands behind whom.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from memhub.core.claims import NAMED_MAX
from memhub.core.holding.due_times import DueTimes
from memhub.core.holding.overlap import OverlapIndex
from memhub.core.holding.wait_graph import WaitGraph
from memhub.core.holding.wait_order import WaitOrder
from memhub.core.instant import NEVER
from memhub.core.requests import SetRange
from memhub.errors import DeviceError, Obstacle, RangeBusy, StaleClaim, WouldDeadlock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.core.files import Caller
    from memhub.core.instant import Instant
    from memhub.core.requests import AwaitFree, ClaimRange


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

    def touches(self, obstacle: Obstacle | None) -> bool:
        """Whether an obstacle lies on bytes that are wanted, so that its end is a change there."""
        if obstacle is None or obstacle.base is None or obstacle.kind == "commit":
            return False

        return obstacle.base < self.end and self.base < obstacle.base + (obstacle.length or 0)


@dataclass(slots=True)
class WaitQueue:
    """The waits of one machine, in the order in which they came.

    A wait is *in front* while no earlier one overlaps its bytes. A change of the machine makes
    only those in front of it *stale*, and only stale waits are tried: so a change costs nothing
    for waits of other bytes, nor for those behind.

    Attributes:
        waits: by number; `iter` gives them oldest first.
        last: the highest number given out.
        refusals: what each wait was told last; a wait behind others keeps its earlier answer.
        first_deadline: monotonic nanoseconds before which no wait gives up.
        graph: which process waits for which.
    """

    waits: dict[int, Wait] = field(default_factory=dict)
    last: int = 0
    refusals: dict[int, RangeBusy] = field(default_factory=dict, compare=False, repr=False)
    first_deadline: int = field(default=NEVER, compare=False)
    graph: WaitGraph = field(default_factory=WaitGraph, compare=False, repr=False)
    _order: WaitOrder = field(init=False, compare=False, repr=False)
    _unsorted: bool = field(default=False, compare=False, repr=False)
    _front: OverlapIndex = field(default_factory=OverlapIndex, compare=False, repr=False)
    _holders: dict[int, frozenset[int]] = field(default_factory=dict, compare=False, repr=False)
    _wide: set[int] = field(default_factory=set, compare=False, repr=False)
    _stale: set[int] = field(default_factory=set, compare=False, repr=False)
    _turns: list[int] = field(default_factory=list, compare=False, repr=False)
    _deadlines: DueTimes = field(default_factory=DueTimes, compare=False, repr=False)
    _by_process: dict[int, dict[int, Wait]] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        self._order = WaitOrder(self.graph)

    def __len__(self) -> int:
        return len(self.waits)

    def __bool__(self) -> bool:
        return bool(self.waits)

    def __iter__(self) -> Iterator[Wait]:
        if self._unsorted:
            self.waits = dict(sorted(self.waits.items()))
            self._unsorted = False

        return iter(self.waits.values())

    # Changing

    def add(self, wait: Wait, refusal: RangeBusy | None = None) -> None:
        """Take a wait in that has been refused; one that was taken out comes back to its place.

        A new one closes no circle of the graph (`decide_waiting`).
        """
        number, process = wait.number, wait.caller.process.id
        self.waits[number] = wait
        self._by_process.setdefault(process, {})[number] = wait
        new = number > self.last
        self._unsorted |= not new
        self.last = max(self.last, number)
        for other in self._order.add(number, wait.base, wait.end, process, new=new):
            passed = self.waits[other]
            self._front.discard(passed.base, passed.end, other)

        if self._order.in_front(number):
            self._front.add(wait.base, wait.end, number)

        self._make_stale(number)
        if wait.deadline_ns is not None:
            self._deadlines.put(number, wait.deadline_ns)
            self.first_deadline = min(self.first_deadline, wait.deadline_ns)

        if refusal is not None:
            self.note_trial(wait, refusal)

    def remove(self, number: int) -> None:
        """Take a wait out."""
        wait = self.waits.pop(number)
        process = wait.caller.process.id
        mine = self._by_process[process]
        del mine[number]
        if not mine:
            del self._by_process[process]

        self._note_holders(wait, frozenset())
        self._holders.pop(number, None)
        if self._order.in_front(number):
            self._front.discard(wait.base, wait.end, number)

        for other in self._order.remove(number):
            first = self.waits[other]
            self._front.add(first.base, first.end, other)
            self._make_stale(other)

        self.refusals.pop(number, None)
        self._wide.discard(number)
        self._stale.discard(number)
        self._deadlines.discard(number)

    def note_trial(self, wait: Wait, refusal: RangeBusy) -> None:
        """Note why a wait goes on."""
        number = wait.number
        self.refusals[number] = refusal
        holders = holders_of(wait.caller.process.id, refusal)
        self._note_holders(wait, holders, checked=number not in self._holders)
        self._stale.discard(number)
        if wait.base < wait.end and all(wait.touches(it) for it in refusal.obstacles or (None,)):
            self._wide.discard(number)
        else:
            self._wide.add(number)

    def _note_holders(self, wait: Wait, holders: frozenset[int], *, checked: bool = False) -> None:
        process = wait.caller.process.id
        before = self._holders.get(wait.number, frozenset())
        self._holders[wait.number] = holders
        for gone in before - holders:
            self.graph.drop(process, gone)

        for new in holders - before:
            self.graph.add(process, new, checked=checked)

    def _make_stale(self, number: int) -> None:
        if number not in self._stale:
            self._stale.add(number)
            heappush(self._turns, number)

    def touch(self, lo: int, hi: int) -> None:
        """Claims or commits on `[lo, hi)` have changed: those in front there are to be tried."""
        for _, _, number in self._front.overlapping(lo, hi):
            self._make_stale(number)

    def touch_sets(self, lo: int = 0, hi: int = 1 << 65) -> None:
        """Slots on `[lo, hi)` have changed: MEMRANGE_SETs in front there are to be tried."""
        for _, _, number in self._front.overlapping(lo, hi):
            if isinstance(self.waits[number].request, SetRange):
                self._make_stale(number)

    def touch_process(self, process: int) -> None:
        """What a process holds has changed: its waits are to be tried again."""
        for number in self._by_process.get(process, ()):
            self._make_stale(number)

    def touch_wide(self) -> None:
        """Try those again whose refusal names something beside their own bytes, or nothing."""
        for number in self._wide:
            self._make_stale(number)

    def recount_deadlines(self) -> int:
        """Find the first deadline anew; `first_deadline` is only a lower bound until then."""
        self.first_deadline = self._deadlines.first()

        return self.first_deadline

    # Looking

    def queue_error(self, base: int, end: int) -> RangeBusy | None:
        """The EBUSY of a waiting request for these bytes behind others; it names the first."""
        count = self._order.count(base, end)
        if not count:
            return None

        named = [self.waits[number] for number in self._order.first(base, end, NAMED_MAX)]
        names = ", ".join(wait.caller.process.name for wait in named)
        more = f" and {count - NAMED_MAX} more" if count > NAMED_MAX else ""

        return RangeBusy(
            f"{names}{more} came first", obstacles=tuple(it.obstacle() for it in named)
        )

    def find_circle(self, process: int, base: int, end: int, refusal: RangeBusy) -> list[int]:
        """The circle that a new wait of a process for these bytes would close, or nothing."""
        last = self._order.last_processes(base, end) - {process}

        return self.graph.find_circle(process, last | holders_of(process, refusal))

    def overdue(self, mono_ns: int) -> list[Wait]:
        """The waits whose time is up, oldest first."""
        if mono_ns < self.first_deadline:
            return []

        return [self.waits[number] for number in self._deadlines.passed(mono_ns)]

    def of_file(self, caller: Caller) -> list[Wait]:
        """The waits of one open file, oldest first."""
        mine = self._by_process.get(caller.process.id, {})

        return [wait for _, wait in sorted(mine.items()) if wait.caller.handle == caller.handle]

    def in_turn(self) -> Iterator[Wait]:
        """Each stale wait in front, oldest first, until it is tried or taken out."""
        turns = self._turns
        while turns:
            number = turns[0]
            if number in self._stale and self._order.in_front(number):
                yield self.waits[number]
            else:
                self._stale.discard(number)

            if number not in self._stale:
                heappop(turns)

    def edges(self, wait: Wait) -> Iterator[tuple[int, int]]:
        """What a wait adds to the wait-for graph: pairs of process ids."""
        for blocker in sorted(self.blockers(wait)):
            yield wait.caller.process.id, blocker

    def blockers(self, wait: Wait) -> frozenset[int]:
        """Ids of the processes that a wait waits for, by its last trial and those before it."""
        number, base, end, process = wait.number, wait.base, wait.end, wait.caller.process.id
        before = {
            it.caller.process.id
            for it in self.waits.values()
            if it.number < number and it.base < end and base < it.end
        }

        return self._holders.get(number, frozenset()) | (before - {process})


def holders_of(process: int, refusal: DeviceError) -> frozenset[int]:
    """The ids of the other processes whose claims refused a request of `process`."""
    return frozenset(
        it.process_id
        for it in refusal.obstacles
        if it.kind == "claim" and it.process_id is not None and it.process_id != process
    )


def passing_refusal(error: DeviceError | None) -> RangeBusy | None:
    """The error, if it is one that may pass by waiting; a claim that is lost stays lost."""
    if isinstance(error, RangeBusy) and not isinstance(error, StaleClaim):
        return error

    return None


def deadlock_error(base: int, end: int, circle: list[int]) -> WouldDeadlock:
    """The EDEADLK of a wait that would go round through `circle` (process ids)."""
    way = ", which waits for ".join([*(f"process {number}" for number in circle), "you"])

    return WouldDeadlock(f"waiting for {base:#x}-{end - 1:#x} would never end: you wait for {way}")
