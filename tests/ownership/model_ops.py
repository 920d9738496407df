"""The model's operations, as clients and the embedder ask for them: an errno, or `ok`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memhub.abi import MDF_BUSY
from memhub.errors import DeviceError
from ownership.asks import Ask, Flight, Refused, overlap
from ownership.model import Model

if TYPE_CHECKING:
    from memhub.core.drivers.driver import RangeState


class ModelMachine(Model):
    """A machine as the model has it, from the outside."""

    def open(self, handle: int, process: int, *, undo: bool) -> None:
        self.handles[handle] = (process, undo)
        if undo:
            self.notes.setdefault(process, {})

    def ask(self, ask: Ask, wait: float | None = None) -> str:
        """A SET, a claim or a wait: `ok`, an errno, or `waits`."""
        try:
            if wait is not None and any(overlap(other.span, ask.span) for other in self.queue):
                self._check_stale(ask)
                raise Refused("EBUSY", passing=True)

            self.attempt(ask)
        except Refused as refusal:
            if wait is None or not refusal.passing:
                return refusal.errno

            ask.deadline = self.now + wait
            self.queue.append(ask)

            return "waits"

        if ask.op in ("update", "remove") and not self.latency:
            self.serve()

        return "ok"

    def _check_stale(self, ask: Ask) -> None:
        """What relies on a lost claim does not wait, however many came first."""
        if ask.op not in ("update", "remove"):
            return

        try:
            self.plan(ask)
        except Refused as refusal:
            if refusal.errno == "EBUSY" and not refusal.passing:
                raise

    def finish(self, flight: Flight) -> str:
        """A commit takes effect."""
        try:
            self.effect(flight.ask, self.plan(flight.ask, but=flight))
            flight.answer = "ok"
        except Refused as refusal:
            flight.answer = refusal.errno

        self.flights.remove(flight)
        self.serve()

        return flight.answer

    def abort(self, flight: Flight) -> None:
        """A commit's caller is cancelled."""
        flight.answer = "ECANCELED"
        self.flights.remove(flight)
        self.serve()

    def forsake(self, ask: Ask) -> None:
        """A waiter is cancelled."""
        self.queue.remove(ask)
        ask.answer = "ECANCELED"
        self.serve()

    def release(self, process: int, lo: int, hi: int, fence: int | None = None) -> str:
        if fence is not None and all(it.fence != fence for it in self.held(process)):
            return "EBUSY"

        found = False
        for claim in self.held(process):
            if fence not in (None, claim.fence):
                continue

            if lo <= claim.span[0] and claim.span[1] <= hi:
                del self.claims[claim.fence]
                found = True
            elif claim.kind == "update":
                inside = [s for s, span in claim.slots.items() if lo <= span[0] and span[1] <= hi]
                self.drop(inside)
                found = found or bool(inside)

        self.serve()

        return "ok" if found else "ENOENT"

    def renew(self, process: int, fence: int, lease: float | None) -> str:
        claim = self.claims.get(fence)
        if claim is None or claim.process != process:
            return "EBUSY"

        claim.expires = self.until(lease)

        return "ok"

    def break_claim(self, fence: int) -> str:
        if fence not in self.claims:
            return "ENOENT"

        self.lose(self.claims[fence])
        self.serve()

        return "ok"

    def advance(self, seconds: float) -> None:
        """Time passes: leases run out, commits take effect, then the waits whose time is up."""
        self.now += seconds
        due = [c for c in self.claims.values() if c.expires is not None and c.expires <= self.now]
        late = any(a.deadline is not None and a.deadline <= self.now for a in self.queue)
        for claim in due:
            self.lose(claim)

        if due or late:
            self.serve()

        for flight in [f for f in self.flights if f.due <= self.now]:
            self.finish(flight)

        for ask in [a for a in self.queue if a.deadline is not None and a.deadline <= self.now]:
            self.queue.remove(ask)
            ask.answer = "ETIMEDOUT"

        if due or late:
            self.serve()

    def close(self, handle: int) -> None:
        process, undo = self.handles.pop(handle)
        others = [other for other in self.handles.values() if other[0] == process]
        if undo and not any(other[1] for other in others):
            mine = [flight for flight in self.flights if flight.ask.handle == handle]
            for flight in mine:
                flight.answer = "EBADF"

            self.flights = [flight for flight in self.flights if flight not in mine]
            self._put_all_back(process, [*reversed(self.notes.pop(process, {}).items())])

        if not others:
            for claim in self.held(process):
                del self.claims[claim.fence]

            self.lost.pop(process, None)

        for flight in [f for f in self.flights if f.ask.handle == handle]:
            flight.answer = "EBADF"

        self.flights = [flight for flight in self.flights if flight.ask.handle != handle]
        for ask in [a for a in self.queue if a.handle == handle]:
            self.queue.remove(ask)
            ask.answer = "EBADF"

        self.serve()

    def _put_all_back(self, process: int, left: list[tuple[int, RangeState]]) -> None:
        """A range goes back whole; where none can, one slot makes way for the others, once each."""
        gave_way: set[int] = set()
        while left:
            waiting = [it for it in left if not self._put_back(process, *it, whole=True)]
            if len(waiting) == len(left):
                first = next((it for it in waiting if it[0] not in gave_way), None)
                if first is None:
                    return

                gave_way.add(first[0])
                if not self._put_back(process, *first, whole=False):
                    waiting.remove(first)

            left = waiting

    def _put_back(self, process: int, slot: int, then: RangeState, *, whole: bool) -> bool:
        change = self.driver.restore(self.state, {slot: then.slots[slot]}, then.msrs)
        due, found = then.slots[slot], change.slots.get(slot, self.state.slots[slot])
        flags = found.mr_flags & ~MDF_BUSY | due.mr_flags & MDF_BUSY
        if whole and due.mr_len and replace(found, mr_flags=flags) != due:
            return False

        try:
            if slot in self.busy(process):
                raise Refused("EBUSY")

            self._check_pages(process, change)
            self._check_flights(process, change, None)
        except (Refused, DeviceError):
            return False

        self.state = self.state.apply(change)
        self.drop([slot])

        return True
