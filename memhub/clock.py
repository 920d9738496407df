"""Where the hub gets its time from. Everything in the core is handed an Instant of it."""

from __future__ import annotations

from math import isnan
from time import monotonic_ns, time_ns
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, runtime_checkable

import anyio
from anyio.lowlevel import checkpoint

from memhub.arguments import take_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

#: Nanoseconds that neither clock reaches: the log's numbers of 64 bits end here.
_END_NS: Final = 2**63

#: Seconds that 64-bit nanoseconds cannot hold, 292 years: as long as for ever.
_FOR_EVER: Final = 2**63 / 1e9


@runtime_checkable
class Clock(Protocol):
    """A wall clock, a monotonic clock, and a way to wait for the latter."""

    def wall_ns(self) -> int:
        """Nanoseconds since 1970."""

    def mono_ns(self) -> int:
        """Nanoseconds on the monotonic clock."""

    async def sleep_until(self, mono_ns: int) -> None:
        """Return once the monotonic clock has reached `mono_ns`."""


class SystemClock:
    """The computer's own clocks."""

    wall_ns = staticmethod(time_ns)
    mono_ns = staticmethod(monotonic_ns)

    async def sleep_until(self, mono_ns: int) -> None:
        """Sleep on the event loop."""
        await anyio.sleep(max(0, mono_ns - monotonic_ns()) / 1e9)


class Alarm(NamedTuple):
    """What a clock is to do at a moment.

    Attributes:
        mono_ns: when, monotonic nanoseconds.
        late: whether it is done after all others of the same moment.
        ring: what to do.
    """

    mono_ns: int
    late: bool
    ring: Callable[[], object]


class ManualClock:
    """A clock that stands still until it is told otherwise, for tests and repeatable runs.

    Args:
        wall_ns: its first wall-clock time, nanoseconds since 1970.
        mono_ns: its first monotonic time, nanoseconds.

    Attributes:
        on_alarm: called when an alarm is set.
    """

    def __init__(self, wall_ns: int = 0, mono_ns: int = 0) -> None:
        self._wall_ns = wall_ns
        self._mono_ns = mono_ns
        self._alarms: list[Alarm] = []
        self.on_alarm: Callable[[], object] = _do_nothing

    def wall_ns(self) -> int:
        """Nanoseconds since 1970."""
        return self._wall_ns

    def mono_ns(self) -> int:
        """Nanoseconds on the monotonic clock."""
        return self._mono_ns

    @property
    def next_ns(self) -> int | None:
        """The moment of the first alarm, monotonic nanoseconds; None if there is no alarm."""
        return min((it.mono_ns for it in self._alarms), default=None)

    def advance(self, seconds: float) -> None:
        """Let time pass, and wake those whose time has come, earliest first.

        Args:
            seconds: how long, 0 to less than 292 years.

        Raises:
            TypeError: it is not a number.
            ValueError: it is negative, NaN, or leads past 2^63 nanoseconds; no time has passed.
        """
        seconds = take_seconds("seconds", seconds)
        if not 0 <= seconds < _FOR_EVER:
            raise ValueError(f"a clock advances by 0 to {_FOR_EVER:.0f} seconds, not {seconds!r}")

        self._move(round(seconds * 1e9))
        due = sorted((it for it in self._alarms if it.mono_ns <= self._mono_ns), key=_alarm_order)
        self._alarms = [it for it in self._alarms if it.mono_ns > self._mono_ns]
        for it in due:
            it.ring()

    def advance_to_next(self) -> None:
        """Let time pass up to the first alarm, and ring the alarms of that moment.

        Of those that come last at a moment, one rings; the next call rings the next.
        """
        first = min(self._alarms, key=_alarm_order)
        self._move(max(0, first.mono_ns - self._mono_ns))
        due = [it for it in self._alarms if it.mono_ns <= self._mono_ns and not it.late] or [first]
        for it in due:
            self._alarms.remove(it)

        for it in due:
            it.ring()

    def _move(self, step_ns: int) -> None:
        for clock, now_ns in (("monotonic", self._mono_ns), ("wall", self._wall_ns)):
            if now_ns + step_ns >= _END_NS:
                raise ValueError(
                    f"the {clock} clock would advance from {now_ns} to {now_ns + step_ns} ns, "
                    "past its end of 2^63 ns"
                )

        self._wall_ns += step_ns
        self._mono_ns += step_ns

    def set_alarm(
        self, mono_ns: int, ring: Callable[[], object], *, late: bool = False
    ) -> Callable[[], None]:
        """Have something done at a moment.

        Args:
            mono_ns: when, monotonic nanoseconds.
            ring: what to do.
            late: whether to do it after all others of that moment.

        Returns:
            takes the alarm back; once it has rung, nothing.
        """
        alarm = Alarm(mono_ns, late, ring)
        self._alarms.append(alarm)
        self.on_alarm()

        def take_back() -> None:
            self._alarms = [it for it in self._alarms if it is not alarm]

        return take_back

    async def sleep_until(self, mono_ns: int) -> None:
        """Wait until the clock has reached `mono_ns`."""
        if mono_ns <= self._mono_ns:
            await checkpoint()
            return

        event = anyio.Event()
        take_back = self.set_alarm(mono_ns, event.set)
        try:
            await event.wait()
        finally:
            take_back()


def moment_after(seconds: float | None, mono_ns: int) -> int | None:
    """The moment so many seconds after another.

    Args:
        seconds: how long; a negative number is in the past.
        mono_ns: the other moment, monotonic nanoseconds.

    Returns:
        monotonic nanoseconds; None, which is never, for None, infinity, and what no clock reaches:
        2^63 nanoseconds, 292 years.

    Raises:
        TypeError: `seconds` is not a number.
        ValueError: `seconds` is NaN.
    """
    if seconds is None:
        return None

    seconds = take_seconds("seconds", seconds)
    if isnan(seconds):
        raise ValueError("nan is not a number of seconds")

    if seconds >= _FOR_EVER:
        return None

    moment_ns = mono_ns + round(max(seconds, -_FOR_EVER) * 1e9)

    return moment_ns if moment_ns < _END_NS else None


def _alarm_order(alarm: Alarm) -> tuple[int, bool]:
    return alarm.mono_ns, alarm.late


def _do_nothing() -> None:
    """Nobody wants to know of alarms."""
