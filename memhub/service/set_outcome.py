"""What a SET over the service changed, as the `SetOutcome` that an embedded handle returns."""

from __future__ import annotations

from memhub.service import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memhub.core.replies import SetOutcome


def set_outcome(answer: wire.SetDone | wire.IoctlDone) -> SetOutcome | None:
    """What SET_DONE says; None for IOCTL_DONE, and where it was too long for a frame."""
    if not isinstance(answer, wire.SetDone) or answer.slots == wire.OUTCOME_LEFT_OUT:
        return None

    from memhub.abi import RangeDesc
    from memhub.core.replies import SetOutcome

    data = answer.outcome
    numbers = answer.slots * wire.OUTCOME_SLOT.size
    registers = numbers + (answer.claimed + answer.released) * 4
    rows = [*wire.OUTCOME_SLOT.iter_unpack(data[:numbers])]
    touched = memoryview(data[numbers:registers]).cast("I").tolist()

    return SetOutcome(
        tuple([row[0] for row in rows]),
        tuple([RangeDesc(*row[1:5]) for row in rows]),
        tuple([RangeDesc(*row[5:]) for row in rows]),
        {it[0]: it[1:] for it in wire.OUTCOME_MSR.iter_unpack(data[registers:])},
        tuple(touched[: answer.claimed]),
        tuple(touched[answer.claimed :]),
        answer.fence or None,
    )
