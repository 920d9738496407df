"""Many addresses to ask a service about, each different one once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from memhub.core.deciding.address_types import as_addresses
from memhub.core.effective.typemap import CODE_OF_TYPE
from memhub.service.client_errors import malformed_answer

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from memhub.core.replies import Explanation


class AddressBatch:
    """The different addresses of an array, and where in it each stands.

    Args:
        addresses: integers of any shape.

    Attributes:
        addresses: each different one, in the order in which it comes first.

    Raises:
        InvalidArgument: EINVAL; they are not unsigned 64-bit integers.
    """

    def __init__(self, addresses: npt.ArrayLike) -> None:
        wanted = as_addresses(addresses)
        found, first, place = np.unique(wanted.reshape(-1), return_index=True, return_inverse=True)
        order = np.argsort(first)
        rank = np.empty_like(order)
        rank[order] = np.arange(order.size)
        self.addresses: list[int] = found[order].tolist()
        self._place = rank[place.reshape(wanted.shape)]

    def codes(self, answers: Iterable[Explanation]) -> npt.NDArray[np.uint8]:
        """The types in the shape of the array.

        Args:
            answers: one for each of `addresses`, in their order.

        Raises:
            DeviceError: EPROTO; a type that is not known here.
        """
        names = [answer.type for answer in answers]
        unknown = set(names).difference(CODE_OF_TYPE)
        if unknown:
            raise malformed_answer(f"EXPLAIN was answered with the type {min(unknown)!r}")

        codes = np.array([CODE_OF_TYPE[name] for name in names], dtype=np.uint8)

        return codes[self._place]
