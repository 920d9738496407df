"""What a SET over the service changed, as the `SetOutcome` that an embedded handle returns."""

from __future__ import annotations

from memhub.service import wire
from memhub.service.client_errors import malformed_answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from memhub.core.replies import SetOutcome


def set_outcome(answer: wire.SetDone | wire.IoctlDone) -> SetOutcome | None:
    """What SET_DONE says; None for IOCTL_DONE, and where it was too long for a frame.

    Raises:
        DeviceError: EPROTO; it is not an object with the fields of an outcome.
    """
    if not isinstance(answer, wire.SetDone) or not answer.outcome:
        return None

    outcome = answer.outcome

    import json

    from memhub.abi import RangeDesc
    from memhub.core.replies import SetOutcome

    try:
        row = json.loads(outcome)
        before, after = (
            tuple([RangeDesc(int(base), int(size), *label) for base, size, *label in side])
            for side in (_descs(row, "before"), _descs(row, "after"))
        )
        msrs = {
            number: (int(old), int(new))
            for number, old, new in zip(
                row["msrs"], row["before_msr"], row["after_msr"], strict=True
            )
        }
        slots, claimed, released = (tuple(row[name]) for name in ("slots", "claimed", "released"))

        return SetOutcome(slots, before, after, msrs, claimed, released, answer.fence or None)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise malformed_answer(f"SET was answered with {outcome!r:.80}: {error!r}") from error


def _descs(row: dict[str, Any], side: str) -> Iterator[tuple[Any, Any, Any, bytes]]:
    owners = [it.encode("latin-1").ljust(8, b"\0") for it in row[f"{side}_owner"]]
    columns = (row[f"{side}_{name}"] for name in ("base", "length", "flags"))

    return zip(*columns, owners, strict=True)
