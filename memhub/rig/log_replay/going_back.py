"""A return to a snapshot that a log tells of, put to a machine of a replay.

The log has what the machine then is and holds, and not its memory, which stays as it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memhub.audit.rows import holdings_in, machine_of
from memhub.audit.rows.columns import instant_of
from memhub.core.caches.make import capture_caches
from memhub.core.holdings import give_holdings
from memhub.core.snapshots import take_snapshot
from memhub.errors import DeviceError
from memhub.rig.log_replay.asking import Unplayable
from memhub.snapshots.snapshot import Snapshot, reset_machines, restore_machines

if TYPE_CHECKING:
    from memhub.core.claims import Claim, LostClaim
    from memhub.core.files import OpenFile
    from memhub.rig.log_replay.asking import Life
    from memhub.rig.log_replay.steps import LogStep


def go_back(life: Life, step: LogStep) -> None:
    """Put a `device.restore`.

    Raises:
        Unplayable: the machine is of another architecture.
    """
    (machine,) = life.engine.machines.values()
    cause = step.row["cause"]
    if cause == "reset":
        _reset(life, step)
        return

    if machine.arch.name != step.row["arch"]:
        raise Unplayable("it goes back to a snapshot, which this machine does not have")

    then = machine_of(step.row, {machine.arch.name: machine.arch})
    for part in step.parts:
        give_holdings(then, holdings_in(part, then))

    found = take_snapshot(then, instant_of(step.row))
    snapshot = replace(
        found,
        memory=machine.memory.capture(),
        caches=capture_caches(machine.caches),
        files=tuple(_as_here(life, it) for it in found.files),
        claims=tuple(_claim_here(life, it) for it in found.claims),
        losses=tuple(_loss_here(life, it) for it in found.losses),
    )
    then.close()
    try:
        restore_machines(life.engine, Snapshot({machine.name: snapshot}))
    except DeviceError as error:
        raise Unplayable(f"it goes back to a snapshot: {error.reason}") from None


def _reset(life: Life, step: LogStep) -> None:
    """Put a reset; what a machine was at its start is in the log, or else in this record."""
    (machine,) = life.engine.machines.values()
    if not life.held or machine.table is None:
        reset_machines(life.engine)
        return

    if machine.arch.name != step.row["arch"]:
        raise Unplayable("it is reset to a start that this machine did not have")

    then = machine_of(step.row, {machine.arch.name: machine.arch})
    machine.table.first = None if then.table is None else then.table.first
    then.close()
    reset_machines(life.engine)


def _as_here(life: Life, file: OpenFile) -> OpenFile:
    """A file of the log, as the file of the replay that it is."""
    handle = file.caller.handle

    return replace(file, caller=replace(file.caller, handle=life.files.get(handle, -handle)))


def _loss_here(life: Life, lost: LostClaim) -> LostClaim:
    return replace(lost, fence=life.fences.get(lost.fence, lost.fence))


def _claim_here(life: Life, claim: Claim) -> Claim:
    return replace(claim, fence=life.fences.get(claim.fence, claim.fence))
