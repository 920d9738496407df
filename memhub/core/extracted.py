"""What MEM_EXTRACT_PADDR answers, and the fact that it was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from memhub.core.files import Caller
    from memhub.core.instant import Instant


class Extracted(NamedTuple):
    """The reply to MEM_EXTRACT_PADDR.

    Attributes:
        state: `ME_STATE_INVALID`: no map entry has the address; `ME_STATE_VALID`: one has, and no
            page is there; `ME_STATE_MAPPED`: a page is.
        physical: the physical address; None where the ioctl leaves the field as it was.
        domain: the memory domain; None likewise.
    """

    state: int
    physical: int | None
    domain: int | None


class AddressExtracted(NamedTuple):
    """A process asked which physical address is behind a virtual one."""

    caller: Caller
    at: Instant
    address: int
    found: Extracted
