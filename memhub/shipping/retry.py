"""When a failed attempt is repeated: exponential backoff with jitter, as OTLP asks for."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from memhub.shipping.failure import ShippingFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    T = TypeVar("T")

#: The first delay and the longest one, seconds.
_FIRST: Final = 1.0
_LONGEST: Final = 32.0


class TryAgain(Exception):
    """Raised by an attempt that failed for now.

    Args:
        reason: one line.
        after: how long the other side asks to wait, seconds; None if it does not say.
    """

    def __init__(self, reason: str, after: float | None = None) -> None:
        self.after = after
        super().__init__(reason)


def backoff_delay(attempt: int, after: float | None, chance: float) -> float:
    """How long to wait before the next attempt.

    Args:
        attempt: how many attempts failed, from 1.
        after: how long the other side asks to wait, seconds, or None.
        chance: a random number from 0 to 1, so that many senders do not come at once.

    Returns:
        seconds: half to all of 1, 2, 4, … 32, but at least what the other side asks for.
    """
    longest = min(_FIRST * 2.0 ** min(attempt - 1, 16), _LONGEST)

    return max(longest * (1 + chance) / 2, after or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Repeats attempts.

    Attributes:
        patience: how long it goes on after the first failure, seconds.
        tell: takes what is to be reported, one line each.
        wait: waits so many seconds.
        clock: the time, seconds.
        chance: a random number from 0 to 1.
    """

    patience: float
    tell: Callable[[str], None] = lambda _text: None
    wait: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random

    def run(self, attempt: Callable[[], T]) -> T:
        """Make attempts until one succeeds.

        Args:
            attempt: raises TryAgain where it is to be repeated.

        Returns:
            what the attempt returned.

        Raises:
            ShippingFailed: the next attempt would be later than `patience` allows.
        """
        begin: float | None = None
        count = 0
        while True:
            try:
                return attempt()
            except TryAgain as error:
                count += 1
                now = self.clock()
                begin = now if begin is None else begin
                delay = backoff_delay(count, error.after, self.chance())
                if now + delay - begin > self.patience:
                    raise ShippingFailed(f"{error}; given up after {count} attempts") from error

                self.tell(f"{error}; again in {delay:.1f} s")
                self.wait(delay)
