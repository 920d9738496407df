"""A machine whose driver fails again and again is marked failed: nothing is asked of it any more.

What its clients hold stays theirs until they close their files, and its table stays as it was
before the failures, none of which has changed it. So it is with a suspended machine, until it is
resumed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.core import events, requests
from memhub.core.caches.facts import LinesFlushed
from memhub.core.caches.requests import Fence, FlushLines
from memhub.core.deciding.claim_requests import refuse_claim, refuse_free
from memhub.core.deciding.explain_many import ExplainMany
from memhub.core.deciding.extract_address import ExtractAddress
from memhub.core.deciding.kernel_requests import CallKernel, refuse_call
from memhub.core.deciding.set_ranges import refuse_set
from memhub.core.decision import Decision
from memhub.core.drivers.served_kernel import KernelCall
from memhub.core.health.failure import Failure, MachineFailed, is_refusing, suspended_error
from memhub.errors import DeviceError, DriverFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.core.caches.facts import FlushOp
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine


def is_failing(machine: Machine, most: int) -> bool:
    """Whether a machine is to be marked failed: its driver has failed so often; 0 is never."""
    table = machine.table

    return table is not None and machine.failed is None and 0 < most <= table.driver.failures


def decide_failure(machine: Machine, error: DeviceError | None, now: Instant) -> Decision:
    """Mark a machine failed.

    Args:
        machine: the machine.
        error: the last failure, where a request met it; None where an undo did.
        now: the present moment.
    """
    assert machine.table is not None
    driver = machine.table.driver
    reason = f"{driver.named('restore')}, failed" if error is None else error.reason
    failure = Failure(reason, driver.failures, now.wall_ns)
    facts = (machine.name, machine.arch.name, now, machine.generation, failure)

    return Decision(None, None, (MachineFailed(*facts),))


def failed_error(machine: Machine) -> DriverFailed:
    """What is answered to requests to a machine that is marked failed."""
    assert machine.failed is not None
    reason, failures, _ = machine.failed

    return DriverFailed(
        f"machine {machine.name} is marked failed, after {failures} failures of its driver; "
        f"the last: {reason}"
    )


def refusing_error(machine: Machine) -> DeviceError:
    """Why a machine is refusing requests."""
    return suspended_error(machine.name) if machine.failed is None else failed_error(machine)


def refuse_request(machine: Machine, request: Any, now: Instant) -> Decision | None:  # noqa: ANN401 - any request
    """The refusal of a request to a machine that is failed or suspended; None where it may go on.

    Files can be closed and claims ended.

    Args:
        machine: the machine.
        request: what is asked of an open file.
        now: the present moment.
    """
    refuse = _REFUSALS.get(type(request)) if is_refusing(machine) else None

    return None if refuse is None else refuse(machine, request, now, refusing_error(machine))


def _refuse_set(machine: Machine, it: Any, now: Instant, error: DeviceError) -> Decision:  # noqa: ANN401
    return refuse_set(machine, machine.files[it.handle].caller, it, now, now.mono_ns, error)


def _refuse_claim(machine: Machine, it: Any, now: Instant, error: DeviceError) -> Decision:  # noqa: ANN401
    return refuse_claim(machine, machine.files[it.handle].caller, it, now, now.mono_ns, error)


def _refuse_free(machine: Machine, it: Any, now: Instant, error: DeviceError) -> Decision:  # noqa: ANN401
    return refuse_free(machine, machine.files[it.handle].caller, it, now, now.mono_ns, error)


def _refuse_get(machine: Machine, it: Any, now: Instant, error: DeviceError) -> Decision:  # noqa: ANN401
    caller = machine.files[it.handle].caller
    event = events.RangesRead(caller, now, it.count, machine.generation, error)

    return Decision(None, error, (event,), changes=False)


def _refuse_ioctl(machine: Machine, it: Any, now: Instant, error: DeviceError) -> Decision:  # noqa: ANN401
    event = events.IoctlRefused(machine.files[it.handle].caller, now, it.number, error)

    return Decision(None, error, (event,), changes=False)


def _refuse_read(machine: Machine, it: Any, now: Instant, error: DeviceError) -> Decision:  # noqa: ANN401
    file = machine.files[it.handle]
    at = file.offset if it.offset is None else it.offset
    op: requests.ReadOp = "read" if it.offset is None else "pread"
    event = events.MemoryRead(file.caller, now, now.mono_ns, op, at, it.length, 0, error)

    return Decision(None, error, (event,), changes=False)


def _refuse_write(machine: Machine, it: Any, now: Instant, error: DeviceError) -> Decision:  # noqa: ANN401
    file = machine.files[it.handle]
    at = file.offset if it.offset is None else it.offset
    op: requests.WriteOp = "write" if it.offset is None else "pwrite"
    size = memoryview(it.data).nbytes
    event = events.MemoryWritten(file.caller, now, now.mono_ns, op, at, size, 0, error)

    return Decision(None, error, (event,), changes=False)


def _refuse_flush(machine: Machine, it: Any, now: Instant, error: DeviceError) -> Decision:  # noqa: ANN401
    op: FlushOp = "writeback" if it.keep else "flush"
    caller = machine.files[it.handle].caller

    return Decision(
        None, error, (LinesFlushed(caller, now, op, it.base, it.length, error),), changes=False
    )


def _refuse_fence(machine: Machine, it: Any, now: Instant, error: DeviceError) -> Decision:  # noqa: ANN401
    caller = machine.files[it.handle].caller

    return Decision(None, error, (LinesFlushed(caller, now, "fence", 0, 0, error),), changes=False)


def _refuse_kernel(machine: Machine, it: Any, now: Instant, error: DeviceError) -> Decision:  # noqa: ANN401
    if machine.served is None:  # a call that it does not have has no record there
        return Decision(None, error, changes=False)

    caller = machine.files[it.handle].caller

    return refuse_call(machine, caller, KernelCall(it.op, it.args, it.handle), now, error)


def _refuse_look(_machine: Machine, _it: Any, _now: Instant, error: DeviceError) -> Decision:  # noqa: ANN401
    return Decision(None, error, changes=False)


_REFUSALS: Final[Mapping[type, Callable[[Machine, Any, Instant, DeviceError], Decision]]] = {
    requests.SetRange: _refuse_set,
    requests.ClaimRange: _refuse_claim,
    requests.AwaitFree: _refuse_free,
    requests.GetRanges: _refuse_get,
    requests.RefuseIoctl: _refuse_ioctl,
    ExtractAddress: _refuse_ioctl,
    requests.Read: _refuse_read,
    requests.Pread: _refuse_read,
    requests.Write: _refuse_write,
    requests.Pwrite: _refuse_write,
    CallKernel: _refuse_kernel,
    requests.Explain: _refuse_look,
    ExplainMany: _refuse_look,
    FlushLines: _refuse_flush,
    Fence: _refuse_fence,
}
