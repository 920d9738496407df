"""What a claim is, how a fact changes one, and how one is put in words.

The rules are in `ownership.py`; the claims of one machine are kept in `claim_table.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from memhub.errors import Obstacle, RangeBusy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from memhub.abi import RangeDesc
    from memhub.core.files import Principal

#: Why a process lost a claim that it did not release.
LossCause = Literal["expire", "break"]

#: How many of those in the way a refusal describes; the others are counted.
NAMED_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class Claim:
    """What one process holds.

    Attributes:
        fence: the fencing number.
        process: the holder.
        kind: `update` (rule 1 of `ownership.py`) or `range` (rule 2).
        base: first byte of what was claimed.
        end: one past its last byte.
        since_ns: when it was taken, wall clock, nanoseconds since 1970.
        expires_ns: when its lease ends, monotonic nanoseconds, or None.
        slots: the slots it still holds, each with the bytes `[base, end)` it protects there;
            never changed in place.
    """

    fence: int
    process: Principal
    kind: Literal["update", "range"]
    base: int
    end: int
    since_ns: int
    expires_ns: int | None
    slots: Mapping[int, tuple[int, int]]

    def obstacle(self, *, slot: int | None = None, desc: RangeDesc | None = None) -> Obstacle:
        """This claim as what stood in the way."""
        base, end = self.base, self.end
        if slot is not None:
            base, end = self.slots.get(slot, (base, end))

        return Obstacle(
            kind="claim",
            slot=slot,
            base=base,
            length=end - base,
            owner=desc.owner if desc is not None else None,
            process=self.process.name,
            process_id=self.process.id,
            pid=self.process.pid,
            since=self.since_ns / 1e9,
        )

    def covers(self, lo: int, hi: int) -> bool:
        """Whether it holds every byte of `[lo, hi)`: of an update, those of slots it still has."""
        if self.kind == "update":
            for base, end in sorted(self.slots.values()):
                lo = max(lo, end) if base <= lo else lo

            return lo >= hi

        return self.base <= lo and hi <= self.end

    def without_slots(self, slots: Iterable[int]) -> Claim | None:
        """This claim after it lost some of its slots, or None if it ends with them (rule 5)."""
        gone = set(slots)
        left = {slot: span for slot, span in self.slots.items() if slot not in gone}
        if not left and self.kind == "update":
            return None

        return replace(self, slots=left)

    def with_lease(self, expires_ns: int | None) -> Claim:
        """This claim with another lease."""
        return replace(self, expires_ns=expires_ns)


class ClaimChange(NamedTuple):
    """One claim before and after a fact; None where it does not exist.

    Attributes:
        before: the claim before.
        after: the claim after.
    """

    before: Claim | None
    after: Claim | None


@dataclass(frozen=True, slots=True)
class LostClaim:
    """A claim that its holder did not give up itself (rule 7).

    Attributes:
        fence: the fencing number.
        process: who held it.
        base: first byte of what was claimed.
        end: one past its last byte.
        since_ns: when it was taken, wall clock, nanoseconds since 1970.
        lost_ns: when it was lost, monotonic nanoseconds.
        cause: `expire` or `break`.
        reason: why, in words.
        by: the process that broke it, where one did.
        order: its place among the losses of the process, which is told the lowest first.
    """

    fence: int
    process: Principal
    base: int
    end: int
    since_ns: int
    lost_ns: int
    cause: LossCause
    reason: str
    by: Principal | None = None
    order: int = 0

    def __str__(self) -> str:
        what = f"claim {self.fence} on {self.base:#x}-{self.end - 1:#x}"
        broken = f"it was broken: {self.reason}" if self.reason else "it was broken"
        how = "its lease ran out" if self.cause == "expire" else broken

        return f"{what} is no longer yours: {how}"

    def obstacle(self) -> Obstacle:
        """The lost claim as what stood in the way; its process is the one that broke it."""
        by = self.by

        return Obstacle(
            kind="broken",
            base=self.base,
            length=self.end - self.base,
            process=None if by is None else by.name,
            process_id=None if by is None else by.id,
            pid=None if by is None else by.pid,
            since=self.since_ns / 1e9,
        )


def describe_claim(claim: Claim) -> str:
    """A claim in words, for a reason."""
    who = claim.process.name
    if claim.process.pid is not None:
        who = f"{who} (pid {claim.process.pid})"

    return f"the claim of {who} on {claim.base:#x}-{claim.end - 1:#x}"


def name_blocking(claims: Iterable[Claim]) -> tuple[list[Obstacle], int]:
    """The claims in the way as obstacles: the first of them, and one of each further process.

    Returns:
        the obstacles, and how many claims are not among them.
    """
    named: dict[int, Obstacle] = {}
    met: set[int] = set()
    fences: set[int] = set()
    for claim in claims:
        fences.add(claim.fence)
        if claim.fence not in named and (len(named) < NAMED_MAX or claim.process.id not in met):
            named[claim.fence] = claim.obstacle()
            met.add(claim.process.id)

    return list(named.values()), len(fences) - len(named)


def busy_error(obstacles: Sequence[Obstacle], more: int = 0) -> RangeBusy:
    """The EBUSY that has every obstacle, and describes the first of them.

    Args:
        obstacles: what is in the way.
        more: how many others there are.
    """
    words = [_describe_obstacle(it) for it in obstacles[:NAMED_MAX]]
    more += len(obstacles) - len(words)
    if more:
        words.append(f"{more} more")

    return RangeBusy("; ".join(words), obstacles=tuple(obstacles))


def _describe_obstacle(it: Obstacle) -> str:
    what = f"slot {it.slot} " if it.slot is not None else ""
    label = f" (owner {it.owner})" if it.owner else ""
    who = it.process if it.pid is None else f"{it.process} (pid {it.pid})"
    held = "being committed by" if it.kind == "commit" else "claimed by"

    return (
        f"{what}{it.base or 0:#x}/{it.length or 0:#x}{label} is {held} {who} since {it.since_text}"
    )
