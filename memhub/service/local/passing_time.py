"""How time passes for callers that block, on the computer's clock and on one that stands still."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, NoReturn, final

from memhub.clock import moment_after
from memhub.core.holding.commits import Commit
from memhub.core.instant import NEVER
from memhub.core.requests import ClaimRange, SetRange
from memhub.engine.pending import say_limit
from memhub.errors import NeverAnswered as NeverAnswered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memhub.core.holding.waits import Wait
    from memhub.engine.engine import Engine
    from memhub.engine.pending import Pending
    from memhub.faults.hub_rules import Delayed

#: Seconds of one sleep of a caller who is never answered.
_LONG_SLEEP: Final = 3600.0

#: Real seconds that other threads have to end a wait before a clock that stands still goes on.
_GRACE: Final = 1.0

#: Real seconds between two looks at whether other threads run.
_LOOK: Final = 0.01


@final
class PassingTime:
    """The time of a hub's clock, for its callers that block.

    A clock with a method `advance` stands still until a caller advances it; another one goes on by
    itself. One caller advances at a time, and other threads that run get a second of real time
    to end a wait first.

    Args:
        engine: the hub's synchronous half.
        lock: what its callers hold while they use it.
        sleep: lets so many seconds of the clock pass.
    """

    def __init__(
        self, engine: Engine, lock: threading.RLock, sleep: Callable[[float], None]
    ) -> None:
        self._engine = engine
        self._lock = lock
        self._sleep = sleep
        self._stands = callable(getattr(engine.clock, "advance", None))
        self._known = frozenset(threading.enumerate()) - {threading.main_thread()}
        self._waiting: set[threading.Thread] = set()

    @property
    def stands(self) -> bool:
        """Whether the clock stands still until somebody advances it."""
        return self._stands

    def others_run(self) -> bool:
        """Whether another thread runs that may use the hub and does not wait for it."""
        mine = {threading.current_thread(), *self._known, *self._waiting}

        return any(it not in mine for it in threading.enumerate())

    def sleep_until(self, mono_ns: int) -> None:
        """Let time pass up to a moment."""
        if not self._stands:
            self._sleep(self._seconds_to(mono_ns))
            return

        with self._lock:
            self._sleep(self._seconds_to(mono_ns))

    def deadlines_within(self, seconds: float) -> Iterator[None]:
        """Let so many seconds pass from deadline to deadline of the hub; yields behind each."""
        now = self._engine.clock.mono_ns()
        end = moment_after(seconds, now)
        while (due := self._next_due()) != NEVER and (end is None or due <= end):
            self.sleep_until(due)
            with self._lock:
                self._engine.tick()

            yield

    def sleep_for(self, late: Delayed) -> None:
        """Let the time of a request pass that a fault rule delays; dropped is never answered.

        Raises:
            NeverAnswered: it was dropped, and no time passes by itself, or the limit is over.
        """
        if late.due_ns is None:
            self._wait_in_vain(late)

        while late.seconds_left() != 0:
            self.sleep_until(late.due_ns)

    def _wait_in_vain(self, late: Delayed) -> NoReturn:
        if self._stands:
            raise NeverAnswered(f"{late}; it would block for ever")

        limit = self._engine.deadlines.answer_limit
        if limit is not None:
            self._sleep(limit)
            raise NeverAnswered(say_limit(str(late), limit))

        while True:
            self._sleep(_LONG_SLEEP)

    def wait_for(self, pending: Pending[Any], woken: threading.Event) -> None:
        """Let an answer come nearer: by what another thread does, or by the clock.

        Raises:
            NeverAnswered: nothing can bring it about.
        """
        if pending.due_ns is not None:
            self.sleep_until(self._engine.deadlines.due_of(pending.due_ns))
        elif not pending.done:
            self._wait_once(pending, woken)
            woken.clear()

    def _wait_once(self, pending: Pending[Any], woken: threading.Event) -> None:
        thread = threading.current_thread()
        self._waiting.add(thread)
        try:
            if not self._stands:
                self._wait_on(pending, woken)
            elif not self._wait_for_others(woken):
                self._advance(pending)
        finally:
            self._waiting.discard(thread)

    def _wait_on(self, pending: Pending[Any], woken: threading.Event) -> None:
        """Wait while the clock goes on; not for ever, where all threads there are wait too."""
        due = self._next_due()
        if due != NEVER:
            woken.wait(self._seconds_to(due))
            return

        if self._waiting.issuperset(threading.enumerate()) and not woken.is_set():
            raise NeverAnswered(_describe_end(pending))

        limit = self._engine.deadlines.answer_limit if pending.hangs else None
        if not woken.wait(limit) and limit is not None:
            raise NeverAnswered(say_limit(pending.say_hang(), limit))

    def _wait_for_others(self, woken: threading.Event) -> bool:
        """Give other threads the time to end a wait, for ever if no clock can; whether one did."""
        looks = 0
        while self.others_run():
            if woken.wait(_LOOK):
                return True

            looks += 1
            if looks * _LOOK >= _GRACE and self._next_due() != NEVER:
                return False

        return woken.is_set()

    def _advance(self, pending: Pending[Any]) -> None:
        with self._lock:
            if pending.done or pending.due_ns is not None:
                return  # another thread has been quicker

            due = self._next_due()
            if due == NEVER:
                raise NeverAnswered(_describe_end(pending))

            self._sleep(self._seconds_to(due))

    def _next_due(self) -> int:
        with self._lock:
            return self._engine.deadlines.wake_at

    def _seconds_to(self, mono_ns: int) -> float:
        return max(0, mono_ns - self._engine.clock.mono_ns()) / 1e9


def _describe_end(pending: Pending[Any]) -> str:
    """Why an answer never comes."""
    stage = pending.stage
    assert stage is not None
    who = f"{stage.caller.process.name} on {pending.machine.name}"
    why = "no lease and no time limit ends it, and no other thread runs that could"
    if isinstance(stage, Commit):
        return pending.say_hang()

    return f"{_name_wait(stage)} of {who} would block for ever: {why}"


def _name_wait(wait: Wait) -> str:
    request = wait.request
    kind = "SET" if isinstance(request, SetRange) else "wait_free"
    kind = "claim" if isinstance(request, ClaimRange) else kind

    return f"the {kind} {wait.base:#x}-{wait.end - 1:#x}"
