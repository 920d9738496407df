"""The answer to a request that waits, or whose commit takes time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from memhub.core.events import RangesSet, SetRefused, WaitEnded
from memhub.core.holding.commits import Commit
from memhub.core.holding.waits import Wait
from memhub.core.instant import NEVER
from memhub.core.requests import Abandon

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.core.decision import Decision
    from memhub.core.machine import Machine
    from memhub.errors import DeviceError

#: In the message of what is never answered.
UNANSWERED: Final = "and nobody gave it up within"

R = TypeVar("R")


class Pending(Generic[R]):
    """An answer that is still to come.

    Attributes:
        machine: the machine.
        handle: the open file.
        stage: the wait or the commit that the answer depends on; None once it is there.
        wake: called whenever `stage` changes.
    """

    __slots__ = ("_error", "_reply", "handle", "machine", "stage", "wake")

    def __init__(self, machine: Machine, stage: Wait | Commit) -> None:
        self.machine = machine
        self.handle = stage.caller.handle
        self.stage: Wait | Commit | None = stage
        self.wake: Callable[[], None] = do_nothing
        self._reply: Any = None
        self._error: DeviceError | None = None

    @property
    def done(self) -> bool:
        """Whether the answer is there."""
        return self.stage is None

    @property
    def due_ns(self) -> int | None:
        """When its commit takes effect, monotonic nanoseconds; None while it waits or hangs."""
        if not isinstance(self.stage, Commit) or self.stage.due_ns == NEVER:
            return None

        return self.stage.due_ns

    @property
    def hangs(self) -> bool:
        """Whether its commit never ends, by a fault rule."""
        return isinstance(self.stage, Commit) and self.stage.due_ns == NEVER

    def say_hang(self) -> str:
        """Why an answer never comes whose commit hangs."""
        assert isinstance(self.stage, Commit)
        desc, who = self.stage.request.desc, self.stage.caller.process.name
        return (
            f"the SET {desc} of {who} on {self.machine.name} would block for ever: its commit "
            "hangs by a fault rule"
        )

    def abandon_request(self) -> Abandon:
        """The request that ends it without effect."""
        stage = self.stage
        if isinstance(stage, Commit):
            return Abandon(self.handle, commit=stage.number)

        return Abandon(self.handle, wait=None if stage is None else stage.number)

    def result(self) -> R:
        """The reply.

        Raises:
            DeviceError: the request was refused.
        """
        if self._error is not None:
            raise self._error

        reply: R = self._reply

        return reply

    def resolve(self, reply: object, error: DeviceError | None) -> None:
        """Take the answer, and wake who waits for it."""
        self._reply, self._error = reply, error
        self.stage = None
        self.wake()

    def move_on(self, commit: Commit) -> None:
        """The wait is over and the commit has begun."""
        self.stage = commit
        self.wake()


class PendingTable:
    """The answers to come.

    Attributes:
        open: by the machine, and the kind and number of the wait or commit that each depends on.
    """

    def __init__(self) -> None:
        self.open: dict[tuple[str, type, int], Pending[Any]] = {}

    def add(self, machine: Machine, stage: Wait | Commit) -> Pending[Any]:
        """An answer that depends on a wait or a commit of a machine."""
        pending: Pending[Any] = Pending(machine, stage)
        self.open[machine.name, type(stage), stage.number] = pending

        return pending

    def answer(self, machine: Machine, decision: Decision) -> None:
        """Answer those whose waits and commits have ended with a decision."""
        for event in decision.events:
            if isinstance(event, WaitEnded):
                self._end_wait(machine, event, decision)
            elif isinstance(event, RangesSet) and event.commit is not None:
                self._end_pending(machine, event.commit, event.outcome, None)
            elif isinstance(event, SetRefused) and event.commit is not None:
                self._end_pending(machine, event.commit, None, event.error)

    def _end_wait(self, machine: Machine, event: WaitEnded, decision: Decision) -> None:
        commit = decision.pending
        if event.error is not None or not isinstance(commit, Commit):
            self._end_pending(machine, event.wait, decision.reply, event.error)
            return

        pending = self.open.pop((machine.name, Wait, event.wait.number), None)
        if pending is not None:
            self.open[machine.name, Commit, commit.number] = pending
            pending.move_on(commit)

    def _end_pending(
        self, machine: Machine, stage: Wait | Commit, reply: object, error: DeviceError | None
    ) -> None:
        pending = self.open.pop((machine.name, type(stage), stage.number), None)
        if pending is not None:
            pending.resolve(reply, error)


def do_nothing() -> None:
    """What is called where nobody waits for the call."""


def say_limit(what: str, seconds: float) -> str:
    """What is told where a request that is never answered was waited for too long.

    Args:
        what: why it is never answered.
        seconds: how long, real time.
    """
    return f"{what}, {UNANSWERED} {seconds:g} s of real time"
