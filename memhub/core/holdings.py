"""What a machine holds beside its table and its memory, as a value: to write it down whole.

A file of the log begins with it, so that a machine can be made from that file alone. It is part of
how such a machine is made and not a fact: nothing decides it, and nothing takes it back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from memhub.core.claims import ClaimChange
from memhub.core.health.failure import note_refusing

if TYPE_CHECKING:
    from memhub.core.claims import Claim, LostClaim
    from memhub.core.drivers.served_kernel import KernelState
    from memhub.core.files import OpenFile
    from memhub.core.health.failure import Failure
    from memhub.core.health.health import Health
    from memhub.core.holding.commits import Commit
    from memhub.core.holding.waits import Wait
    from memhub.core.machine import Machine
    from memhub.core.ranges.undo import UndoNotes
    from memhub.errors import RangeBusy


class Holdings(NamedTuple):
    """All that a machine holds, or a part of it.

    Attributes:
        files: the open files, oldest first.
        claims: the claims, oldest first.
        losses: the claims whose holders do not know yet that they lost them.
        waits: the waits in their order, each with what it was told last, where that is known.
        commits: the commits in flight, oldest first.
        notes: what is to be put back; None in a part without them.
        last_fence: the highest fencing number given out.
        last_wait: the highest number of a wait.
        last_commit: the highest number of a commit.
        failed: why the machine is marked failed, or None.
        health: what is wrong with its registers, or None.
        kernel: the state of its kernel, where that is another than FreeBSD.
    """

    files: tuple[OpenFile, ...] = ()
    claims: tuple[Claim, ...] = ()
    losses: tuple[LostClaim, ...] = ()
    waits: tuple[tuple[Wait, RangeBusy | None], ...] = ()
    commits: tuple[Commit, ...] = ()
    notes: UndoNotes | None = None
    last_fence: int = 0
    last_wait: int = 0
    last_commit: int = 0
    failed: Failure | None = None
    health: Health | None = None
    kernel: KernelState | None = None


def holdings_of(machine: Machine) -> Holdings:
    """What a machine holds now."""
    claims, waits, commits = machine.claims, machine.waits, machine.commits

    return Holdings(
        tuple(machine.files),
        tuple(claims.claims.values()),
        tuple(lost for mine in claims.lost.values() for lost in mine.values()),
        tuple((wait, waits.refusals.get(wait.number)) for wait in waits),
        tuple(commits),
        machine.notes,
        claims.last_fence,
        waits.last,
        commits.last,
        machine.failed,
        machine.health,
        None if machine.served is None else machine.served.state,
    )


def give_holdings(machine: Machine, held: Holdings) -> None:
    """Let a machine that is being made from a log hold this too."""
    for file in held.files:
        machine.files.add(file)

    machine.claims.change(ClaimChange(None, claim) for claim in held.claims)
    for lost in held.losses:
        machine.claims.add_lost(lost)

    for wait, refusal in held.waits:
        machine.waits.add(wait, refusal)

    for commit in held.commits:
        machine.commits.add(commit)

    if held.notes is not None:
        machine.notes = held.notes

    machine.failed = held.failed or machine.failed
    machine.health = held.health or machine.health
    if held.kernel is not None and machine.served is not None:
        machine.served.state = held.kernel

    note_refusing(machine)

    machine.claims.last_fence = max(machine.claims.last_fence, held.last_fence)
    machine.waits.last = max(machine.waits.last, held.last_wait)
    machine.commits.last = max(machine.commits.last, held.last_commit)
