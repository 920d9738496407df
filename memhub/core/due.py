"""What time brings about: leases that end, commits that take effect, waits that give up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.core.claim_requests import decide_expiry
from memhub.core.decision import Decision
from memhub.core.set_ranges import decide_commit
from memhub.core.waiting import decide_timeout

if TYPE_CHECKING:
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine
    from memhub.core.requests import Tick


def decide_tick(machine: Machine, _request: Tick, now: Instant) -> Decision:
    """The next thing that is due.

    Leases end first, then commits take effect, oldest first, then waits give up; whoever can go
    on after one of these is served before the next.

    Returns:
        one decision; one without facts when nothing is due.
    """
    if machine.claims.expired(now.mono_ns):
        return decide_expiry(machine, now)

    for commit in machine.commits:
        if commit.due_ns <= now.mono_ns:
            return decide_commit(machine, commit, now)

    ended = [decide_timeout(machine, wait, now) for wait in machine.waits.overdue(now.mono_ns)]
    facts = tuple(event for decision in ended for event in decision.events)

    return Decision(None, None, facts, changes=bool(facts))
