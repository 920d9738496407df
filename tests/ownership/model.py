"""Who holds what, by brute force: pages one by one, plain dictionaries, no index and no cache.

What a slot table accepts is asked of the architecture's own driver, which the recorded traces
prove. Whose a slot is, which pages a claim protects, what a commit forbids, who is served next
and what an undo may put back are worked out here from the rules in words, and from no code of
`memhub.core` beside the driver contract.

A process that waits here holds nothing and does nothing else, so no circle of waits can close;
circles have tests of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from memhub.abi import MDF_ACTIVE, MDF_BUSY, RangeDesc
from memhub.core.drivers.driver import Change, RangeDriver, RangeState
from memhub.errors import DeviceError
from ownership.asks import Ask, Flight, Held, Refused, Span, overlap

#: Seconds that a commit takes, where one takes time.
LATENCY = 3.0

#: The type of a page under a state.
TypeAt = Callable[[RangeState, int], str]


class Model:
    """One machine's ranges and their owners.

    Args:
        driver: the architecture's driver.
        state: the table at the start.
        type_at: the type of a page.
        universe: every page that a request may touch.
        latency: whether commits take time.
        by_length: whether a slot is in use by its length, and not by MDF_ACTIVE.
    """

    def __init__(
        self,
        driver: RangeDriver,
        state: RangeState,
        type_at: TypeAt,
        universe: Iterable[int],
        *,
        latency: bool,
        by_length: bool,
    ) -> None:
        self.driver = driver
        self.state = state
        self.type_at = type_at
        self.universe = tuple(universe)
        self.latency = latency
        self.by_length = by_length
        self.now = 0.0
        self.last_fence = 0
        self.handles: dict[int, tuple[int, bool]] = {}
        self.claims: dict[int, Held] = {}
        self.lost: dict[int, dict[int, Span]] = {}
        self.notes: dict[int, dict[int, RangeState]] = {}
        self.flights: list[Flight] = []
        self.queue: list[Ask] = []

    # Looking

    def busy(self, process: int, but: Flight | None = None) -> set[int]:
        """The slots that are BUSY to a process."""
        claimed = {s for c in self.claims.values() if c.process != process for s in c.slots}

        return claimed | {s for f in self.flights if f is not but for s in f.wrote}

    def held(self, process: int) -> list[Held]:
        return [claim for claim in self.claims.values() if claim.process == process]

    def idle(self, process: int) -> bool:
        """Whether a process holds nothing, waits for nothing and has nothing on its way."""
        return (
            not self.held(process)
            and all(ask.process != process for ask in self.queue)
            and all(flight.ask.process != process for flight in self.flights)
        )

    def protected(self, claim: Held) -> set[int]:
        spans = [*claim.slots.values(), *([claim.span] if claim.kind == "range" else [])]

        return {page for page in self.universe if any(lo <= page < hi for lo, hi in spans)}

    # Planning

    def plan(self, ask: Ask, but: Flight | None = None) -> Change:
        """What a SET would change."""
        busy = self.busy(ask.process, but)
        marked = [
            RangeDesc(d.mr_base, d.mr_len, d.mr_flags | MDF_BUSY, d.mr_owner) if n in busy else d
            for n, d in enumerate(self.state.slots)
        ]
        try:
            self.drive(self.state.with_slots(tuple(marked)), ask)
        except DeviceError as error:
            if error.code.name == "EBUSY":
                self._check_losses(ask)

            raise Refused(error.code.name, passing=error.code.name == "EBUSY") from error

        change = self.drive(self.state, ask)
        self._check_losses(ask)
        if busy & set(change.wrote):
            raise Refused("EBUSY", passing=True)

        self._check_pages(ask.process, change)
        self._check_flights(ask.process, change, but, ask)

        return change

    def _commutes(self, ask: Ask, change: Change, flight: Flight) -> bool:
        """Whether a request writes the same once a commit in flight has had its effect."""
        after = self.state.apply(self.drive(self.state, flight.ask))
        try:
            later = self.drive(after, ask)
        except DeviceError:
            return False

        now, then = self.state.apply(change).slots, after.apply(later).slots

        return later.wrote == change.wrote and all(now[s] == then[s] for s in change.wrote)

    def drive(self, state: RangeState, ask: Ask) -> Change:
        operation = self.driver.update if ask.op == "update" else self.driver.remove

        return operation(state, ask.desc)

    def _check_losses(self, ask: Ask) -> None:
        if ask.fence is not None:
            claim = self.claims.get(ask.fence)
            if claim is None or claim.process != ask.process:
                raise Refused("EBUSY")

        for fence, span in self.lost.get(ask.process, {}).items():
            if overlap(span, ask.span):
                del self.lost[ask.process][fence]
                raise Refused("EBUSY")

    def _check_pages(self, process: int, change: Change) -> None:
        after = self.state.apply(change)
        for claim in self.claims.values():
            if claim.process != process:
                for page in self.protected(claim):
                    if self.type_at(self.state, page) != self.type_at(after, page):
                        raise Refused("EBUSY", passing=True)

    def _check_flights(
        self, process: int, change: Change, but: Flight | None, ask: Ask | None = None
    ) -> None:
        after = self.state.apply(change)
        for flight in self.flights:
            if flight is but:
                continue

            foreign = flight.ask.process != process
            if but is None and foreign and overlap(self.reach(change), flight.span):
                raise Refused("EBUSY", passing=True)

            try:
                again = self.drive(after, flight.ask)
            except DeviceError:
                raise Refused("EBUSY", passing=True) from None

            rows = after.apply(again).slots
            if but is None and ask is not None and not self._commutes(ask, change, flight):
                raise Refused("EBUSY", passing=True)

            if (again.wrote, [rows[s] for s in again.wrote]) != (flight.wrote, [*flight.rows]):
                raise Refused("EBUSY", passing=True)

    def reach(self, change: Change) -> Span:
        """From the first to the last byte of every range that a change writes, old and new."""
        after = self.state.apply(change)
        spans = [
            (row.mr_base, row.mr_end)
            for slot in {*change.wrote, *change.slots}
            for row in (self.state.slots[slot], after.slots[slot])
            if self.counts(row)
        ]

        return (min(lo for lo, _ in spans), max(hi for _, hi in spans)) if spans else (0, 0)

    def counts(self, row: RangeDesc) -> bool:
        """Whether a row gives its bytes a type."""
        return bool(row.mr_len) and bool(row.mr_flags & MDF_ACTIVE or self.by_length)

    # Doing

    def attempt(self, ask: Ask) -> None:
        """One request, now: an effect, a start of a commit, or Refused."""
        if ask.op == "claim":
            self._claim(ask)
        elif ask.op == "free":
            self._check_free(ask)
        elif self.latency:
            change = self.plan(ask)
            rows = self.state.apply(change).slots
            kept = tuple(rows[slot] for slot in change.wrote)
            due = self.now + LATENCY
            self.flights.append(Flight(ask, change.wrote, kept, self.reach(change), due))
        else:
            self.effect(ask, self.plan(ask))

    def effect(self, ask: Ask, change: Change) -> None:
        before = self.state
        self.state = self.state.apply(change)
        for process, kept in self.notes.items():
            for slot in change.wrote:
                if process != ask.process:
                    kept.pop(slot, None)
                elif before.slots[slot] != self.state.slots[slot]:
                    kept.setdefault(slot, before)

        if ask.op == "remove":
            self.drop(change.wrote)
        else:
            self._take_written(ask, change)

    def _take_written(self, ask: Ask, change: Change) -> None:
        taken = {slot for claim in self.claims.values() for slot in claim.slots}
        rows = self.state.slots
        new = {s: (rows[s].mr_base, rows[s].mr_end) for s in change.wrote if s not in taken}
        if new:
            span = min(lo for lo, _ in new.values()), max(hi for _, hi in new.values())
            self._new(Held(0, ask.process, "update", span, new, self.until(ask.lease)))

    def _new(self, claim: Held) -> None:
        self.last_fence += 1
        claim.fence = self.last_fence
        self.claims[claim.fence] = claim

    def until(self, lease: float | None) -> float | None:
        return None if lease is None else self.now + lease

    def _check_free(self, ask: Ask, *, own: bool = True) -> None:
        """Whether nobody else holds a byte, and no commit (of others, for a claim) is near."""
        for claim in self.claims.values():
            if claim.process != ask.process:
                for page in self.protected(claim):
                    if ask.desc.mr_base <= page < ask.desc.mr_end:
                        raise Refused("EBUSY", passing=True)

        for flight in self.flights:
            if overlap(flight.span, ask.span) and (own or flight.ask.process != ask.process):
                raise Refused("EBUSY", passing=True)

    def _claim(self, ask: Ask) -> None:
        self._check_free(ask, own=False)
        lost = self.lost.get(ask.process, {})
        for fence in [f for f, span in lost.items() if overlap(span, ask.span)]:
            del lost[fence]

        for claim in self.held(ask.process):
            if claim.kind == "range" and claim.span == ask.span:
                claim.expires = self.until(ask.lease)
                return

        taken = {slot for claim in self.claims.values() for slot in claim.slots}
        lo, hi = ask.span
        inside = {
            slot: (row.mr_base, row.mr_end)
            for slot, row in enumerate(self.state.slots)
            if row.mr_flags & MDF_ACTIVE and lo <= row.mr_base and row.mr_end <= hi
        }
        mine = {slot: span for slot, span in inside.items() if slot not in taken}
        self._new(Held(0, ask.process, "range", (lo, hi), mine, self.until(ask.lease)))

    def drop(self, slots: Iterable[int]) -> None:
        """Slots leave their claims; one that an UPDATE took ends with its last."""
        for slot in slots:
            for claim in list(self.claims.values()):
                if claim.slots.pop(slot, None) and claim.kind == "update" and not claim.slots:
                    del self.claims[claim.fence]

    def lose(self, claim: Held) -> None:
        del self.claims[claim.fence]
        self.lost.setdefault(claim.process, {})[claim.fence] = claim.span

    # The queue

    def serve(self) -> None:
        """Serve whoever can go on, earliest first; nobody overtakes an earlier overlapping one."""
        while (ask := next(self._ready(), None)) is not None:
            self.queue.remove(ask)

    def _ready(self) -> Iterator[Ask]:
        for number, ask in enumerate(self.queue):
            if not any(overlap(earlier.span, ask.span) for earlier in self.queue[:number]):
                try:
                    self.attempt(ask)
                except Refused as refusal:
                    if refusal.passing:
                        continue

                    ask.answer = refusal.errno
                else:
                    ask.answer = "ok"

                yield ask
