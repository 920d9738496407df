"""Claims by request: take, release, renew, break, expire, leave.

What they mean is in `ownership.py` (rules 2 and 6); these are the operations that a handle or
an embedder asks for, each an Outcome that happens whole or not at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.abi import MDF_ACTIVE, U64_MAX
from memhub.core.claims.claim import Claim, busy
from memhub.core.ranges.commits import expiry
from memhub.core.requests import Effect, Outcome
from memhub.errors import InvalidArgument, NoSuchRange

if TYPE_CHECKING:
    from memhub.core.ranges.commits import Instant
    from memhub.core.ranges.owned import OwnedRanges
    from memhub.core.requests import Principal
    from memhub.errors import Obstacle


class ClaimDesk:
    """Where the processes of one machine take and give back claims.

    Args:
        ranges: the machine's ranges, with the ownership that this works on.
    """

    def __init__(self, ranges: OwnedRanges) -> None:
        self._ranges = ranges
        self._ownership = ranges.ownership

    def claim(
        self, process: Principal, base: int, length: int, now: Instant, lease: float | None = None
    ) -> Outcome:
        """Claim a stretch of addresses (rule 2 of `ownership.py`).

        Returns:
            an Outcome whose reply is the Claim; EBUSY if a byte of it is another's.
        """
        return self._ranges.attempt(lambda: self._claim(process, *span(base, length), now, lease))

    def _claim(
        self, process: Principal, base: int, end: int, now: Instant, lease: float | None
    ) -> Outcome:
        blocked = [
            commit.obstacle()
            for commit in self._ranges.commits
            if commit.request.process.id != process.id
            and commit.bounds[0] < end
            and base < commit.bounds[1]
        ]
        if blocked:
            raise busy(blocked)

        expires = expiry(lease, now)
        inside = self._inside(base, end)
        claim = self._ownership.take_range(process, base, end, inside, now.wall, expires)

        return Outcome(reply=claim, claimed=tuple(claim.slots), fence=claim.fence)

    def _inside(self, base: int, end: int) -> dict[int, tuple[int, int]]:
        if self._ranges.table is None:
            return {}

        return {
            slot: (desc.mr_base, desc.mr_end)
            for slot, desc in enumerate(self._ranges.table.state.slots)
            if desc.mr_flags & MDF_ACTIVE and base <= desc.mr_base and desc.mr_end <= end
        }

    def blocking(self, process: Principal, base: int, length: int) -> tuple[Obstacle, ...]:
        """The claims of others, and the commits, that keep a range from being free."""
        claims = self._ownership.foreign(process, base, base + length).values()
        commits = [
            c for c in self._ranges.commits if c.bounds[0] < base + length and base < c.bounds[1]
        ]

        return (*(c.obstacle() for c in claims), *(c.obstacle() for c in commits))

    def release(self, process: Principal, base: int, length: int) -> Outcome:
        """Give back the claims of `process` that lie inside a range.

        Returns:
            an Outcome with the slots that are free now; ENOENT if there was no such claim.
        """
        return self._ranges.attempt(lambda: self._release(process, *span(base, length)))

    def _release(self, process: Principal, base: int, end: int) -> Outcome:
        ended = self._ownership.release(process, base, end)
        if not ended:
            raise NoSuchRange(f"{process.name} holds no claim inside {base:#x}-{end - 1:#x}")

        slots = tuple(slot for _, lost in ended for slot in lost)

        return Outcome(released=slots, fence=ended[0][0].fence)

    def renew(self, process: Principal, fence: int, lease: float | None, now: Instant) -> Outcome:
        """Let a claim run for `lease` more seconds from now; None makes it last.

        Returns:
            an Outcome whose reply is the Claim; EBUSY, with what became of it, if it is lost.
        """
        return self._ranges.attempt(lambda: self._renew(process, fence, lease, now))

    def _renew(self, process: Principal, fence: int, lease: float | None, now: Instant) -> Outcome:
        claim = self._ownership.check_fence(process, fence)
        self._ownership.set_lease(claim, expiry(lease, now))

        return Outcome(reply=claim, fence=fence)

    def break_claim(self, fence: int, reason: str) -> Outcome:
        """Take a claim from its holder; the embedder's last resort.

        Args:
            fence: the claim's fencing number.
            reason: why; the holder and the log are told.

        Returns:
            an Outcome with one effect; ENOENT if there is no such claim.
        """
        return self._ranges.attempt(lambda: self._break(fence, reason))

    def _break(self, fence: int, reason: str) -> Outcome:
        claim = self._ownership.claims.get(fence)
        if claim is None:
            raise NoSuchRange(f"there is no claim {fence}")

        effect = ended_effect("claim.break", claim, "break", reason)
        self._ownership.lose(claim, "break", reason)

        return Outcome(released=effect.slots, fence=fence, effects=[effect])

    def overdue(self, now: Instant) -> bool:
        """Whether a lease has run out."""
        leases = self._ownership.leases

        return bool(leases) and min(leases.values()) <= now.mono

    def expire(self, now: Instant) -> Outcome:
        """End every claim whose lease has run out."""
        return self._ranges.attempt(lambda: self._expire(now))

    def _expire(self, now: Instant) -> Outcome:
        leases = self._ownership.leases
        due = sorted(fence for fence, expires in leases.items() if expires <= now.mono)
        effects = []
        for fence in due:
            claim = self._ownership.claims[fence]
            effects.append(ended_effect("claim.expire", claim, "expire"))
            self._ownership.lose(claim, "expire", "its lease ran out")

        return Outcome(effects=effects)

    def leave(self, process: Principal) -> list[Effect]:
        """End all that `process` holds: it closed its last handle."""
        ended = self._ownership.held_by(process)
        effects = [ended_effect("claim.release", claim, "close") for claim in ended]
        for claim in ended:
            self._ownership.end(claim)

        self._ownership.forget(process)

        return effects


def ended_effect(event: str, claim: Claim, cause: str, reason: str | None = None) -> Effect:
    """The effect of a claim's end; made before the claim gives up its slots."""
    return Effect(
        event=event,
        process=claim.process,
        base=claim.base,
        length=claim.end - claim.base,
        slots=tuple(claim.slots),
        fence=claim.fence,
        cause=cause,
        reason=reason,
    )


def span(base: int, length: int) -> tuple[int, int]:
    """The bounds `[base, end)` of a range given by a client.

    Raises:
        InvalidArgument: EINVAL; it is empty or does not fit 64 bits.
    """
    if not 0 <= base <= U64_MAX or length <= 0 or base + length > U64_MAX + 1:
        raise InvalidArgument(f"{base:#x}/{length:#x} is no range of 64-bit addresses")

    return base, base + length
