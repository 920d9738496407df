"""What a claim is, and how one is put in words. The rules are in `ownership.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from memhub.errors import Obstacle, RangeBusy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memhub.abi import RangeDesc
    from memhub.core.requests import Principal


@dataclass(slots=True, eq=False)
class Claim:
    """What one process holds.

    Attributes:
        fence: the fencing number.
        process: the holder.
        kind: `update` (rule 1) or `range` (rule 2).
        base: first byte of what was claimed.
        end: one past its last byte.
        since: wall-clock seconds when it was taken.
        expires: monotonic seconds at which the lease runs out, or None.
        slots: the slots it still holds, each with the bytes it protects there.
    """

    fence: int
    process: Principal
    kind: Literal["update", "range"]
    base: int
    end: int
    since: float
    expires: float | None = None
    slots: dict[int, tuple[int, int]] = field(default_factory=dict)

    def obstacle(self, *, slot: int | None = None, desc: RangeDesc | None = None) -> Obstacle:
        """This claim as what stood in the way."""
        base, end = (
            self.slots.get(slot, (self.base, self.end))
            if slot is not None
            else (
                self.base,
                self.end,
            )
        )

        return Obstacle(
            kind="claim",
            slot=slot,
            base=base,
            length=end - base,
            owner=desc.owner if desc is not None else None,
            process=self.process.name,
            process_id=self.process.id,
            pid=self.process.pid,
            since=self.since,
        )


@dataclass(frozen=True, slots=True)
class LostClaim:
    """A claim that its holder did not give up itself (rule 7)."""

    claim: Claim
    cause: Literal["expire", "break"]
    reason: str

    def __str__(self) -> str:
        claim = self.claim
        what = f"claim {claim.fence} on {claim.base:#x}-{claim.end - 1:#x}"
        how = "its lease ran out" if self.cause == "expire" else f"it was broken: {self.reason}"

        return f"{what} is no longer yours: {how}"


def describe(claim: Claim) -> str:
    """A claim in words, for a reason."""
    who = (
        claim.process.name
        if claim.process.pid is None
        else (f"{claim.process.name} (pid {claim.process.pid})")
    )

    return f"the claim of {who} on {claim.base:#x}-{claim.end - 1:#x}"


def busy(obstacles: Sequence[Obstacle]) -> RangeBusy:
    """The EBUSY that names every obstacle."""
    return RangeBusy("; ".join(map(_in_words, obstacles)), obstacles=tuple(obstacles))


def _in_words(it: Obstacle) -> str:
    what = f"slot {it.slot} " if it.slot is not None else ""
    label = f" (owner {it.owner})" if it.owner else ""
    who = it.process if it.pid is None else f"{it.process} (pid {it.pid})"
    held = "being committed by" if it.kind == "commit" else "claimed by"

    return (
        f"{what}{it.base or 0:#x}/{it.length or 0:#x}{label} is {held} {who} since {it.since_text}"
    )
