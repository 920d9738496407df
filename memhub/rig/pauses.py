"""How an assertion on the log waits for a record, by who writes the log."""

from __future__ import annotations

from time import monotonic, sleep
from typing import TYPE_CHECKING, Final, Protocol, final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.service.local.passing_time import PassingTime

#: Seconds between two looks at the log of another process.
_PAUSE: Final = 0.002


class Pauses(Protocol):
    """What `LogView.expect` waits with.

    Attributes:
        note: what a failing assertion says of a wait, or an empty string.
    """

    note: str

    def within(self, seconds: float) -> Iterator[None]:
        """Yield each time that there may be news, at once and up to so many seconds later."""


@final
class RealPauses:
    """Real time, in which another process, or another thread, writes the log."""

    note = ""

    def within(self, seconds: float) -> Iterator[None]:
        """Yield every few milliseconds."""
        end = monotonic() + seconds
        yield
        while monotonic() < end:
            sleep(_PAUSE)
            yield


@final
class ClockPauses:
    """The time of a hub whose clock stands until it is advanced; other threads come first.

    Args:
        time: the hub's time, for callers that block.
    """

    note = ""

    def __init__(self, time: PassingTime) -> None:
        self._time = time

    def within(self, seconds: float) -> Iterator[None]:
        """Yield at each deadline of the hub."""
        if self._time.others_run():
            yield from RealPauses().within(seconds)
        else:
            yield

        for _ in self._time.deadlines_within(seconds):
            yield


@final
class NoPauses:
    """No time: the assertion keeps the event loop in which everything else would run."""

    note = (
        "within= waits for nothing on the embedded hub of a test that awaits: nothing else runs "
        "meanwhile. Await what brings the record about, or memhub_clock.sleep(), before."
    )

    def within(self, seconds: float) -> Iterator[None]:
        """Yield once."""
        yield
