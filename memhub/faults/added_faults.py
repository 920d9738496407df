"""What a fault kind of a plugin does to a request: its answer, checked and put into effect."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memhub.arguments import take_buffer
from memhub.core.deciding.kernel_requests import CallKernel
from memhub.core.faults.fault_rules import FaultRule
from memhub.core.memory.needs_device import NeedsDevice
from memhub.core.requests import Write
from memhub.errors import DeviceError
from memhub.escape import say_error
from memhub.plugin.faults import Alter, Delay, Drop, FaultHit, Refuse, Short

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from memhub.core.decision import Decision
    from memhub.core.files import Caller
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine
    from memhub.core.requests import Read
    from memhub.plugin.faults import FaultKind

#: The operations whose bytes can be altered, or of which fewer can move.
_TRANSFERS: Final = frozenset({"read", "write"})


class Struck(NamedTuple):
    """What becomes of a request.

    Attributes:
        rule: a rule of memhub's own action that does the same; None where none does.
        error: with what it is refused, or None.
        change: makes the bytes that are moved in place of others, or None.
    """

    rule: FaultRule | None = None
    error: DeviceError | None = None
    change: Callable[[bytes], bytes] | None = None


class AddedKind(NamedTuple):
    """The kind of a rule's action, with the rule's options.

    Attributes:
        kind: of a plugin.
        options: all of them.
    """

    kind: FaultKind
    options: Mapping[str, Any]

    def strike(
        self,
        rule: FaultRule,
        caller: Caller,
        op: str,
        span: tuple[int, int] | None,
        number: int,
        random: Random,
    ) -> Struck | None:
        """Ask the plugin; what it does wrong refuses the request with EIO, and it is named.

        Args:
            rule: the rule.
            caller: who asks.
            op: the operation.
            span: first byte and length of what the request names, or None.
            number: which fault of the rule it would be.
            random: the rule's generator.

        Returns:
            None where the request passes.
        """
        base, length = (None, None) if span is None else span
        who = caller.machine, caller.process.name
        hit = FaultHit(op, *who, base, length, number, self.options, random)
        try:
            return self._take_effect(rule, op, length, self.kind.strike(hit))
        except KeyboardInterrupt:  # the user's
            raise
        except BaseException as error:  # noqa: BLE001 - a stranger's code
            return Struck(error=self.fail(rule, say_error(error)))

    def _take_effect(
        self, rule: FaultRule, op: str, length: int | None, effect: object
    ) -> Struck | None:
        if effect is None:
            return None

        if isinstance(effect, Refuse):
            plain = FaultRule("errno", name=rule.name, errno=effect.errno)
            why = f": {effect.reason}" if effect.reason else ""
            reason = f"fault rule {rule.name!r} ({rule.action}) refuses this{why}"
            return Struck(error=DeviceError(reason, code=plain.error_code))

        if isinstance(effect, Delay):
            return Struck(FaultRule("delay", name=rule.name, delay=effect.seconds))

        if isinstance(effect, Drop):
            return Struck(FaultRule("drop", name=rule.name))

        if isinstance(effect, Short | Alter) and op not in _TRANSFERS:
            raise TypeError(f"{type(effect).__name__} of {op}, which moves no bytes")

        if isinstance(effect, Short):
            plain = FaultRule("short", name=rule.name, moved=effect.moved)
            return None if length is None or length <= effect.moved else Struck(plain)

        if isinstance(effect, Alter):
            return Struck(change=effect.change)

        raise TypeError(f"it returned {effect!r:.80}, which is no effect")

    def alter(self, rule: FaultRule, change: Callable[[bytes], bytes], data: bytes) -> bytes:
        """Other bytes, as many as there were.

        Raises:
            DeviceError: EIO; the plugin failed, and is named.
        """
        try:
            found: object = change(data)
            if isinstance(found, bytes) and len(found) == len(data):
                return found

            told = f"{len(found)} bytes" if isinstance(found, bytes) else type(found).__name__
            raise TypeError(f"it made {told} of {len(data)} bytes")
        except KeyboardInterrupt:  # the user's
            raise
        except BaseException as error:
            raise self.fail(rule, say_error(error)) from error

    def fail(self, rule: FaultRule, what: str) -> DeviceError:
        """The error of a request whose fault kind failed."""
        who = f"fault kind {self.kind.name} of {self.kind.source}"

        return DeviceError(f"fault rule {rule.name!r}: {who} failed: {what}")


def alter_transfer(
    added: AddedKind,
    rule: FaultRule,
    change: Callable[[bytes], bytes],
    decide: Callable[[Machine, Any, Instant], Decision],
    machine: Machine,
    request: Read | Write | CallKernel,
    now: Instant,
) -> Decision:
    """What a transfer of altered bytes comes to.

    Args:
        added: the kind of the rule.
        rule: the rule.
        change: alters the bytes.
        decide: decides the request.
        machine: where.
        request: the transfer.
        now: the present moment.

    Raises:
        DeviceError: EIO; the plugin failed, and nothing has happened.
        NeedsDevice: a device model takes part; it says what is altered.
    """
    if isinstance(request, Write):
        data = bytes(take_buffer("data", request.data))
        altered = replace(request, data=added.alter(rule, change, data))
        try:
            return decide(machine, altered, now)
        except NeedsDevice as late:
            late.instead = altered
            raise

    if isinstance(request, CallKernel) and request.op == "write":
        text = added.alter(rule, change, request.args["data"].encode("latin-1")).decode("latin-1")
        return decide(machine, replace(request, args={**request.args, "data": text}), now)

    try:
        decision = decide(machine, request, now)
    except NeedsDevice as late:
        late.change = partial(added.alter, rule, change)
        raise

    if decision.error is not None or not decision.reply:
        return decision

    return decision._replace(reply=added.alter(rule, change, decision.reply))
