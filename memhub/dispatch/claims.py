"""Claims by request: take, release, renew, break, wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.audit import records
from memhub.core.claims.claim import busy
from memhub.core.claims.desk import span
from memhub.core.claims.waiting import Ticket
from memhub.core.requests import Outcome
from memhub.dispatch.files import check
from memhub.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.core.machine import Machine, OpenFile
    from memhub.dispatch.context import Context

    Attempt = Callable[[], Outcome]


class ClaimsDesk:
    """Where claims are taken and given back.

    Args:
        context: the machines and the journal.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    def claim(
        self,
        file: OpenFile,
        base: int,
        length: int,
        lease: float | None = None,
        wait: float | None = None,
    ) -> Outcome | Ticket:
        """Claim a stretch of addresses.

        Args:
            file: the handle whose process is to hold it.
            base: first byte.
            length: bytes.
            lease: seconds after which it ends unless renewed; None lets it last.
            wait: seconds to wait for it; None answers EBUSY at once.

        Returns:
            the Outcome, whose reply is the Claim, or a Ticket to wait for.

        Raises:
            RangeBusy: EBUSY; somebody else's.
            WouldDeadlock: EDEADLK; the wait would close a circle.
            InvalidArgument: EINVAL; no such range, or no such lease.
        """
        machine = file.machine

        def attempt() -> Outcome:
            now = self._context.clock.now()
            return machine.claims.claim(file.process, base, length, now, lease)

        done = self._ask(file, "claim", base, length, attempt, wait)
        if isinstance(done, Outcome) and lease is not None:
            self._context.set_deadline(machine, self._context.clock.now().mono + lease)

        return done

    def wait_free(self, file: OpenFile, base: int, length: int, wait: float) -> Outcome | Ticket:
        """Wait until nobody else holds a byte of a range; nothing is claimed.

        Arguments and errors are those of `claim`.
        """
        machine = file.machine

        def attempt() -> Outcome:
            blocking = machine.claims.blocking(file.process, base, length)
            return Outcome(error=busy(blocking)) if blocking else Outcome()

        return self._ask(file, "wait", base, length, attempt, wait)

    def release(self, file: OpenFile, base: int, length: int) -> Outcome:
        """Give back the claims of the file's process inside a range.

        Raises:
            NoSuchRange: ENOENT; it holds none there.
        """
        check(file)
        machine = file.machine
        self._context.catch_up(machine)
        outcome = machine.claims.release(file.process, base, length)
        self._seal("claim.release", file, base, length, outcome)
        self._context.pump(machine)

        return _done(outcome)

    def renew(self, file: OpenFile, fence: int, lease: float | None) -> Outcome:
        """Let a claim of the file's process run for `lease` more seconds.

        Raises:
            RangeBusy: EBUSY; the claim is lost; the reason says when and why.
        """
        check(file)
        machine, context = file.machine, self._context
        context.catch_up(machine)
        outcome = machine.claims.renew(file.process, fence, lease, context.clock.now())
        held = outcome.reply
        base, length = (held.base, held.end - held.base) if held is not None else (0, 0)
        outcome.fence = fence
        self._seal("claim.renew", file, base, length, outcome)
        if outcome.error is None and lease is not None:
            context.set_deadline(machine, context.clock.now().mono + lease)

        return _done(outcome)

    def break_claim(self, machine: Machine, fence: int, reason: str) -> Outcome:
        """Take a claim from its holder.

        Raises:
            NoSuchRange: ENOENT; there is no such claim.
        """
        context = self._context
        outcome = machine.claims.break_claim(fence, reason)
        if outcome.effects:
            context.seal(machine, *context.effects(machine, outcome))

        context.pump(machine)

        return _done(outcome)

    def _ask(
        self,
        file: OpenFile,
        op: str,
        base: int,
        length: int,
        attempt: Attempt,
        wait: float | None,
    ) -> Outcome | Ticket:
        check(file)
        context, machine = self._context, file.machine
        context.catch_up(machine)
        now = context.clock.now()
        event = "claim.take" if op == "claim" else "claim.wait"
        try:
            base_, end = span(base, length)
        except InvalidArgument as error:
            self._seal(event, file, base, length, Outcome(error=error))
            raise

        ticket = Ticket(
            file=file,
            op=op,
            base=base_,
            end=end,
            attempt=attempt,
            record=lambda outcome, at: records.claim(
                event, file, at, now.mono_ns, base, length, machine.generation, outcome
            ),
            since=now.wall,
        )
        outcome = context.try_or_wait(machine, ticket, wait)
        if outcome is None:
            return ticket

        self._seal(event, file, base, length, outcome)
        if op == "claim" and outcome.error is None:
            # It frees nothing, but who waits may now wait for this process, even in a circle.
            context.pump(machine)

        return _done(outcome)

    def _seal(self, event: str, file: OpenFile, base: int, length: int, outcome: Outcome) -> None:
        context, machine = self._context, file.machine
        if context.journal.active:
            now = context.clock.now()
            entry = records.claim(
                event, file, now, now.mono_ns, base, length, machine.generation, outcome
            )
            context.seal(machine, entry)


def _done(outcome: Outcome) -> Outcome:
    if outcome.error is not None:
        raise outcome.error

    return outcome
