"""The memory types of many addresses, as one request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from memhub.core.decision import Decision
from memhub.core.requests import Request

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from memhub.core.instant import Instant
    from memhub.core.machine import Machine

    TypeCodes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class ExplainMany(Request["TypeCodes"]):
    """Which types addresses have: codes, in the shape of the addresses.

    Attributes:
        handle: the open file.
        addresses: physical on `/dev/mem`, kernel virtual on `/dev/kmem`; integers of any shape.
    """

    handle: int
    addresses: npt.ArrayLike


def decide_explain_many(machine: Machine, request: ExplainMany, _now: Instant) -> Decision:
    """Look the types up; the log has no record of it.

    Raises:
        DeviceError: as for one address; InvalidArgument (EINVAL) for what is no integer.
    """
    from memhub.core.deciding.address_types import (
        types_of_addresses,  # numpy, which a hub can do without
    )

    file = machine.files.files[request.handle]

    return Decision(types_of_addresses(machine, file, request.addresses), changes=False)


def span_of_many(request: ExplainMany) -> tuple[int, int] | None:
    """From the first to the last of the addresses; None where there is none that fits."""
    from memhub.core.deciding.address_types import as_addresses
    from memhub.errors import InvalidArgument

    try:
        addresses = as_addresses(request.addresses)
    except InvalidArgument:
        return None

    if not addresses.size:
        return None

    low, high = int(addresses.min()), int(addresses.max())

    return low, high - low + 1
