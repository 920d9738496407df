"""The claims on one machine, as data, and the indexes over them.

`change` and `revert` are the only ways in. What may happen is decided in `ownership.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from memhub.core.holding.due_times import DueTimes
from memhub.core.holding.overlap import OverlapIndex
from memhub.core.instant import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from memhub.core.claims import Claim, ClaimChange, LostClaim
    from memhub.core.files import Principal


@dataclass(slots=True)
class ClaimTable:
    """Claims by fencing number, by slot, by process and by the bytes they protect.

    Attributes:
        claims: the live claims by fencing number, oldest first.
        last_fence: the highest fencing number given out.
        lost: claims that were lost and whose holders have not been told: process id to fencing
            number to claim, in the order of the losses.
        epoch: changes whenever a claim does.
        first_expiry: monotonic nanoseconds before which no lease ends.
        by_slot: the claim that each claimed slot belongs to.
        by_process: the claims of each process that has some, by fencing number, oldest first.
    """

    claims: dict[int, Claim] = field(default_factory=dict)
    last_fence: int = 0
    lost: dict[int, dict[int, LostClaim]] = field(default_factory=dict)
    epoch: int = field(default=0, compare=False)
    first_expiry: int = field(default=NEVER, compare=False)
    by_slot: dict[int, Claim] = field(default_factory=dict, compare=False, repr=False)
    by_process: dict[int, dict[int, Claim]] = field(default_factory=dict, compare=False, repr=False)
    _index: OverlapIndex = field(default_factory=OverlapIndex, compare=False, repr=False)
    _expiries: DueTimes = field(default_factory=DueTimes, compare=False, repr=False)

    # Looking

    def busy_slots(self, process: Principal | None) -> list[int]:
        """Slots that belong to somebody other than `process` (rule 3)."""
        own = None if process is None else process.id

        return [slot for slot, claim in self.by_slot.items() if claim.process.id != own]

    def held_by(self, process: Principal) -> list[Claim]:
        """The claims of one process, oldest first."""
        return list(self.by_process.get(process.id, {}).values())

    def holder(self, slot: int) -> Claim | None:
        """The claim that a slot belongs to."""
        return self.by_slot.get(slot)

    def only_holder(self, process: Principal) -> bool:
        """Whether nobody but `process` holds a claim."""
        return not self.claims or self.by_process.keys() == {process.id}

    def overlapping(self, lo: int, hi: int) -> Iterator[tuple[int, int, Claim]]:
        """Each stretch that a claim protects and that shares a byte with `[lo, hi)`.

        Yields:
            the bounds of the stretch, and the claim.
        """
        for base, end, fence in self._index.overlapping(lo, hi):
            yield base, end, self.claims[fence]

    def foreign(self, process: Principal, lo: int, hi: int) -> Iterator[Claim]:
        """Other processes' claims that protect a byte of `[lo, hi)`; one may come repeatedly."""
        for _, _, claim in self.overlapping(lo, hi):
            if claim.process.id != process.id:
                yield claim

    def has_foreign(self, process: Principal, lo: int, hi: int) -> bool:
        """Whether another process's claim protects a byte of `[lo, hi)`."""
        return next(self.foreign(process, lo, hi), None) is not None

    def find_range(self, process: Principal, lo: int, hi: int) -> Claim | None:
        """The claim that `process` made of just the bytes of `[lo, hi)`, not by setting a slot."""
        for _, _, claim in self.overlapping(lo, hi):
            if (
                claim.kind == "range"
                and (claim.base, claim.end) == (lo, hi)
                and claim.process.id == process.id
            ):
                return claim

        return None

    def count_of(self, process: int) -> int:
        """How many claims a process holds, or has lost without having been told."""
        return len(self.by_process.get(process, ())) + len(self.lost.get(process, ()))

    def expired(self, mono_ns: int) -> list[Claim]:
        """The claims whose leases have ended at a moment, oldest first."""
        if mono_ns < self.first_expiry:
            return []

        return [self.claims[fence] for fence in self._expiries.passed(mono_ns)]

    def lost_by(self, process: Principal) -> Iterable[LostClaim]:
        """What `process` lost and has not been told of."""
        return self.lost.get(process.id, {}).values()

    def next_loss(self, process: Principal) -> int:
        """The `order` of the next claim that `process` loses."""
        mine = self.lost.get(process.id)

        return 1 + next(reversed(mine.values())).order if mine else 1

    # Changing

    def change(self, changes: Iterable[ClaimChange]) -> None:
        """Make changes true, in order."""
        for before, after in changes:
            self._replace_claim(before, after)
            if before is None and after is not None:
                self.last_fence = after.fence

    def revert(self, changes: tuple[ClaimChange, ...]) -> None:
        """Take changes back, the last first."""
        for before, after in reversed(changes):
            self._replace_claim(after, before)
            if before is None and after is not None:
                self.last_fence = after.fence - 1

    def replace(
        self, claims: Iterable[Claim], losses: Iterable[LostClaim], last_fence: int
    ) -> None:
        """Hold these claims and losses, and no others."""
        for claim in list(self.claims.values()):
            self._replace_claim(claim, None)

        # in their order, none comes back to a place before others
        self.last_fence, self.lost, self.epoch = 0, {}, self.epoch + 1
        for claim in sorted(claims, key=lambda it: it.fence):
            self._replace_claim(None, claim)

        self.last_fence = last_fence
        for lost in losses:
            self.add_lost(lost)

        self.recount_leases()

    def add_lost(self, lost: LostClaim) -> None:
        """Remember what a process is to be told."""
        mine = self.lost.setdefault(lost.process.id, {})
        in_order = not mine or next(reversed(mine.values())).order < lost.order
        mine[lost.fence] = lost
        if not in_order:
            self.lost[lost.process.id] = dict(sorted(mine.items(), key=_loss_order))

    def drop_lost(self, lost: LostClaim) -> None:
        """Forget what a process was told, or what no longer matters."""
        mine = self.lost[lost.process.id]
        del mine[lost.fence]
        if not mine:
            del self.lost[lost.process.id]

    def recount_leases(self) -> int:
        """Find the first lease to end anew; `first_expiry` is only a lower bound until then."""
        self.first_expiry = self._expiries.first()

        return self.first_expiry

    def _replace_claim(self, before: Claim | None, after: Claim | None) -> None:
        self.epoch += 1
        if before is not None:
            self._unindex_claim(before)
            if before.expires_ns is not None:
                self._expiries.discard(before.fence)

            if after is None:
                self._forget_claim(before)

        if after is not None:
            self._keep_claim(after, new=before is None)
            self._index_claim(after)

    def _keep_claim(self, claim: Claim, *, new: bool) -> None:
        fence, process = claim.fence, claim.process.id
        self.claims[fence] = claim
        mine = self.by_process.setdefault(process, {})
        mine[fence] = claim
        if new and fence < self.last_fence:  # it comes back: both tables are oldest first
            self.claims = dict(sorted(self.claims.items()))
            self.by_process[process] = dict(sorted(mine.items()))

        if claim.expires_ns is not None:
            self._expiries.put(fence, claim.expires_ns)
            self.first_expiry = min(self.first_expiry, claim.expires_ns)

    def _forget_claim(self, claim: Claim) -> None:
        del self.claims[claim.fence]
        mine = self.by_process[claim.process.id]
        del mine[claim.fence]
        if not mine:
            del self.by_process[claim.process.id]

    def _index_claim(self, claim: Claim) -> None:
        fence, add = claim.fence, self._index.add
        if claim.kind == "range":
            add(claim.base, claim.end, fence)

        for slot, (base, end) in claim.slots.items():
            self.by_slot[slot] = claim
            add(base, end, fence)

    def _unindex_claim(self, claim: Claim) -> None:
        fence, discard = claim.fence, self._index.discard
        if claim.kind == "range":
            discard(claim.base, claim.end, fence)

        for slot, (base, end) in claim.slots.items():
            del self.by_slot[slot]
            discard(base, end, fence)


def _loss_order(item: tuple[int, LostClaim]) -> tuple[int, int]:
    fence, lost = item

    return lost.order, fence
