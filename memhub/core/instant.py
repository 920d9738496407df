"""A moment, handed in from outside: the core has no clock."""

from __future__ import annotations

from math import inf
from typing import Final, NamedTuple

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
        InvalidArgument: EINVAL; the lease is not a positive, finite number of seconds.
    """
    if lease is None:
        return None

    if not 0 < lease < inf:
        raise InvalidArgument(f"a lease of {lease} seconds is not a time to come")

    return now.mono_ns + round(lease * SECOND)


def wait_end(wait: float, now: Instant) -> int | None:
    """When a wait ends.

    Args:
        wait: seconds from now; `math.inf` waits for ever.
        now: the present moment.

    Returns:
        monotonic nanoseconds, or None for a wait without limit.

    Raises:
        InvalidArgument: EINVAL; the wait is negative or not a number.
    """
    if not wait >= 0:
        raise InvalidArgument(f"a wait of {wait} seconds is not a time to come")

    return None if wait == inf else now.mono_ns + round(wait * SECOND)
