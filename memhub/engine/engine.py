"""The one place where state, clock and log meet: requests in, facts out.

`submit` decides a request, makes its facts true, has them logged (or takes them back), serves those
who wait and tells subscribers, all without an await: nothing comes between a change and its record.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from memhub.audit.rows import WRITERS
from memhub.core.deciding.decide import DECIDERS, TIMELESS
from memhub.core.deciding.failing import decide_failure, is_failing, refuse_request
from memhub.core.deciding.kernel_requests import redirect_request
from memhub.core.deciding.serving import decide_next, decide_unlogged
from memhub.core.decision import take_back
from memhub.core.events import LOOKS
from memhub.core.instant import NEVER, Instant, make_tuple
from memhub.core.requests import Abandon, Close, Request, Tick, WaitingRequest
from memhub.core.service_events import SERVICE_LOOKS
from memhub.engine.backlog import ALL, Backlog
from memhub.engine.deadlines import Deadlines
from memhub.engine.group_commit import settle_commits
from memhub.engine.open_files import OpenFiles, OwedClose
from memhub.engine.pending import PendingTable, do_nothing
from memhub.engine.recorder import Recorder
from memhub.errors import BadHandle, LogFailed, NoSuchDevice

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from memhub.audit import AuditLog
    from memhub.clock import Clock
    from memhub.core.decision import Decision
    from memhub.core.events import Event
    from memhub.core.machine import Machine
    from memhub.core.service_events import ServiceEvent
    from memhub.engine.listeners import Interest, Listener
    from memhub.engine.pending import Pending
    from memhub.errors import DeviceError

    Fact = Event | ServiceEvent

R = TypeVar("R")

_NO_MOMENT: Final = Instant(0, 0)
_LOOKS: Final = LOOKS | SERVICE_LOOKS


class Engine:
    """The machines of one hub, and all that happens to them.

    Args:
        machines: by name; `default` is the one that a bare `/dev/mem` means.
        clock: where time comes from.
        log: an open audit log, or None.

    Attributes:
        files: the open files.
        deadlines: when `tick` is due.
        recording: whether anybody reads the records.
        deciders: who decides; fault rules put themselves in front.
        failures_most: failures of a driver after which its machine is marked failed; 0 is never.
        commit: lets requests share a sync, where the log waits for the disk; None elsewhere.
        keep_up: does between requests what the log is due for.
    """

    def __init__(
        self, machines: Mapping[str, Machine], default: str, clock: Clock, log: AuditLog | None
    ) -> None:
        self.machines, self.default = machines, default
        self.clock = clock
        self.files = OpenFiles()
        self.deadlines = Deadlines(clock)
        self.failures_most = 0
        self.keep_up: Callable[[], None] = do_nothing
        self._pending = PendingTable()
        self.backlog = Backlog()
        self.deciders = DECIDERS
        self._wall_ns, self._mono_ns = clock.wall_ns, clock.mono_ns
        self._machine_of = self.files.machines
        self.keep_log(log)
        self.deadlines.give_timers(machines.values())

    def keep_log(self, log: AuditLog | None) -> None:
        """Record all in a log from now on; only before anything was recorded."""
        self._recorder = Recorder(log)
        self.commit = self._recorder.group_commits(self.submit, self.deadlines.note)
        self._set_recording()

    def now(self) -> Instant:
        """The present moment."""
        return Instant(self._wall_ns(), self._mono_ns())

    def machine(self, name: str) -> Machine:
        """A machine, the default one for an empty name; NoSuchDevice (ENOENT) if there is none."""
        if (found := self.machines.get(name or self.default)) is None:
            known = ", ".join(sorted(self.machines))
            raise NoSuchDevice(f"there is no machine {name!r} (machines: {known})")

        return found

    # Requests

    @overload
    def submit(self, request: WaitingRequest[R]) -> R | Pending[R]: ...
    @overload
    def submit(self, request: Request[R]) -> R: ...
    def submit(self, request: Any) -> Any:
        """Answer a request to an open file: with its reply, or a Pending if it takes time.

        Raises:
            DeviceError: the request is refused, and has changed nothing.
            LogFailed: EIO; what it changed has been taken back, since it cannot be logged.
            NeedsDevice: a device model answers part of a transfer; nothing has moved.
        """
        machine = self._machine_of.get(request.handle)
        if machine is None:
            raise BadHandle.of_closed(request.handle)

        if machine.refusing:
            request = redirect_request(machine, request)
            if no := refuse_request(machine, request, self.now()):
                self.perform(machine, no)

        deadlines, pending, kind = self.deadlines, self._pending, type(request)
        if self.recording or deadlines.next_due < NEVER or kind not in TIMELESS:
            now = make_tuple(Instant, (self._wall_ns(), self._mono_ns()))
            if now.mono_ns >= deadlines.next_due:
                self.end_due(now)
        else:
            now = _NO_MOMENT  # nothing is due, and nothing that is said has a time

        decision = self.deciders[kind](machine, request, now)
        reply, error, events, changes, stage = decision
        if (commit := self.commit) is not None:
            commit.begin(machine, decision, alone=bool(self._recorder.owed))

        # `_make_true`, without the call: every request pays for what stands here.
        if changes:
            for event in events:
                machine.apply(event)

        if events and self.recording:
            try:
                self._write(events)
            except BaseException:
                take_back(machine, decision)
                raise

            if commit is not None:
                commit.add(machine, decision)

        if stage is not None:
            deadlines.note(machine.due_ns)
            return pending.add(machine, stage)

        if changes and (
            pending.open or machine.waits.waits or machine.claims.first_expiry < deadlines.next_due
        ):
            self.follow_up(machine, decision)

        if error is not None:
            self._contain(machine, error)
            raise error
        return reply

    def perform(self, machine: Machine, decision: Decision) -> None:
        """Make a decision true, have it logged, serve those who can go on, and raise its error."""
        self._make_true(machine, decision)
        if decision.changes:
            self.follow_up(machine, decision)

        self._contain(machine, decision.error)
        if decision.error is not None:
            raise decision.error

    def _contain(self, machine: Machine, error: DeviceError | None) -> None:
        """Mark a machine failed whose driver has failed too often."""
        if is_failing(machine, self.failures_most):
            with suppress(LogFailed):
                self._make_true(machine, decide_failure(machine, error, self.now()))

    def abandon(self, pending: Pending[Any]) -> None:
        """End a request that is pending, without effect: its caller is gone."""
        machine = pending.machine
        settle_commits(self.commit)
        decision = DECIDERS[Abandon](machine, pending.abandon_request(), self.now())
        try:
            self.perform(machine, decision)
        except LogFailed:
            self._owe_facts(machine, decision)
            self.serve(machine, self.now())

    def tick(self) -> None:
        """End what is due; what a failing log prevents is tried again at `deadlines.wake_at`."""
        with suppress(LogFailed):
            self.catch_up()

    def catch_up(self) -> Instant:
        """End what is due, or LogFailed (EIO), BadHandle (EBADF); the answer is the moment."""
        self.files.check_in_use()
        if (now := self.now()).mono_ns >= self.deadlines.next_due:
            self.end_due(now)

        return now

    def end_due(self, now: Instant | None = None) -> None:
        """End what is due, and do the closes that are owed; errors are those of `catch_up`."""
        now = now or self.now()
        try:
            settle_commits(self.commit)
            self.keep_up()
            for owed in self.files.owed():
                if isinstance(owed, OwedClose):
                    self.perform(owed.machine, DECIDERS[Close](*owed, now))
                else:
                    self.note(owed)

            for machine in self.machines.values():
                if machine.due_ns <= now.mono_ns:
                    self._end_due(machine, now)
        except LogFailed:
            self.deadlines.put_off(now.mono_ns)
            raise

        self.deadlines.settle(min(it.due_ns for it in self.machines.values()), now.mono_ns)

    def _end_due(self, machine: Machine, now: Instant) -> None:
        self.serve(machine, now)
        while True:
            decision = DECIDERS[Tick](machine, Tick(machine.name), now)
            if not decision.events:
                machine.recount_due()
                return

            self._perform_later(machine, decision, now)
            self.serve(machine, now)

    def note(self, *events: Fact) -> None:
        """Record facts that change no machine: what a service does, how a machine starts.

        Raises:
            LogFailed: EIO; they are not recorded.
        """
        if self.recording:
            settle_commits(self.commit)
            self._write(events)

    def _write(self, events: tuple[Fact, ...]) -> None:
        """Hand the rows of some facts to the log, then to who listens; LogFailed (EIO)."""
        recorder, ended = self._recorder, self._mono_ns()
        rows: list[dict[str, Any]] = []
        if recorder.owed:
            events = (*recorder.owed, *events)

        for event in events:
            if (make_row := WRITERS.get(type(event))) is not None:
                rows.append(make_row(event, ended))  # noqa: PERF401 - one event is usual
        if recorder.append is not None:
            flush = not (recorder.batches.depth and type(events[-1]) in _LOOKS)
            try:
                recorder.append(rows, flush=flush)
            except OSError as error:
                recorder.refuse(error)

        recorder.owed.clear()
        if recorder.listeners.listeners:
            recorder.tell(rows)

    def _make_true(self, machine: Machine, decision: Decision) -> None:
        settle_commits(self.commit)
        if decision.changes:
            for event in decision.events:
                machine.apply(event)

        if self.recording and decision.events:
            try:
                self._write(decision.events)
            except BaseException:
                take_back(machine, decision)
                raise

    # What follows

    def follow_up(self, machine: Machine, decision: Decision) -> None:
        """Answer those whose waits and commits ended, and serve those who can go on."""
        if self._pending.open:
            self._pending.answer(machine, decision)

        if machine.waits.waits and machine.name not in self.backlog.machines:
            self.serve(machine, self.now(), self.backlog.most)

        self.deadlines.note(machine.due_ns)

    def serve(self, machine: Machine, now: Instant, most: int = ALL) -> None:
        """Serve whoever waits and can go on now; `backlog` gets what is more than `most`."""
        served = 0
        while machine.waits.waits:
            if served == most:
                self.backlog.put(machine.name)
                return

            decision = decide_next(machine, now)
            if decision is None:
                return

            self._perform_later(machine, decision, now)
            served += 1

    def _perform_later(self, machine: Machine, decision: Decision, now: Instant) -> None:
        """Make the end of waits, commits or leases true.

        A wait or a commit whose end cannot be logged ends with EIO, and the log gets it later;
        leases stay overdue: LogFailed (EIO).
        """
        try:
            self._make_true(machine, decision)
        except LogFailed as error:
            instead = decide_unlogged(machine, decision, now, error)
            if instead is None:
                raise

            self._owe_facts(machine, instead)
        else:
            self._pending.answer(machine, decision)

    def _owe_facts(self, machine: Machine, decision: Decision) -> None:
        """Make facts true that cannot be logged now; the log gets them first when it works."""
        for event in decision.events:
            machine.apply(event)

        self._recorder.owed += decision.events
        self._pending.answer(machine, decision)

    def listen(self, listener: Listener, interest: Interest | None = None) -> Callable[[], None]:
        """Hand later rows to `listener` too, until the function returned is called."""
        self.files.check_in_use()
        settle_commits(self.commit)
        return self._recorder.listeners.add(listener, self._set_recording, interest)

    def _set_recording(self) -> None:
        self.recording: bool = self._recorder.wanted
        self._recorder.note_wanted(self.machines.values())

    def batch(self) -> AbstractContextManager[None]:
        """Let the looks inside share one write; see `Batches.open`."""
        return self._recorder.batches.open(self._recorder.log)
