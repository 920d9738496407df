"""Who holds what: the rules of BUSY, complete, in one place.

Theory
======
mem(4) defines MDF_BUSY as "owned by another process and may not be altered", and ends with
"busy range attributes are not yet managed correctly": FreeBSD tests the bit and never sets it.
These rules set it.

A *process* (Principal) is whoever opened a device. The `mr_owner` text is a label and decides
nothing. A process may have many handles on a machine.

A *claim* is what a process holds. It has a fencing number, which rises with every claim taken
on the machine and never comes back; a set of slots; and bytes that it protects.

1. A successful UPDATE claims every slot that it wrote and that its process did not hold
   already. It protects the bytes of those slots.
2. `claim(base, length)` claims a stretch of addresses without changing an attribute: the bytes,
   and the active slots that lie wholly inside. Another process's claim on one of the bytes
   refuses it (EBUSY).
3. A slot belongs to one claim at most. To every other process it shows MDF_BUSY; to its own it
   does not.
4. An UPDATE or REMOVE that writes a slot of another process's claim is EBUSY. So is one that
   changes the effective type of a byte that another process's claim protects. One that
   overlaps such bytes and changes none of their types goes through.
5. A claim loses the slots that its process removes or undoes. A claim that UPDATE took ends
   with its last slot; a claim of addresses stays until it is released.
6. A claim ends by release, when its process closes its last handle on the machine, when its
   lease runs out, or when the embedder breaks it. The ranges stay programmed.
7. Whoever lost a claim to a lease or a break is told: its next UPDATE or REMOVE that touches
   those bytes is refused once (EBUSY, the reason says when and why), as is every use of the
   lost fencing number. Claiming the bytes anew settles the matter.
8. A *commit* is an UPDATE or REMOVE on its way to all CPUs. The slots it will write are BUSY
   to everybody, its own process included. Whatever would alter what it is about to do is
   refused, and nobody else may set or claim the bytes that it may change, so that the plan made
   at its start is exact at its effect.

The driver's own checks come first and keep their order: a malformed request is EINVAL, busy or
not. Nothing here waits; `waiting.py` queues requests that were refused by these rules.

`table.py` holds the claims and can take back, whole, what happened since the last record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from memhub.core.claims.claim import Claim, LostClaim, busy, describe
from memhub.core.claims.table import ClaimTable
from memhub.errors import Obstacle, RangeBusy, StaleClaim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from memhub.abi import RangeDesc
    from memhub.core.requests import Principal
    from memhub.core.types.typemap import TypeMap


class Ownership(ClaimTable):
    """The claims on one machine, and what they forbid."""

    # What is asked

    def busy_slots(self, process: Principal | None) -> list[int]:
        """Slots that belong to somebody other than `process` (rule 3)."""
        if not self._slot_claim:
            return []

        own = None if process is None else process.id

        return [slot for slot, claim in self._slot_claim.items() if claim.process.id != own]

    def held_by(self, process: Principal) -> list[Claim]:
        """The claims of one process, oldest first."""
        return list(self._by_process.get(process.id, {}).values())

    def holder(self, slot: int) -> Claim | None:
        """The claim that a slot belongs to."""
        return self._slot_claim.get(slot)

    def only_holder(self, process: Principal) -> bool:
        """Whether nobody but `process` holds a claim."""
        return not self.claims or self._by_process.keys() == {process.id}

    def foreign(self, process: Principal, lo: int, hi: int) -> dict[int, Claim]:
        """Other processes' claims that protect a byte of `[lo, hi)`, by fencing number."""
        found = {}
        for _, _, fence in self._index.overlapping(lo, hi):
            claim = self.claims[fence]
            if claim.process.id != process.id:
                found[fence] = claim

        return found

    def check_slots(
        self, process: Principal, wrote: Iterable[int], slots: tuple[RangeDesc, ...]
    ) -> None:
        """Refuse to write a slot of another process's claim (rule 4).

        Raises:
            RangeBusy: EBUSY; the obstacles are the claims in the way.
        """
        blocked = [
            claim.obstacle(slot=slot, desc=slots[slot])
            for slot in wrote
            if (claim := self._slot_claim.get(slot)) is not None and claim.process.id != process.id
        ]
        if blocked:
            raise busy(blocked)

    def check_types(
        self,
        process: Principal,
        bounds: tuple[int, int],
        before: Callable[[], TypeMap],
        after: Callable[[], TypeMap],
    ) -> None:
        """Refuse to change the type of a byte that another's claim protects (rule 4).

        Args:
            process: who asks.
            bounds: `[lo, hi)` outside which no type changes.
            before: gives the present types; called only if a foreign claim is near.
            after: gives the types as they would be.

        Raises:
            RangeBusy: EBUSY; the obstacles are the claims, the reason names a byte of the first.
        """
        lo, hi = bounds
        near = self.foreign(process, lo, hi)
        if not near:
            return

        old, new, blocked, reason = before(), after(), dict[int, Obstacle](), ""
        for base, end, fence in self._index.overlapping(lo, hi):
            if fence in near and fence not in blocked:
                address = old.first_difference(new, max(base, lo), min(end, hi))
                if address is not None:
                    blocked[fence] = near[fence].obstacle()
                    reason = reason or (
                        f"the type of {address:#x} would change from {old.at(address)} to "
                        f"{new.at(address)}, inside {describe(near[fence])}"
                    )

        if blocked:
            raise RangeBusy(reason, obstacles=tuple(blocked.values()))

    def check_fence(self, process: Principal, fence: int) -> Claim:
        """Find the live claim of `process` that has this fencing number (rule 7).

        Raises:
            StaleClaim: EBUSY; the claim is lost, ended, or somebody else's.
        """
        claim = self.claims.get(fence)
        if claim is not None and claim.process.id == process.id:
            return claim

        lost = self._lost.get(process.id, {}).get(fence)
        why = str(lost) if lost is not None else f"claim {fence} is not held by {process.name}"

        raise StaleClaim(
            f"fenced: {why}",
            obstacles=(Obstacle(kind="fence", process=process.name, pid=process.pid),),
        )

    def tell_loss(self, process: Principal, lo: int, hi: int) -> None:
        """Refuse once a request that touches bytes of a claim its process lost (rule 7).

        Raises:
            StaleClaim: EBUSY, with what became of the claim; `told` makes it the last time.
        """
        for lost in self._lost.get(process.id, {}).values():
            if lost.claim.base < hi and lo < lost.claim.end:
                self._telling = lost.claim
                raise StaleClaim(
                    f"{lost}; repeat the request to go on without it",
                    obstacles=(
                        Obstacle(
                            kind="broken",
                            base=lost.claim.base,
                            length=lost.claim.end - lost.claim.base,
                            process=process.name,
                            pid=process.pid,
                            since=lost.claim.since,
                        ),
                    ),
                )

    # What changes

    def take_slots(
        self,
        process: Principal,
        slots: Mapping[int, tuple[int, int]],
        since: float,
        expires: float | None = None,
    ) -> Claim:
        """Claim slots that an UPDATE wrote (rule 1).

        Args:
            process: the writer.
            slots: slot to the bytes `[base, end)` that it covers now; none is held already.
            since: wall-clock seconds.
            expires: monotonic seconds of the lease's end.
        """
        base, end = min(slots.values())
        if len(slots) > 1:
            end = max(stop for _, stop in slots.values())

        claim = Claim(
            fence=self._last_fence + 1,
            process=process,
            kind="update",
            base=base,
            end=end,
            since=since,
            expires=expires,
        )
        self._insert(claim)
        for slot, span in slots.items():
            self._give_slot(claim, slot, span)

        return claim

    def take_range(
        self,
        process: Principal,
        base: int,
        end: int,
        slots: Mapping[int, tuple[int, int]],
        since: float,
        expires: float | None = None,
    ) -> Claim:
        """Claim a stretch of addresses (rule 2).

        Args:
            process: who asks.
            base: first byte.
            end: one past the last.
            slots: active slots wholly inside, with their bytes.
            since: wall-clock seconds.
            expires: monotonic seconds of the lease's end.

        Returns:
            the claim; the one that is there already if the process holds just these bytes.

        Raises:
            RangeBusy: EBUSY; another process's claim protects one of the bytes.
        """
        others = self.foreign(process, base, end)
        if others:
            raise busy([claim.obstacle() for claim in others.values()])

        self._forget_lost(process, base, end)
        for held in self.held_by(process):
            if held.kind == "range" and (held.base, held.end) == (base, end):
                self.set_lease(held, expires)
                return held

        claim = Claim(
            fence=self._last_fence + 1,
            process=process,
            kind="range",
            base=base,
            end=end,
            since=since,
            expires=expires,
        )
        self._insert(claim)
        self._protect(claim, base, end)
        for slot, span in slots.items():
            if slot not in self._slot_claim:
                self._give_slot(claim, slot, span)

        return claim

    def drop_slots(self, slots: Iterable[int]) -> tuple[int, ...]:
        """Take slots out of whatever claims hold them (rule 5).

        Returns:
            the slots that were held.
        """
        held = [(slot, self._slot_claim[slot]) for slot in slots if slot in self._slot_claim]
        for slot, claim in held:
            self._take_slot(claim, slot)
            if claim.kind == "update" and not claim.slots:
                self._remove(claim)

        return tuple(slot for slot, _ in held)

    def release(self, process: Principal, base: int, end: int) -> list[tuple[Claim, list[int]]]:
        """End the claims of `process` inside `[base, end)` (rule 6).

        A claim that an UPDATE took on several slots gives up those that lie inside.

        Returns:
            each claim that lost something, with the slots that it lost.
        """
        ended = []
        for claim in self.held_by(process):
            if base <= claim.base and claim.end <= end:
                ended.append((claim, list(claim.slots)))
                self.end(claim)
            elif claim.kind == "update":
                inside = [s for s, (lo, hi) in claim.slots.items() if base <= lo and hi <= end]
                if inside:
                    self.drop_slots(inside)
                    ended.append((claim, inside))

        return ended

    def set_lease(self, claim: Claim, expires: float | None) -> None:
        """Let a claim run until `expires`, in monotonic seconds; None lets it run for ever."""
        before = claim.expires
        claim.expires = expires
        self._note_lease(claim)
        self.journal.append(lambda: self.set_lease(claim, before))

    def end(self, claim: Claim) -> None:
        """End one claim."""
        for slot in list(claim.slots):
            self._take_slot(claim, slot)

        self._remove(claim)

    def lose(self, claim: Claim, cause: Literal["expire", "break"], reason: str) -> LostClaim:
        """End a claim against its holder's will, and remember to tell it (rule 7)."""
        self.end(claim)
        lost = LostClaim(claim, cause, reason)
        self._keep_lost(lost)

        return lost

    def told(self) -> None:
        """The refusal that `tell_loss` raised has become an answer."""
        claim, self._telling = self._telling, None
        if claim is not None:
            self._drop_lost(claim)

    def forget(self, process: Principal) -> None:
        """Drop what was to be told to a process that is gone."""
        for lost in list(self._lost.get(process.id, {}).values()):
            self._drop_lost(lost.claim)
