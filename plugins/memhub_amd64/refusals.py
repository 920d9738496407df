"""Why the PAT driver refuses: reasons and obstacles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.plugin import RangeDesc, abi, errors, range_refusals
from memhub_amd64.options import PAT_OF_ATTRIBUTE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def attribute_reason(attribute: int, attributes: Mapping[int, str]) -> str:
    """What is wrong with an attribute that the palette does not give."""
    known = ", ".join(words for bit in attributes for words in abi.flag_words(bit))
    if attribute in PAT_OF_ATTRIBUTE:
        return f"the palette has no {range_refusals.type_words(attribute)} (it has {known})"

    return f"attributes {attribute:#x} are not exactly one of {known}"


def no_space(slots: Sequence[RangeDesc]) -> errors.NoSpace:
    """ENOSPC, with every slot and its owner."""
    return errors.NoSpace(
        f"all {len(slots)} slots are in use",
        obstacles=tuple(
            range_refusals.obstacle("slot", slot, held) for slot, held in enumerate(slots)
        ),
    )


def _busy_error(slot: int, held: RangeDesc) -> errors.RangeBusy:
    return errors.RangeBusy(
        f"slot {slot} ({held}) is busy: claimed by another process, or being committed",
        obstacles=(range_refusals.obstacle("claim", slot, held),),
    )


def check_takeover(slot: int, held: RangeDesc, desc: RangeDesc) -> None:
    """Refuse to take over a busy slot (EBUSY), or an unknown one without MDF_FORCE (EACCES)."""
    if held.mr_flags & abi.MDF_BUSY:
        raise _busy_error(slot, held)

    if held.mr_flags & abi.MDF_UNKNOWN and not desc.mr_flags & abi.MDF_FORCE:
        raise errors.AccessDenied(
            f"slot {slot} ({held}) is of unknown type, and force is not given",
            obstacles=(range_refusals.obstacle("unknown", slot, held),),
        )


def check_removal(slot: int, held: RangeDesc) -> None:
    """Refuse to empty a fixed slot (EPERM), or a busy one (EBUSY)."""
    if held.mr_flags & abi.MDF_FIXACTIVE:
        raise errors.NotPermitted(
            f"slot {slot} ({held}) is fixed and stays active",
            obstacles=(range_refusals.obstacle("fixed", slot, held),),
        )

    if held.mr_flags & abi.MDF_BUSY:
        raise _busy_error(slot, held)


def conflict(
    slots: Sequence[RangeDesc], desc: RangeDesc, conflicts: Sequence[int]
) -> errors.InvalidRange:
    """EINVAL: the pages have another type through other slots."""
    first = slots[conflicts[0]]
    wanted, held = (range_refusals.type_words(each.mr_flags) for each in (desc, first))

    return errors.InvalidRange(
        f"range {desc.mr_base:#x}/{desc.mr_len:#x} as {wanted} overlaps slot "
        f"{conflicts[0]}, {first.mr_base:#x}/{first.mr_len:#x} as {held}",
        obstacles=tuple(
            range_refusals.obstacle("overlap", slot, slots[slot]) for slot in conflicts
        ),
    )
