"""Fault rules as a hub has them: what each has met, and what requests meet that it delays."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, Protocol, Self, final

import anyio

from memhub.core.faults.fault_effects import refusal_of
from memhub.engine.pending import say_limit
from memhub.errors import NeverAnswered
from memhub.faults.added_faults import AddedKind, Struck

if TYPE_CHECKING:
    from memhub.clock import Clock
    from memhub.core.faults.fault_rules import FaultRule
    from memhub.core.files import Caller

    Span = tuple[int, int] | None


class RuleOwner(Protocol):
    """The rules of a hub.

    Attributes:
        clock: by which delays run.
        answer_limit: seconds of real time after which who waits for a request that was dropped is
            told so; None for never.
        passed: blocks that are open in which no rule meets a request.
    """

    clock: Clock
    passed: int

    @property
    def answer_limit(self) -> float | None:
        """See above."""

    def drop(self, active: ActiveRule) -> None:
        """End a rule, unless it has ended."""


class Delayed(anyio.WouldBlock):
    """Raised by `Engine.submit` for a request that a rule delays or drops; nothing has happened.

    Attributes:
        due_ns: when it is to be submitted, monotonic nanoseconds; None for never.
    """

    def __init__(self, rules: RuleOwner, name: str, due_ns: int | None, what: str) -> None:
        does = "drops this request, which is never answered" if due_ns is None else "delays this"
        super().__init__(f"fault rule {name!r} {does}: {what}")
        self.due_ns = due_ns
        self._rules = rules

    async def wait(self) -> None:
        """Wait until the request is due, or for ever.

        Raises:
            NeverAnswered: it was dropped, and the limit is over.
        """
        limit = self._rules.answer_limit
        if self.due_ns is not None:
            await self._rules.clock.sleep_until(self.due_ns)
        elif limit is None:
            await anyio.sleep_forever()
        else:
            await anyio.sleep(limit)
            raise NeverAnswered(say_limit(str(self), limit))

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

    def __init__(self, rules: RuleOwner) -> None:
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
        added: its fault kind, where a plugin adds that.
    """

    def __init__(self, rules: RuleOwner, rule: FaultRule, added: AddedKind | None = None) -> None:
        self.rule = rule
        self.seen = 0
        self.injected = 0
        self._rules = rules
        self.added = added
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

    def strike(self, caller: Caller, op: str, span: Span) -> Struck | None:
        """What becomes of a request that is to have the fault; None where it passes."""
        if self.added is None:
            return Struck(self.rule, refusal_of(self.rule, caller))

        number = self.injected + 1
        return self.added.strike(self.rule, caller, op, span, number, self._random)

    def as_dict(self) -> dict[str, Any]:
        """The rule and its counts, for JSON."""
        return {**self.rule.as_dict(), "seen": self.seen, "injected": self.injected}
