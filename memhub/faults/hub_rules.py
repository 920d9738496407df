"""Faults on demand: rules that refuse, delay, drop, shorten or cut off requests of a hub.

Rules meet requests in one place. While there are rules, `FaultRules` stands where the engine asks
who decides a request; a hub without rules has the deciders there, as ever.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, final

from memhub.arguments import take_kind
from memhub.core.deciding.decide import DECIDERS
from memhub.core.deciding.open_close import decide_open
from memhub.core.deciding.set_ranges import refuse_set
from memhub.core.deciding.waiting import decide_waiting
from memhub.core.events import CommitBegun
from memhub.core.faults.fault_effects import attempt_hang, shorten_transfer
from memhub.core.faults.fault_options import is_added
from memhub.core.faults.fault_rules import MET, FaultInjected, FaultRule
from memhub.core.faults.fault_spans import find_span, operation_of
from memhub.core.files import DEVICES, Caller
from memhub.core.memory.needs_device import NeedsDevice
from memhub.core.requests import Open
from memhub.faults.active_rules import ActiveRule as ActiveRule
from memhub.faults.active_rules import Delayed as Delayed
from memhub.faults.added_faults import AddedKind, alter_transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memhub.clock import Clock
    from memhub.core.decision import Decision
    from memhub.core.files import Principal
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine
    from memhub.core.requests import SetRange
    from memhub.engine.engine import Engine
    from memhub.errors import DeviceError
    from memhub.fault_kinds import FaultBook
    from memhub.faults.added_faults import Struck

    Span = tuple[int, int] | None


@final
class FaultRules:
    """The fault rules of one hub, in the order in which they were added.

    The first rule that meets a request decides about it; later rules do not count it.

    Args:
        engine: the hub's synchronous half.

    Attributes:
        kinds: the fault kinds of plugins; None until the first rule needs those that are installed.
        clock: the hub's clock, by which delays run.
        passed: blocks that are open in which no rule meets a request.
        on_cut: told of each process that is cut off, and why.
    """

    def __init__(self, engine: Engine) -> None:
        self.kinds: FaultBook | None = None
        self.clock: Clock = engine.clock
        self.passed = 0
        self.on_cut: list[Callable[[Principal, str], None]] = []
        self._engine = engine
        self._active: dict[str, ActiveRule] = {}
        self._last: dict[str, int] = {}

    def __iter__(self) -> Iterator[ActiveRule]:
        return iter(tuple(self._active.values()))

    def __len__(self) -> int:
        return len(self._active)

    def add(self, rule: FaultRule) -> ActiveRule:
        """Add a rule; it meets the requests that are submitted from now on.

        Args:
            rule: the rule; without a name it is called `fault-1`, `fault-2`, and so on, and one for
                a machine `MACHINE-fault-1`, whose number tells nothing of other machines.

        Returns:
            the rule as the hub has it; in `with`, it ends with the block.

        Raises:
            ValueError: a rule has this name, there is no such machine, or its fault kind is not
                installed or has other options.
            TypeError: it is no FaultRule.
            BadHandle: EBADF; the hub is closed.
        """
        take_kind("rule", rule, FaultRule)
        self._engine.files.check_in_use()
        machines = self._engine.machines
        if rule.machine is not None and rule.machine not in machines:
            known = ", ".join(sorted(machines))
            raise ValueError(f"there is no machine {rule.machine!r} (machines: {known})")

        if rule.name in self._active:
            raise ValueError(f"there is a fault rule {rule.name!r} already")

        while not rule.name:
            kind = "fault" if rule.machine is None else f"{rule.machine}-fault"
            self._last[kind] = self._last.get(kind, 0) + 1
            name = f"{kind}-{self._last[kind]}"
            rule = rule if name in self._active else replace(rule, name=name)

        added = AddedKind(*self._find_kinds().kind_of(rule)) if is_added(rule.action) else None
        active = self._active[rule.name] = ActiveRule(self, rule, added)
        ours: dict[type, Any] = {**dict.fromkeys(MET, self._decide), Open: self._decide_open}
        self._engine.deciders = {**DECIDERS, **ours}

        return active

    def _find_kinds(self) -> FaultBook:
        """The fault kinds, which are loaded when the first rule needs them."""
        if self.kinds is None:
            from memhub.fault_kinds import load_fault_kinds

            self.kinds = load_fault_kinds()

        return self.kinds

    def remove(self, name: str) -> None:
        """End a rule. What it delayed or dropped stays so.

        Raises:
            KeyError: there is no such rule.
        """
        if name not in self._active:
            known = ", ".join(self._active) or "none"
            raise KeyError(f"there is no fault rule {name!r} (rules: {known})")

        del self._active[name]
        if not self._active:
            self._engine.deciders = DECIDERS

    def drop(self, active: ActiveRule) -> None:
        """End a rule, unless it has ended."""
        if self._active.get(active.rule.name) is active:
            self.remove(active.rule.name)

    # Requests

    def _decide(self, machine: Machine, request: Any, now: Instant) -> Decision:  # noqa: ANN401
        """Say what a request comes to, after the rules have seen it.

        Raises:
            DeviceError: a rule refuses it, or cuts its caller off.
            Delayed: a rule delays or drops it.
            LogFailed: EIO; the fault cannot be recorded, and nothing has happened.
        """
        if not self.passed:
            caller, op = machine.files.files[request.handle].caller, operation_of(request)
            span = find_span(machine, request)
            for active in self._active.values():
                if active.meets(caller, op, span):
                    return self._inject(active, machine, request, now)

        return DECIDERS[type(request)](machine, request, now)

    def _decide_open(self, machine: Machine, request: Open, now: Instant, number: int) -> Decision:
        """Say what an open comes to, after the rules have seen it; errors are as of `_decide`."""
        device = DEVICES.get(request.path.rpartition(":")[2])
        if device is not None:
            who = request.process
            caller = Caller(machine.name, machine.arch.name, device, who, number)
            self.meet(caller, "open", now)

        return decide_open(machine, request, now, number)

    def meet(self, caller: Caller, op: str, now: Instant) -> None:
        """Let the rules see what is no request to an open file.

        Args:
            caller: who asks.
            op: `open` or `map`.
            now: the present moment.

        Raises:
            DeviceError, Delayed, LogFailed: as `_decide`.
        """
        if self.passed:
            return

        for active in self._active.values():
            if active.meets(caller, op, None):
                struck = active.strike(caller, op, None)
                if struck is not None:
                    raise self._end_request(active, struck, caller, op, None, now)

                return

    def _end_request(
        self, active: ActiveRule, struck: Struck, caller: Caller, op: str, span: Span, now: Instant
    ) -> DeviceError | Delayed:
        """Record a fault that ends a request or holds it up; what is to be raised."""
        error, rule = struck.error, struck.rule
        self._note(active, caller, op, span, now, error, rule)
        if error is None:
            return self._delay(rule or active.rule, _name_request(caller, op, span))

        if rule is not None and rule.action == "cut":
            self._cut_off(caller.process, error.reason)

        return error

    def _inject(
        self,
        active: ActiveRule,
        machine: Machine,
        request: Any,  # noqa: ANN401 - of any kind
        now: Instant,
    ) -> Decision:
        caller, decide = machine.files.files[request.handle].caller, DECIDERS[type(request)]
        if active.rule.action == "hang":
            return self._begin_hang(active, machine, request, now)

        op, span = operation_of(request), find_span(machine, request)
        struck = active.strike(caller, op, span)
        if struck is None:
            return decide(machine, request, now)

        if struck.change is not None and active.added is not None:
            added = active.added, active.rule, struck.change
            note = partial(self._note, active, caller, op, span, now)
            return _note_transfer(
                note, lambda: alter_transfer(*added, decide, machine, request, now)
            )

        moved = None if struck.rule is None else struck.rule.moved
        if moved is None:
            raise self._end_request(active, struck, caller, op, span, now)

        note = partial(self._note, active, caller, op, span, now, does=struck.rule)
        shorter = shorten_transfer(request, moved)

        return _note_transfer(note, partial(decide, machine, shorter, now), shorter)

    def _note(
        self,
        active: ActiveRule,
        caller: Caller,
        op: str,
        span: Span,
        now: Instant,
        error: DeviceError | None = None,
        does: FaultRule | None = None,
    ) -> None:
        """Record a fault, and count it."""
        count = active.injected + 1
        self._engine.note(FaultInjected(caller, now, active.rule, count, op, span, error, does))
        active.injected = count

    @property
    def answer_limit(self) -> float | None:
        """See `Deadlines.answer_limit`."""
        return self._engine.deadlines.answer_limit

    def _delay(self, rule: FaultRule, what: str) -> Delayed:
        due = None if rule.delay is None else self.clock.mono_ns() + round(rule.delay * 1e9)

        return Delayed(self, rule.name, due, what)

    def _cut_off(self, process: Principal, reason: str) -> None:
        """Close all files of a process for their user; what they held ends before others' turn."""
        engine = self._engine
        for machine in engine.machines.values():
            for file in machine.files.of(process):
                engine.files.owe_close(file.caller.handle, "disconnect")

        engine.deadlines.look_soon()
        for tell in self.on_cut:
            tell(process, reason)

    def _begin_hang(
        self, active: ActiveRule, machine: Machine, request: SetRange, now: Instant
    ) -> Decision:
        """Begin a commit that has no end; a SET that is refused or waits has no fault."""
        caller = machine.files.files[request.handle].caller
        if request.wait is None:
            decision = attempt_hang(machine, caller, request, now, now.mono_ns)
        else:
            bounds = request.desc.mr_base, request.desc.mr_end
            decision = decide_waiting(
                machine, caller, request, bounds, now, attempt_hang, refuse_set
            )

        if decision.error is None and isinstance(decision.events[0], CommitBegun):
            self._note(active, caller, "set", find_span(machine, request), now)

        return decision


def _note_transfer(
    note: Callable[[], None],
    decide: Callable[[], Decision],
    instead: Any = None,  # noqa: ANN401 - a transfer
) -> Decision:
    """Decide a transfer and note its fault; where a device takes part, that is when it begins."""
    try:
        decision = decide()
    except NeedsDevice as late:
        late.note, late.instead = note, instead or late.instead
        raise

    note()

    return decision


def _name_request(caller: Caller, op: str, span: Span) -> str:
    """What a request asks, and who asks it."""
    where = "" if span is None else f" {span[0]:#x}/{span[1]:#x}"

    return f"{op}{where} of {caller.process.name} on {caller.machine}"
