"""What range drivers say when they refuse, so that all say it alike.

Each function returns the error; the driver raises it. The reason names the values and the rule,
and the obstacles name the slots that stood in the way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.abi import MDF_ATTRMASK, RangeDesc, flag_words
from memhub.errors import NoSpace, NoSuchRange, Obstacle

if TYPE_CHECKING:
    from collections.abc import Iterable


def type_words(mr_flags: int) -> str:
    """The attribute part of `mr_flags` in memcontrol(8)'s words."""
    return " ".join(flag_words(mr_flags & MDF_ATTRMASK)) or "no attribute"


def span(desc: RangeDesc) -> str:
    """A descriptor's base and length, as memcontrol(8) prints them."""
    return f"{desc.mr_base:#x}/{desc.mr_len:#x}"


def describe(slot: int, desc: RangeDesc) -> str:
    """One slot in words: index, range, type and owner."""
    owner = f"owner {desc.owner}" if desc.owner else "no owner"

    return f"slot {slot} {span(desc)} ({type_words(desc.mr_flags)}, {owner})"


def obstacle(kind: str, slot: int, desc: RangeDesc) -> Obstacle:
    """One slot as an obstacle.

    Args:
        kind: what made it one, as in `Obstacle`.
        slot: its index.
        desc: what it holds.
    """
    return Obstacle(
        kind=kind,
        slot=slot,
        base=desc.mr_base,
        length=desc.mr_len,
        type=type_words(desc.mr_flags),
        owner=desc.owner,
    )


def full(desc: RangeDesc, slots: Iterable[tuple[int, RangeDesc]]) -> NoSpace:
    """ENOSPC: every slot that could hold `desc` is in use; each is an obstacle.

    Args:
        desc: the request.
        slots: the slots in use, with their indices.
    """
    taken = list(slots)
    if not taken:
        return NoSpace(f"there is no slot that could hold {span(desc)}")

    owners = ", ".join(f"slot {slot} by {row.owner or 'nobody'}" for slot, row in taken)

    return NoSpace(
        f"no slot is free for {span(desc)}; of the {len(taken)} that could hold it each is in use "
        f"({owners}): remove one first",
        obstacles=tuple([obstacle("slot", slot, row) for slot, row in taken]),
    )


def absent(desc: RangeDesc, slots: Iterable[tuple[int, RangeDesc]]) -> NoSuchRange:
    """ENOENT: no slot holds exactly `desc`; the slots that share a byte with it are named.

    Args:
        desc: the request.
        slots: the slots that were searched, with their indices.
    """
    near = [
        (slot, row)
        for slot, row in slots
        if row.mr_base < desc.mr_end and desc.mr_base < row.mr_end
    ]
    reason = f"no slot holds exactly {span(desc)}"
    if near:
        reason += f"; {describe(*near[0])} overlaps it, but base and length must both match"

    return NoSuchRange(
        reason, obstacles=tuple([obstacle("overlap", slot, row) for slot, row in near])
    )
