"""Waits and leases as the wire has them: whole milliseconds, where 0 is none at all."""

from __future__ import annotations

from memhub.service.client_errors import invalid_argument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

FOREVER: Final = 0xFFFFFFFF


def wait_ms(wait: float | None) -> int:
    """A wait; one of less than a millisecond is one millisecond.

    Args:
        wait: seconds; None does not wait, and `math.inf` or more than 49 days has no limit.

    Raises:
        InvalidArgument: EINVAL; it is negative or not a number.
    """
    if wait is None:
        return 0

    if not wait >= 0:
        raise invalid_argument(f"a wait of {wait} seconds is not a time to come")

    return _round_up(wait) if wait * 1000 < FOREVER else FOREVER


def lease_ms(lease: float | None) -> int:
    """A lease; one of less than a millisecond is one millisecond.

    Args:
        lease: seconds; None lasts until it is released.

    Raises:
        InvalidArgument: EINVAL; it is not a positive, finite number of seconds, or it is more
            than the protocol can carry (49 days).
    """
    if lease is None:
        return 0

    if not 0 < lease < float("inf"):
        raise invalid_argument(f"a lease of {lease} seconds is not a time to come")

    if lease * 1000 > FOREVER:
        raise invalid_argument(f"a lease of {lease} seconds is above the {FOREVER} milliseconds")

    return _round_up(lease)


def _round_up(seconds: float) -> int:
    return max(1, -int(-seconds * 1000 // 1))
