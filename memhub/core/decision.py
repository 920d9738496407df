"""What a request comes to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from memhub.core.events import Event
    from memhub.core.holding.commits import Commit
    from memhub.core.holding.waits import Wait
    from memhub.core.machine import Machine
    from memhub.errors import DeviceError


class Decision(NamedTuple):
    """What a request comes to: a reply or an error, and the facts that make it so.

    Attributes:
        reply: the answer; meaningless where `error` is set or the answer is still to come.
        error: why the request is refused.
        events: the facts, in order of effect.
        changes: whether any of them changes the machine.
        pending: the wait or commit at whose end the answer comes, or None.
    """

    reply: Any = None
    error: DeviceError | None = None
    events: tuple[Event, ...] = ()
    changes: bool = True
    pending: Wait | Commit | None = None


def take_back(machine: Machine, decision: Decision) -> None:
    """Take back what a decision has made true, the last fact first."""
    if decision.changes:
        for event in reversed(decision.events):
            machine.unapply(event)
