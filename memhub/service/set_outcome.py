"""What a SET over the service changed, as the `SetOutcome` that an embedded handle returns."""

from __future__ import annotations

from memhub.service.client_errors import malformed_answer
from memhub.service.wire.wide import narrow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from memhub.abi import RangeDesc
    from memhub.core.replies import SetOutcome
    from memhub.service import wire


def set_outcome(answer: wire.SetDone | wire.IoctlDone) -> SetOutcome | None:
    """What SET_DONE says; None for IOCTL_DONE, and where it was too long for a frame.

    Raises:
        DeviceError: EPROTO; it is not an object with the fields of an outcome.
    """
    outcome = getattr(answer, "outcome", b"")
    if not outcome:
        return None

    import json

    from memhub.core.replies import SetOutcome

    try:
        row = json.loads(outcome, object_hook=narrow)
        msrs = zip(row["msrs"], row["before_msr"], row["after_msr"], strict=True)

        return SetOutcome(
            tuple(row["slots"]),
            _descs(row, "before"),
            _descs(row, "after"),
            {number: (before, after) for number, before, after in msrs},
            tuple(row["claimed"]),
            tuple(row["released"]),
            row["fence"],
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise malformed_answer(f"SET was answered with {outcome!r:.80}: {error!r}") from error


def _descs(row: dict[str, Any], side: str) -> tuple[RangeDesc, ...]:
    from memhub.abi import RangeDesc

    columns = (row[f"{side}_{name}"] for name in ("base", "length", "flags", "owner"))

    return tuple(
        RangeDesc(base, length, flags, owner.encode("latin-1").ljust(8, b"\0"))
        for base, length, flags, owner in zip(*columns, strict=True)
    )
