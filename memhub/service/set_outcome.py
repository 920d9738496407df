"""What a SET over the service changed, as the `SetOutcome` that an embedded handle returns."""

from __future__ import annotations

from functools import cache

from memhub.service import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from memhub.abi import RangeDesc
    from memhub.core.replies import SetOutcome

_SLOT_BYTES = wire.OUTCOME_SLOT.size
_read_slot = wire.OUTCOME_SLOT.unpack_from


def set_outcome(answer: wire.SetDone | wire.IoctlDone) -> SetOutcome | None:
    """What SET_DONE says; None for IOCTL_DONE, and where it was too long for a frame."""
    if answer.__class__ is not wire.SetDone or answer.slots == wire.OUTCOME_LEFT_OUT:
        return None

    fitting_descs, outcome = _makers()
    data, touched = answer.outcome, answer.claimed + answer.released
    at = answer.slots * _SLOT_BYTES
    rows = [_read_slot(data, start) for start in range(0, at, _SLOT_BYTES)]
    descs = fitting_descs([it for row in rows for it in (row[1:5], row[5:])])
    claimed: tuple[int, ...] = ()
    released: tuple[int, ...] = ()
    if touched:
        end = at + 4 * touched
        slots = tuple(memoryview(data[at:end]).cast("I"))
        claimed, released, at = slots[: answer.claimed], slots[answer.claimed :], end

    msrs = {}
    if answer.msrs:
        msrs = {
            number: (was, now)
            for number, was, now in wire.OUTCOME_MSR.iter_unpack(data[at:] if at else data)
        }

    return outcome(
        tuple([row[0] for row in rows]),
        descs[::2],
        descs[1::2],
        msrs,
        claimed,
        released,
        answer.fence or None,
    )


@cache
def _makers() -> tuple[
    Callable[[Iterable[tuple[Any, ...]]], tuple[RangeDesc, ...]], type[SetOutcome]
]:
    """What an outcome is made with; loaded for the first one, as few clients set ranges."""
    from memhub.abi import fitting_descs
    from memhub.core.replies import SetOutcome

    return fitting_descs, SetOutcome
