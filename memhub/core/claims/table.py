"""The claims on one machine, as data: steps, each with its inverse.

Every step notes its inverse in `journal`, so that whatever happened since the last `settle` can
be taken back whole. What may happen is decided in `ownership.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.core.claims.overlap import OverlapIndex

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.core.claims.claim import Claim, LostClaim
    from memhub.core.requests import Principal


class ClaimTable:
    """Claims by fencing number, by slot, by process and by the bytes they protect.

    Attributes:
        claims: the live claims by fencing number.
        leases: fencing number to the monotonic seconds at which that lease runs out.
        epoch: changes whenever a slot's or a claim's holder does.
        journal: inverses of what happened since the last `settle`, oldest first.
    """

    def __init__(self) -> None:
        self.claims: dict[int, Claim] = {}
        self.leases: dict[int, float] = {}
        self.epoch = 0
        self.journal: list[Callable[[], None]] = []
        self._last_fence = 0
        self._slot_claim: dict[int, Claim] = {}
        self._by_process: dict[int, dict[int, Claim]] = {}
        self._index = OverlapIndex()
        self._lost: dict[int, dict[int, LostClaim]] = {}
        self._telling: Claim | None = None

    def settle(self) -> None:
        """Make what happened since the last call final."""
        self.journal.clear()

    def revert(self) -> None:
        """Undo all that happened since the last `settle`."""
        steps, self.journal = self.journal, []
        for step in reversed(steps):
            step()

        self.journal.clear()

    def _insert(self, claim: Claim) -> None:
        self._last_fence = max(self._last_fence, claim.fence)
        self._note_lease(claim)
        self.claims[claim.fence] = claim
        self._by_process.setdefault(claim.process.id, {})[claim.fence] = claim
        self.epoch += 1
        self.journal.append(lambda: self._remove(claim))

    def _remove(self, claim: Claim) -> None:
        del self.claims[claim.fence]
        self.leases.pop(claim.fence, None)
        mine = self._by_process[claim.process.id]
        del mine[claim.fence]
        if not mine:
            del self._by_process[claim.process.id]

        if claim.kind == "range":
            self._index.discard(claim.base, claim.end, claim.fence)

        self.epoch += 1
        self.journal.append(lambda: self._reinsert(claim))

    def _reinsert(self, claim: Claim) -> None:
        self._insert(claim)

        # Back to its place: both tables are oldest first.
        mine = self._by_process[claim.process.id]
        self.claims = dict(sorted(self.claims.items()))
        self._by_process[claim.process.id] = dict(sorted(mine.items()))
        if claim.kind == "range":
            self._index.add(claim.base, claim.end, claim.fence)

    def _protect(self, claim: Claim, base: int, end: int) -> None:
        # No inverse of its own: _remove, the inverse of _insert, takes it out.
        self._index.add(base, end, claim.fence)

    def _give_slot(self, claim: Claim, slot: int, span: tuple[int, int]) -> None:
        claim.slots[slot] = span
        self._slot_claim[slot] = claim
        self._index.add(*span, claim.fence)
        self.epoch += 1
        self.journal.append(lambda: self._take_slot(claim, slot))

    def _take_slot(self, claim: Claim, slot: int) -> None:
        span = claim.slots.pop(slot)
        del self._slot_claim[slot]
        self._index.discard(*span, claim.fence)
        self.epoch += 1
        self.journal.append(lambda: self._give_slot(claim, slot, span))

    def _keep_lost(self, lost: LostClaim) -> None:
        self._lost.setdefault(lost.claim.process.id, {})[lost.claim.fence] = lost
        self.journal.append(lambda: self._drop_lost(lost.claim))

    def _drop_lost(self, claim: Claim) -> None:
        lost = self._lost[claim.process.id].pop(claim.fence)
        self.journal.append(lambda: self._keep_lost(lost))

    def _forget_lost(self, process: Principal, base: int, end: int) -> None:
        for lost in list(self._lost.get(process.id, {}).values()):
            if lost.claim.base < end and base < lost.claim.end:
                self._drop_lost(lost.claim)

    def _note_lease(self, claim: Claim) -> None:
        if claim.expires is None:
            self.leases.pop(claim.fence, None)
        else:
            self.leases[claim.fence] = claim.expires
