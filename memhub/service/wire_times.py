"""Waits and leases as the wire has them: whole milliseconds, where 0 is none at all."""

from __future__ import annotations

from memhub.arguments import LONGEST_MS, has_limit, wrong_lease, wrong_wait
from memhub.service.client_errors import invalid_argument


def wait_ms(wait: float | None) -> int:
    """A wait; one of less than a millisecond is one millisecond.

    Args:
        wait: seconds; None does not wait, and `math.inf` or more than 49 days has no limit.

    Raises:
        InvalidArgument: EINVAL; it is negative or not a number.
    """
    if wait is None:
        return 0

    if reason := wrong_wait(wait):
        raise invalid_argument(reason)

    return _round_up(wait) if has_limit(wait) else LONGEST_MS


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

    if reason := wrong_lease(lease):
        raise invalid_argument(reason)

    return _round_up(lease)


def _round_up(seconds: float) -> int:
    return max(1, -int(-seconds * 1000 // 1))
