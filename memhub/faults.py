"""Faults on demand: rules that refuse, delay, drop, shorten or cut off requests of a hub.

Rules meet requests in one place. While there are rules, `FaultRules` stands where the engine asks
who decides a request; a hub without rules has the deciders there, as ever.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any, Self, final

import anyio

from memhub.arguments import take_kind
from memhub.core.decide import DECIDERS
from memhub.core.events import CommitBegun
from memhub.core.fault_effects import attempt_hang, refusal_of, shorten_transfer
from memhub.core.fault_rules import OPERATIONS, FaultInjected, FaultRule, find_span, operation_of
from memhub.core.files import DEVICES, Caller
from memhub.core.open_close import decide_open
from memhub.core.requests import Open
from memhub.core.set_ranges import refuse_set
from memhub.core.waiting import decide_waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memhub.clock import Clock
    from memhub.core.decision import Decision
    from memhub.core.files import Principal
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine
    from memhub.core.requests import SetRange
    from memhub.engine import Engine
    from memhub.errors import DeviceError

    Span = tuple[int, int] | None


class Delayed(anyio.WouldBlock):
    """Raised by `Engine.submit` for a request that a rule delays or drops; nothing has happened.

    Attributes:
        due_ns: when it is to be submitted, monotonic nanoseconds; None for never.
    """

    def __init__(self, rules: FaultRules, name: str, due_ns: int | None) -> None:
        does = "drops this request, which is never answered" if due_ns is None else "delays this"
        super().__init__(f"fault rule {name!r} {does}")
        self.due_ns = due_ns
        self._rules = rules

    async def wait(self) -> None:
        """Wait until the request is due, or for ever."""
        if self.due_ns is None:
            await anyio.sleep_forever()
        else:
            await self._rules.clock.sleep_until(self.due_ns)

    def seconds_left(self) -> float | None:
        """Seconds until the request is due; None for never."""
        if self.due_ns is None:
            return None

        return max(0, self.due_ns - self._rules.clock.mono_ns()) / 1e9

    def passing(self) -> PassedRules:
        """A block, without an await in it, in which the request is submitted past the rules."""
        return PassedRules(self._rules)


class PassedRules:
    """A block in which no rule meets a request: one fault for each request is enough."""

    def __init__(self, rules: FaultRules) -> None:
        self._rules = rules

    def __enter__(self) -> None:
        self._rules.passed += 1

    def __exit__(self, *_: object) -> None:
        self._rules.passed -= 1


@final
class ActiveRule:
    """A rule that a hub has; leave its `with` block, or call `remove`, to end it.

    Attributes:
        rule: the rule, with its name.
        seen: requests that matched it.
        injected: faults among them.
    """

    def __init__(self, rules: FaultRules, rule: FaultRule) -> None:
        self.rule = rule
        self.seen = 0
        self.injected = 0
        self._rules = rules
        self._random = Random(f"{rule.seed}/{rule.name}")  # noqa: S311 - to be repeated

    def __repr__(self) -> str:
        return f"<ActiveRule {self.rule.name!r}, {self.injected} faults of {self.seen} requests>"

    def remove(self) -> None:
        """End the rule. Twice is once."""
        self._rules.drop(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def meets(self, caller: Caller, op: str, span: tuple[int, int] | None) -> bool:
        """Count a request that matches; whether it is to have the fault."""
        rule = self.rule
        if not rule.matches(caller, op, span):
            return False

        self.seen += 1
        drawn = rule.probability == 1 or self._random.random() < rule.probability

        return (
            drawn
            and (rule.nth is None or self.seen == rule.nth)
            and (rule.times is None or self.injected < rule.times)
        )

    def as_dict(self) -> dict[str, Any]:
        """The rule and its counts, for JSON."""
        return {**self.rule.as_dict(), "seen": self.seen, "injected": self.injected}


@final
class FaultRules:
    """The fault rules of one hub, in the order in which they were added.

    The first rule that meets a request decides about it; later rules do not count it.

    Args:
        engine: the hub's synchronous half.

    Attributes:
        clock: the hub's clock, by which delays run.
        passed: blocks that are open in which no rule meets a request.
        on_cut: told of each process that is cut off, and why.
    """

    def __init__(self, engine: Engine) -> None:
        self.clock: Clock = engine.clock
        self.passed = 0
        self.on_cut: list[Callable[[Principal, str], None]] = []
        self._engine = engine
        self._active: dict[str, ActiveRule] = {}
        self._last = 0

    def __iter__(self) -> Iterator[ActiveRule]:
        return iter(tuple(self._active.values()))

    def __len__(self) -> int:
        return len(self._active)

    def add(self, rule: FaultRule) -> ActiveRule:
        """Add a rule; it meets the requests that are submitted from now on.

        Args:
            rule: the rule; without a name it is called `fault-1`, `fault-2`, and so on.

        Returns:
            the rule as the hub has it; in `with`, it ends with the block.

        Raises:
            ValueError: a rule has this name, or there is no such machine.
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
            self._last += 1
            name = f"fault-{self._last}"
            rule = rule if name in self._active else replace(rule, name=name)

        active = self._active[rule.name] = ActiveRule(self, rule)
        ours: dict[type, Any] = {**dict.fromkeys(OPERATIONS, self._decide), Open: self._decide_open}
        self._engine.deciders = {**DECIDERS, **ours}

        return active

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
                raise self._strike(active, caller, op, None, now)

    def _strike(
        self, active: ActiveRule, caller: Caller, op: str, span: Span, now: Instant
    ) -> DeviceError | Delayed:
        """Record a fault that ends a request or holds it up; what is to be raised."""
        error = refusal_of(active.rule, caller)
        self._note(active, caller, op, span, now, error)
        if error is None:
            return self._delay(active.rule)

        if active.rule.action == "cut":
            self._cut_off(caller.process, error.reason)

        return error

    def _inject(
        self,
        active: ActiveRule,
        machine: Machine,
        request: Any,  # noqa: ANN401 - of any kind
        now: Instant,
    ) -> Decision:
        rule, caller = active.rule, machine.files.files[request.handle].caller
        if rule.action == "hang":
            return self._begin_hang(active, machine, request, now)

        op, span = operation_of(request), find_span(machine, request)
        if rule.moved is None:
            raise self._strike(active, caller, op, span, now)

        self._note(active, caller, op, span, now)

        return DECIDERS[type(request)](machine, shorten_transfer(request, rule.moved), now)

    def _note(
        self,
        active: ActiveRule,
        caller: Caller,
        op: str,
        span: Span,
        now: Instant,
        error: DeviceError | None = None,
    ) -> None:
        """Record a fault, and count it."""
        count = active.injected + 1
        self._engine.note(FaultInjected(caller, now, active.rule, count, op, span, error))
        active.injected = count

    def _delay(self, rule: FaultRule) -> Delayed:
        due = None if rule.delay is None else self.clock.mono_ns() + round(rule.delay * 1e9)

        return Delayed(self, rule.name, due)

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
