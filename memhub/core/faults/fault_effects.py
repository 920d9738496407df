"""What faults do to requests: a refusal, a commit that has no end, a shorter transfer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memhub.core.deciding.kernel_requests import CallKernel
from memhub.core.deciding.set_ranges import make_commit, refuse_set
from memhub.core.decision import Decision
from memhub.core.events import CommitBegun
from memhub.core.instant import NEVER
from memhub.core.requests import Read
from memhub.errors import ConnectionCut, DeviceError

if TYPE_CHECKING:
    from memhub.core.faults.fault_rules import FaultRule
    from memhub.core.files import Caller
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine
    from memhub.core.requests import SetRange, Write


def attempt_hang(
    machine: Machine, caller: Caller, request: SetRange, now: Instant, began_ns: int
) -> Decision:
    """Begin a commit that never ends; or the refusal of the SET."""
    try:
        commit = make_commit(machine, caller, request, now, began_ns)
    except DeviceError as error:
        return refuse_set(machine, caller, request, now, began_ns, error)

    commit = replace(commit, due_ns=NEVER)

    return Decision(None, None, (CommitBegun(commit, now, machine.generation),), pending=commit)


def shorten_transfer(request: Read | Write | CallKernel, most: int) -> Read | Write | CallKernel:
    """The same transfer of at most so many bytes."""
    if isinstance(request, CallKernel):
        args = dict(request.args)
        if request.op == "read":
            args["length"] = min(args["length"], most)
        else:
            args["data"] = args["data"][:most]

        return replace(request, args=args)

    if isinstance(request, Read):
        return replace(request, length=most)

    return replace(request, data=bytes(memoryview(request.data).cast("B")[:most]))


def refusal_of(rule: FaultRule, caller: Caller) -> DeviceError | None:
    """What a rule refuses a request with; None where it does not refuse it."""
    if rule.action == "errno":
        return DeviceError(f"fault rule {rule.name!r} refuses this", code=rule.error_code)

    if rule.action == "cut":
        who = caller.process.name
        return ConnectionCut(f"fault rule {rule.name!r} cut the connection of {who}")

    return None
