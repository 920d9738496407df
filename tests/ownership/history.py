"""Whether a history of concurrent calls could have happened one at a time (Wing and Gong, Lowe).

A history is a list of calls: who asked what, when it was called, when it returned and what it
said. It is linearizable if every call can be given an instant between its call and its return so
that, taken one by one in that order, the specification below gives just those answers.

Sequential specification
------------------------
Ranges of addresses that do not overlap, named 0, 1, 2, …, in a table of a few slots; a process
may hold a range. `State` is the table, the explicit claims and the commits in flight.

- A call that is refused takes effect at one instant and changes nothing.
- On a machine whose commits take time, `set` and `remove` that succeed take effect at *two*
  instants: at the first the slot becomes BUSY to everybody (`begin`), at the second the table
  changes. That window is part of the specification: an EBUSY in it is a legal answer, and a
  `get` in it shows the old table with that slot BUSY.
- A call that waits (`wait`) is answered as any other, but never EBUSY: its first instant is one
  at which it is not refused. EDEADLK is a legal answer at an instant at which it would be.
- A cancelled call had no effect, or its whole effect, or began a commit that was then taken
  back; all are legal if they fall between its call and its return.

Search: choose a call whose step may come next, which is one that was called before every
unfinished call returned; apply it; go on; go back on failure. A set of finished steps with a
state that has failed once is not tried again (Lowe's memory).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

OK, CANCELLED = "ok", "cancelled"
EBUSY, EDEADLK, ENOENT, ENOSPC = "EBUSY", "EDEADLK", "ENOENT", "ENOSPC"


@dataclass(frozen=True, slots=True)
class Call:
    """One call: `op` is set, remove, claim, release, get or close.

    Attributes:
        process: who asked.
        op: what.
        target: which range, or None.
        value: the attribute of a `set`.
        wait: whether EBUSY waits.
        called: when it was called.
        returned: when it returned; later than `called`.
        answer: `ok`, an errno, `cancelled`, or the table that a `get` showed.
    """

    process: int
    op: str
    target: int | None
    value: int | None
    wait: bool
    called: int
    returned: int
    answer: Any


#: One slot: range, attribute, holder.
Slot = tuple[int, int, int | None]


@dataclass(frozen=True, slots=True)
class State:
    """The specification's state.

    Attributes:
        slots: the slots; None where free.
        claims: explicit claims: `(range, process)`.
        flights: commits in flight: `(call's number, slot)`.
    """

    slots: tuple[Slot | None, ...]
    claims: frozenset[tuple[int, int]] = frozenset()
    flights: tuple[tuple[int, int], ...] = ()

    def holder(self, target: int) -> int | None:
        """Who holds a range: by its slot or by an explicit claim."""
        found = [slot[2] for slot in self.slots if slot is not None and slot[0] == target]
        found += [process for held, process in self.claims if held == target]

        return next((process for process in found if process is not None), None)

    def place(self, call: Call) -> int | None:
        """The slot that a `set` or `remove` writes; None where it has none."""
        for number, slot in enumerate(self.slots):
            if slot is not None and slot[0] == call.target:
                return number

        if call.op == "set" and None in self.slots:
            return self.slots.index(None)

        return None

    def view(self, process: int) -> tuple[tuple[int, int, bool] | None, ...]:
        """What `get` shows: range, attribute and BUSY of each slot in use."""
        flying = {slot for _, slot in self.flights}

        return tuple(
            None
            if slot is None
            else (slot[0], slot[1], number in flying or slot[2] not in (None, process))
            for number, slot in enumerate(self.slots)
        )


class Spec:
    """The sequential specification over the calls of one history.

    Args:
        calls: the history.
        slots: how many slots the table has.
        latency: whether commits take time.
    """

    def __init__(self, calls: list[Call], slots: int, *, latency: bool) -> None:
        self.calls = calls
        self.start = State((None,) * slots)
        self.latency = latency

    def steps(self, number: int, state: State, *, begun: bool) -> Iterator[tuple[State, bool]]:
        """What one call may do next: the state after, and whether the call is finished then."""
        call = self.calls[number]
        if call.answer == CANCELLED:
            yield from self._cancelled(number, state, begun=begun)
        elif begun:
            yield self._effect(number, state), True
        elif call.op == "get":
            if call.answer == state.view(call.process):
                yield state, True
        else:
            yield from self._answered(number, state, call.answer)

    def _cancelled(self, number: int, state: State, *, begun: bool) -> Iterator[tuple[State, bool]]:
        if begun:
            yield self._without(number, state), True
            yield self._effect(number, state), True
            return

        yield state, True
        if self.calls[number].op not in ("get", "close"):
            yield from self._answered(number, state, OK)

    def _answered(self, number: int, state: State, answer: str) -> Iterator[tuple[State, bool]]:
        call = self.calls[number]
        if call.wait and answer in (EBUSY, EDEADLK):
            answer = EBUSY if answer == EDEADLK else "never"

        if self.ask(call, state) != answer:
            return

        if answer != OK:
            yield state, True
        elif call.op not in ("set", "remove"):
            yield self._claims(call, state), True
        elif not self.latency:
            yield self._write(call, state), True
        else:
            place = state.place(call)
            assert place is not None
            yield replace(state, flights=(*state.flights, (number, place))), False

    def ask(self, call: Call, state: State) -> str:
        """The answer of a call at this instant."""
        assert call.target is not None or call.op == "close"
        if call.op == "close":
            return OK

        holder = state.holder(call.target or 0)
        if call.op == "release":
            return OK if holder == call.process else ENOENT

        if call.op == "claim":
            return EBUSY if self._claim_blocked(call, state, holder) else OK

        place = state.place(call)
        if place is None:
            return ENOENT if call.op == "remove" else ENOSPC

        if holder not in (None, call.process) or any(at == place for _, at in state.flights):
            return EBUSY

        after = self._write(call, state)
        exact = all(after.place(self.calls[flight]) == at for flight, at in state.flights)
        # Nor may the effect of a commit in flight send this one elsewhere.
        later = (self._write(self.calls[flight], state) for flight, _ in state.flights)
        exact = exact and all(then.place(call) == place for then in later)

        return OK if exact else EBUSY

    def _claim_blocked(self, call: Call, state: State, holder: int | None) -> bool:
        if holder not in (None, call.process):
            return True

        return any(
            self.calls[flight].target == call.target and self.calls[flight].process != call.process
            for flight, _ in state.flights
        )

    def _effect(self, number: int, state: State) -> State:
        return self._write(self.calls[number], self._without(number, state))

    def _without(self, number: int, state: State) -> State:
        return replace(state, flights=tuple(f for f in state.flights if f[0] != number))

    def _write(self, call: Call, state: State) -> State:
        place = state.place(call)
        if place is None:
            return state

        slots = list(state.slots)
        if call.op == "remove":
            slots[place] = None
        else:
            assert call.target is not None
            assert call.value is not None
            slots[place] = (call.target, call.value, call.process)

        return replace(state, slots=tuple(slots))

    def _claims(self, call: Call, state: State) -> State:
        mine, process, target = state.claims, call.process, call.target
        slots = state.slots
        if call.op == "claim":
            assert target is not None
            held = mine | {(target, process)}
            taken = tuple(
                (s[0], s[1], process) if s is not None and s[0] == target else s for s in slots
            )

            return replace(state, slots=taken, claims=held)

        gone = {c for c in mine if c[1] == process and target in (None, c[0])}
        freed = tuple(
            (s[0], s[1], None)
            if s is not None and s[2] == process and target in (None, s[0])
            else s
            for s in slots
        )

        return replace(state, slots=freed, claims=mine - gone)


def linearizable(calls: list[Call], slots: int, *, latency: bool) -> bool:
    """Whether some order of the calls explains every answer."""
    spec = Spec(calls, slots, latency=latency)
    failed: set[tuple[int, int, State]] = set()

    def search(done: int, begun: int, state: State) -> bool:
        open_calls = [n for n in range(len(calls)) if not done >> n & 1]
        if not open_calls:
            return True

        key = (done, begun, state)
        if key in failed:
            return False

        first_return = min(calls[n].returned for n in open_calls)
        for number in open_calls:
            bit = 1 << number
            if calls[number].called < first_return:
                for after, finished in spec.steps(number, state, begun=bool(begun & bit)):
                    done_, begun_ = (done | bit, begun & ~bit) if finished else (done, begun | bit)
                    if search(done_, begun_, after):
                        return True

        failed.add(key)

        return False

    return search(0, 0, spec.start)
