"""When the engine has to look at what time has brought about."""

from __future__ import annotations

from functools import partial
from heapq import heappop, heappush
from inspect import iscoroutinefunction
from itertools import count
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from warnings import warn

from memhub.arguments import take_integer
from memhub.core.instant import NEVER, SECOND
from memhub.escape import say_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from memhub.clock import Clock
    from memhub.core.machine import Machine

#: Nanoseconds until what a failing log prevented is tried again.
RETRY_NS: Final = SECOND


class HubTimer(NamedTuple):
    """The time of a hub, for a device model: see `memhub.plugin.devices.DeviceTimer`."""

    mono_ns: Callable[[], int]
    set_alarm: Callable[[int, Callable[[], object]], None]

    def __deepcopy__(self, _memo: object) -> HubTimer:
        """Itself: a copy of a model, in a fork, is given the timer of its own hub."""
        return self


def _check_function(what: str, it: object) -> None:
    if not callable(it) or iscoroutinefunction(it):
        rule = "is an async function" if callable(it) else "is not a function"
        raise TypeError(f"{what} {it!r:.80} {rule}: it is called, and not awaited")


class Deadlines:
    """The next moment at which something is due.

    Args:
        clock: of the hub.

    Attributes:
        next_due: monotonic nanoseconds before which no lease, wait or commit reaches its end, and
            no alarm rings.
        retry_at: monotonic nanoseconds before which a failing log is not tried again by itself.
        on_change: called when `wake_at` may have changed.
        answer_limit: seconds of real time after which a caller is told NeverAnswered whom a fault
            rule leaves without an answer; None for never.
    """

    def __init__(self, clock: Clock) -> None:
        self._mono_ns = clock.mono_ns
        self.next_due = NEVER
        self.retry_at = 0
        self.on_change: Callable[[], None] = lambda: None
        self.answer_limit: float | None = None
        self._thread = get_ident()
        self._alarms: list[tuple[int, int, str, Callable[[], object]]] = []
        self._count = count()

    @property
    def wake_at(self) -> int:
        """Monotonic nanoseconds at which `Engine.tick` is due."""
        return max(self.next_due, self.retry_at)

    def due_of(self, due_ns: int | None) -> int:
        """When to call `Engine.tick` for a commit; later while the log fails."""
        return max(due_ns or 0, self.retry_at)

    def note(self, mono_ns: int) -> None:
        """Something is due at a moment."""
        if mono_ns < self.next_due:
            self.next_due = mono_ns
            self.on_change()

    def _set_alarm(self, name: str, mono_ns: int, ring: Callable[[], object]) -> None:
        """Have something done, by which no machine changes, at a moment or with the next request.

        Args:
            name: what a warning calls the device model whose alarm it is.
            mono_ns: when, monotonic nanoseconds.
            ring: what to do; what it raises becomes a warning.

        Raises:
            TypeError: `mono_ns` is not an integer, or `ring` is not a function that is called.
        """
        due = take_integer("mono_ns", mono_ns)
        _check_function("ring", ring)
        heappush(self._alarms, (due, next(self._count), name, ring))
        self.note(due)

    def give_timers(self, machines: Iterable[Machine]) -> None:
        """Give the device models of machines the time of this hub; errors as of `give_timer`."""
        for machine in machines:
            for it in machine.memory.windows:
                placed = it.placed
                name = placed.on(machine.name) if placed else f"device {it.device!r:.80}"
                self.give_timer(name, it.device)

    def give_timer(self, name: str, model: object) -> None:
        """Give a device model the time of this hub, if it wants it.

        Args:
            name: what an error calls the model.
            model: the model.

        Raises:
            ValueError: the model raises.
        """
        use: Any = getattr(model, "use_timer", None)
        if use is None:
            return

        try:
            _check_function("its use_timer", use)
            use(HubTimer(self._mono_ns, partial(self._set_alarm, name)))
        except KeyboardInterrupt:  # the user's
            raise
        except BaseException as error:
            raise ValueError(f"{name} failed in use_timer: {say_error(error)}") from error

    def _ring(self, now_ns: int) -> None:
        while self._alarms and self._alarms[0][0] <= now_ns:
            _, _, name, ring = heappop(self._alarms)
            try:
                ring()
            except KeyboardInterrupt:  # the user's
                raise
            except BaseException as error:  # noqa: BLE001 - a model's, which harms nobody else
                warn(f"an alarm of {name} failed: {say_error(error)}", stacklevel=2)

    def look_soon(self) -> None:
        """Something is due at once; may be called in any thread, in the midst of a request."""
        self.next_due = 0
        if get_ident() == self._thread:
            self.on_change()

    def settle(self, mono_ns: int, now_ns: int) -> None:
        """All that was due has ended, and alarms ring; the first is the next moment of the rest."""
        self._ring(now_ns)
        first = self._alarms[0][0] if self._alarms else NEVER
        self.next_due, self.retry_at = min(mono_ns, first), 0
        self.on_change()

    def put_off(self, now_ns: int) -> None:
        """What is due stays due, since the log fails."""
        self.next_due, self.retry_at = now_ns, now_ns + RETRY_NS
        self.on_change()
