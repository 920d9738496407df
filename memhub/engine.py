"""The one place where state, clock and log meet: requests in, facts out.

`submit` decides a request, makes its facts true, has them logged, and takes them back if the log
cannot have them. Then it serves those who wait. All of this runs from start to end without an
await, so that it is atomic to every task of an event loop, and no cancellation can come between a
change and its record.
"""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Any, TypeVar, overload

from memhub.core.decide import DECIDERS
from memhub.core.instant import Instant
from memhub.core.open_close import decide_open, refuse_open
from memhub.core.requests import Abandon, BreakClaim, Close, Request, Tick, WaitingRequest
from memhub.core.serving import decide_next, decide_unlogged
from memhub.core.transfers import decide_end_transfer
from memhub.deadlines import Deadlines
from memhub.errors import BadHandle, LogFailed, NoSuchDevice
from memhub.open_files import OpenFiles
from memhub.pending import PendingTable
from memhub.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.audit import AuditLog
    from memhub.clock import Clock
    from memhub.core.decision import Decision
    from memhub.core.events import Event
    from memhub.core.files import Caller
    from memhub.core.machine import Machine
    from memhub.core.requests import EndTransfer, Open
    from memhub.core.service_events import ServiceEvent
    from memhub.pending import Pending

R = TypeVar("R")


class Engine:
    """The machines of one hub, and all that happens to them.

    Args:
        machines: by name.
        default: the machine that a bare `/dev/mem` means.
        clock: where time comes from.
        log: an open audit log, or None.

    Attributes:
        files: the open files.
        recorder: where records go.
        deadlines: when `tick` is due.
    """

    def __init__(
        self, machines: Mapping[str, Machine], default: str, clock: Clock, log: AuditLog | None
    ) -> None:
        self.machines = machines
        self.default = default
        self.clock = clock
        self.files = OpenFiles()
        self.recorder = Recorder(log, clock.mono_ns)
        self.deadlines = Deadlines()
        self._wall_ns = clock.wall_ns
        self._mono_ns = clock.mono_ns
        self._machine_of = self.files.machines
        self._pending = PendingTable()
        self._thread = get_ident()
        for machine in machines.values():
            machine.keeps_before = log is not None

    # Looking

    def now(self) -> Instant:
        """The present moment."""
        return Instant(self._wall_ns(), self._mono_ns())

    def machine(self, name: str) -> Machine:
        """A machine; the default one for an empty name.

        Raises:
            NoSuchDevice: ENOENT.
        """
        try:
            return self.machines[name or self.default]
        except KeyError:
            known = ", ".join(sorted(self.machines))
            raise NoSuchDevice(f"there is no machine {name!r} (machines: {known})") from None

    # Requests

    @overload
    def submit(self, request: WaitingRequest[R]) -> R | Pending[R]: ...
    @overload
    def submit(self, request: Request[R]) -> R: ...
    def submit(self, request: Any) -> Any:
        """Answer a request to an open file.

        Returns:
            the reply; or a Pending, where the request waits or its commit takes time.

        Raises:
            DeviceError: the request is refused, and has changed nothing.
            LogFailed: EIO; what it changed has been taken back, since it cannot be logged.
            NeedsDevice: a device model answers part of a transfer; nothing has moved.
        """
        machine = self._machine_of.get(request.handle)
        if machine is None:
            raise BadHandle(f"handle {request.handle} is closed")

        now = Instant(self._wall_ns(), self._mono_ns())
        if now.mono_ns >= self.deadlines.next_due:
            self._catch_up(now)

        decision = DECIDERS[type(request)](machine, request, now)
        events = decision.events
        if decision.changes:
            for event in events:
                machine.apply(event)

        if self.recorder.active:
            try:
                self.recorder.write(events)
            except BaseException:
                _take_back(machine, decision)
                raise

        if decision.changes:
            self._follow_up(machine, decision)

        if decision.pending is not None:
            return self._pending.add(machine, decision.pending)

        if decision.error is not None:
            raise decision.error

        return decision.reply

    def open(self, request: Open) -> int:
        """Open a device file; the reply is its number.

        Raises:
            DeviceError: refused, or the log failed (EIO); nothing was opened.
        """
        now = self.now()
        if now.mono_ns >= self.deadlines.next_due:
            self._catch_up(now)

        name = request.path.rpartition(":")[0]
        try:
            machine = self.machine(name)
        except NoSuchDevice as error:
            self.note(*refuse_open(request, name, "", now, error).events)
            raise

        number = self.files.next_number()
        self._perform(machine, decide_open(machine, request, now, number))
        self.files.machines[number] = machine

        return number

    def close(self, handle: int, cause: str = "close") -> None:
        """Close a file; one that is closed already stays so.

        Args:
            handle: its number.
            cause: `close`, `disconnect`, `cancelled`, `error`, `garbage` or `stop`, for the log.

        Raises:
            LogFailed: EIO; it is closed for its user, and what it held ends as soon as the log
                works, at the next request or after a moment.
        """
        if self.files.owe_close(handle, cause):
            self._catch_up(self.now())

    def close_all(self, cause: str) -> None:
        """Close every file of every machine; errors are those of `close`."""
        self.files.owe_all(self.machines.values(), cause)
        self._catch_up(self.now())

    def abandon_file(self, handle: int) -> None:
        """Close a file that the garbage collector found, as soon as that is safe.

        A collection may come in the midst of a request and in any thread. So what the file held
        ends before the next request, or when the event loop next has its turn.
        """
        if self.files.owe_close(handle, "garbage"):
            self.deadlines.next_due = 0
            if get_ident() == self._thread:
                self.deadlines.on_change()

    def end_transfer(self, caller: Caller, request: EndTransfer) -> None:
        """Record the end of a transfer that a device took part in; its file may be closed."""
        machine = self.machines[caller.machine]
        self._perform(machine, decide_end_transfer(machine, caller, request, self.now()))

    def break_claim(self, request: BreakClaim) -> None:
        """Take a claim from its holder.

        Raises:
            NoSuchDevice: ENOENT; no such machine.
            NoSuchRange: ENOENT; no such claim.
            LogFailed: EIO; the claim stands.
        """
        machine = self.machine(request.machine)
        self._perform(machine, DECIDERS[BreakClaim](machine, request, self.now()))

    def abandon(self, pending: Pending[Any]) -> None:
        """End a request that is pending, without effect: its caller is gone."""
        machine = pending.machine
        decision = DECIDERS[Abandon](machine, pending.abandon_request(), self.now())
        try:
            self._perform(machine, decision)
        except LogFailed:
            self._owe(machine, decision)
            self._serve(machine, self.now())

    # Time

    def due_of(self, pending: Pending[Any]) -> int:
        """When to call `tick` for a commit, monotonic nanoseconds; later while the log fails."""
        return max(pending.due_ns or 0, self.deadlines.retry_at)

    def tick(self) -> None:
        """End what is due; what a failing log prevents is tried again at `deadlines.wake_at`."""
        now = self.now()
        if now.mono_ns >= self.deadlines.next_due:
            try:
                self._catch_up(now)
            except LogFailed:
                return

    def _catch_up(self, now: Instant) -> None:
        """End what is due on every machine, so that no request meets a lease that ran out.

        Raises:
            LogFailed: EIO; some of it is still due.
        """
        try:
            for machine, request in self.files.owed():
                self._perform(machine, DECIDERS[Close](machine, request, now))

            for machine in self.machines.values():
                if machine.due_ns <= now.mono_ns:
                    self._end_due(machine, now)
        except LogFailed:
            self.deadlines.put_off(now.mono_ns)
            raise

        self.deadlines.settle(min(machine.due_ns for machine in self.machines.values()))

    def _end_due(self, machine: Machine, now: Instant) -> None:
        self._serve(machine, now)
        tick = Tick(machine.name)
        while True:
            decision = DECIDERS[Tick](machine, tick, now)
            if not decision.events:
                machine.recount_due()
                return

            self._perform_later(machine, decision, now)
            self._serve(machine, now)

    # Facts

    def note(self, *events: Event | ServiceEvent) -> None:
        """Record facts that change no machine: what a service does, how a machine starts.

        Raises:
            LogFailed: EIO; they are not recorded.
        """
        if self.recorder.active:
            self.recorder.write(events)

    def _perform(self, machine: Machine, decision: Decision) -> None:
        """Make a decision true, have it logged, and raise its error."""
        self._make_true(machine, decision)
        if decision.changes:
            self._follow_up(machine, decision)

        if decision.error is not None:
            raise decision.error

    def _make_true(self, machine: Machine, decision: Decision) -> None:
        if decision.changes:
            for event in decision.events:
                machine.apply(event)

        if self.recorder.active and decision.events:
            try:
                self.recorder.write(decision.events)
            except BaseException:
                _take_back(machine, decision)
                raise

    # What follows

    def _follow_up(self, machine: Machine, decision: Decision) -> None:
        """Answer those whose waits and commits ended, and serve those who can go on."""
        if self._pending:
            self._pending.answer(machine, decision)

        if machine.waits:
            self._serve(machine, self.now())

        self.deadlines.note(machine.due_ns)

    def _serve(self, machine: Machine, now: Instant) -> None:
        """Serve whoever waits and can go on now."""
        while machine.waits:
            decision = decide_next(machine, now)
            if decision is None:
                return

            self._perform_later(machine, decision, now)

    def _perform_later(self, machine: Machine, decision: Decision, now: Instant) -> None:
        """Make the end of waits, commits or leases true.

        A wait or a commit whose end cannot be logged ends with EIO, and the log gets it later.

        Raises:
            LogFailed: EIO; leases stay overdue.
        """
        try:
            self._make_true(machine, decision)
        except LogFailed as error:
            instead = decide_unlogged(machine, decision, now, error)
            if instead is None:
                raise

            self._owe(machine, instead)
        else:
            self._pending.answer(machine, decision)

    def _owe(self, machine: Machine, decision: Decision) -> None:
        """Make facts true that cannot be logged now; the log gets them first when it works."""
        for event in decision.events:
            machine.apply(event)

        if self.recorder.active:
            self.recorder.owe(decision.events)

        self._pending.answer(machine, decision)


def _take_back(machine: Machine, decision: Decision) -> None:
    if decision.changes:
        for event in reversed(decision.events):
            machine.unapply(event)
