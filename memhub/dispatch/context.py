"""What all desks share: machines, journal, clock, the deadlines, and the queues' turn."""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Final

from memhub.audit import records
from memhub.core.claims.waiting import passing
from memhub.core.ranges.commits import Commit
from memhub.core.requests import Outcome
from memhub.errors import (
    BadHandle,
    Cancelled,
    DeviceError,
    InvalidArgument,
    LogFailed,
    NoSuchDevice,
    RangeBusy,
    TimedOut,
    WouldDeadlock,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.clock import Clock
    from memhub.core.claims.waiting import Ticket
    from memhub.core.machine import Machine
    from memhub.journal import Journal

#: Seconds until what a failing log prevented is tried again.
RETRY: Final = 1.0


class Context:
    """The machines of one hub, and what happens to them as time passes.

    Args:
        machines: by name.
        default: the machine that a bare `/dev/mem` means.
        journal: where records go.
        clock: where time comes from.
    """

    def __init__(
        self, machines: Mapping[str, Machine], default: str, journal: Journal, clock: Clock
    ) -> None:
        self.machines = machines
        self.default = default
        self.journal = journal
        self.clock = clock

        #: Called when a deadline earlier than all others is set.
        self.on_deadline: Callable[[], None] = lambda: None
        #: Does the closes that are owed; raises LogFailed while the log fails.
        self.close_owed: Callable[[], None] = lambda: None
        self._deadlines: list[tuple[int, str]] = []

    def machine(self, name: str) -> Machine:
        """Find a machine.

        Raises:
            NoSuchDevice: ENOENT; the reason names those that there are.
        """
        try:
            return self.machines[name or self.default]
        except KeyError:
            known = ", ".join(sorted(self.machines))
            raise NoSuchDevice(f"there is no machine {name!r} (machines: {known})") from None

    # Time

    def set_deadline(self, machine: Machine, mono: float) -> None:
        """See to it that `tick` looks at a machine at `mono` seconds."""
        row = (round(mono * 1e9), machine.name)
        heapq.heappush(self._deadlines, row)
        if self._deadlines[0] == row:
            self.on_deadline()

    def _watch_leases(self, machine: Machine) -> None:
        """See to it that the earliest lease is looked at; `tick` goes on to the next."""
        if leases := machine.ranges.ownership.leases:
            self.set_deadline(machine, min(leases.values()))

    @property
    def next_deadline(self) -> int | None:
        """Monotonic nanoseconds at which `tick` is due, or None."""
        return self._deadlines[0][0] if self._deadlines else None

    def tick(self) -> None:
        """End the leases and waits whose time is up; while the log fails, try again later."""
        now = self.clock.now()
        while self._deadlines and self._deadlines[0][0] <= now.mono_ns:
            machine = self.machines[heapq.heappop(self._deadlines)[1]]
            try:
                self.catch_up(machine)
                self._watch_leases(machine)
            except LogFailed:
                self.set_deadline(machine, now.after(RETRY))

    def catch_up(self, machine: Machine) -> None:
        """End what is overdue on one machine, so that no request meets a lease that ran out.

        Raises:
            LogFailed: EIO; it is still overdue.
        """
        if machine.owed:
            self.close_owed()

        now = self.clock.now()
        if not machine.overdue(now):
            return

        outcome = machine.claims.expire(now)
        self._seal_effects(machine, outcome)
        self.pump(machine)
        for ticket in machine.give_up(now):
            self.end_wait(machine, ticket)

        self.pump(machine)

    # Records

    def seal(self, machine: Machine, *entries: dict[str, object]) -> None:
        """Record a change that was just made to the ranges or claims of a machine.

        Raises:
            LogFailed: EIO; the change has been taken back.
        """
        if not self.journal.active:
            return

        try:
            self.journal.seal(*entries)
        except LogFailed:
            machine.ranges.revert()
            raise

        machine.ranges.settle()

    def effects(self, machine: Machine, outcome: Outcome) -> list[dict[str, object]]:
        """The records of what happened beside a request."""
        now, generation = self.clock.now(), machine.generation

        return [records.effect(machine, now, generation, it) for it in outcome.effects]

    def _seal_effects(self, machine: Machine, outcome: Outcome) -> None:
        if outcome.effects:
            self.seal(machine, *self.effects(machine, outcome))

    # The queue's turn

    def try_or_wait(self, machine: Machine, ticket: Ticket, wait: float | None) -> Outcome | None:
        """Try a request that may wait.

        Args:
            machine: whose queue it is.
            ticket: the request.
            wait: seconds to wait (`math.inf` for ever); None does not wait.

        Returns:
            what came of it, or None if it waits.

        Raises:
            LogFailed: EIO; the wait cannot be recorded, and has not begun.
        """
        if wait is None:
            return ticket.attempt()

        if not wait >= 0:
            return Outcome(error=InvalidArgument(f"a wait of {wait} seconds is no time to come"))

        ahead = machine.queue.must_queue(ticket.base, ticket.end)
        outcome = Outcome(error=first_come(ahead)) if ahead else ticket.attempt()
        refusal = passing(outcome.error)
        if refusal is None:
            return outcome

        now = self.clock.now()
        ticket.deadline = None if math.isinf(wait) else now.after(wait)
        try:
            machine.queue.enqueue(ticket, refusal)
        except WouldDeadlock as error:
            # Those ahead may wait for this very process, which needs nobody but itself.
            alone = ticket.attempt() if ahead else outcome

            return Outcome(error=error) if passing(alone.error) else alone

        try:
            if self.journal.active:
                self.journal.seal(records.waiting(ticket, now))
        except LogFailed:
            machine.queue.discard(ticket)
            raise

        if ticket.deadline is not None:
            self.set_deadline(machine, ticket.deadline)

        return None

    def forsake(self, machine: Machine, ticket: Ticket) -> None:
        """Take a ticket out of the queue: its caller was cancelled before anything came of it."""
        machine.queue.discard(ticket)
        ticket.outcome = Outcome(error=Cancelled("cancelled while it waited"))
        self.end_wait(machine, ticket)
        self.pump(machine)

    def pump(self, machine: Machine) -> None:
        """Serve whoever waits and can go on now."""
        while machine.queue.tickets:
            served = machine.queue.try_next()
            if served is None:
                return

            ticket, outcome = served
            ticket.outcome = outcome
            self.end_wait(machine, ticket)

    def end_wait(self, machine: Machine, ticket: Ticket) -> None:
        """Record a wait's end, and what it was for if that took effect; then wake the waiter."""
        outcome = ticket.outcome or Outcome()
        now = self.clock.now()
        entries = [records.waited(ticket, now, wait_cause(outcome.error), outcome.error)]
        if not isinstance(outcome.reply, Commit):
            entries.append(ticket.record(outcome, now))

        try:
            self.seal(machine, *entries)
        except LogFailed as error:
            if isinstance(outcome.reply, Commit):
                machine.ranges.abort(outcome.reply)

            ticket.outcome = Outcome(error=error)

        self._watch_leases(machine)
        ticket.wake()


def first_come(ahead: list[Ticket]) -> RangeBusy:
    """The EBUSY of a waiting request that others stand before."""
    names = ", ".join(ticket.process.name for ticket in ahead)

    return RangeBusy(f"{names} came first", obstacles=tuple(ticket.obstacle() for ticket in ahead))


def wait_cause(error: DeviceError | None) -> str:
    """Why a wait ended, in one word."""
    causes: dict[type[DeviceError], str] = {
        TimedOut: "timeout",
        WouldDeadlock: "deadlock",
        Cancelled: "cancelled",
        BadHandle: "close",
    }
    if error is None:
        return "granted"

    return causes.get(type(error), "refused")
