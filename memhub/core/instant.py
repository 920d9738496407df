"""A moment, handed in from outside: the core has no clock."""

from __future__ import annotations

from typing import Final, NamedTuple

from memhub.arguments import has_limit, wrong_lease, wrong_wait
from memhub.errors import InvalidArgument

#: Nanoseconds in a second.
SECOND: Final = 1_000_000_000

#: Monotonic nanoseconds that no clock reaches.
NEVER: Final = 1 << 63


class Instant(NamedTuple):
    """A moment on both clocks.

    Attributes:
        wall_ns: wall clock, nanoseconds since 1970.
        mono_ns: monotonic clock, nanoseconds.
    """

    wall_ns: int
    mono_ns: int


#: `tuple.__new__`: makes a named tuple of all its fields in half the time of calling its class.
make_tuple: Final = tuple.__new__


def lease_end(lease: float | None, now: Instant) -> int | None:
    """When a lease ends.

    Args:
        lease: seconds from now, or None for a claim that lasts.
        now: the present moment.

    Returns:
        monotonic nanoseconds, or None.

    Raises:
        InvalidArgument: EINVAL; the lease is not a positive number of seconds, or longer than
            `LONGEST_MS`.
    """
    if lease is None:
        return None

    if reason := wrong_lease(lease):
        raise InvalidArgument(reason)

    return now.mono_ns + round(lease * SECOND)


def wait_end(wait: float, now: Instant) -> int | None:
    """When a wait ends.

    Args:
        wait: seconds from now; `math.inf`, or `LONGEST_MS` and more, waits for ever.
        now: the present moment.

    Returns:
        monotonic nanoseconds, or None for a wait without limit.

    Raises:
        InvalidArgument: EINVAL; the wait is negative or not a number.
    """
    if reason := wrong_wait(wait):
        raise InvalidArgument(reason)

    return now.mono_ns + round(wait * SECOND) if has_limit(wait) else None
