"""Calls to another kernel than FreeBSD: which requests are such calls, and what they come to.

The kernel is asked first. What it refuses is refused with its errno. What it would do is then
checked against the claims of other processes, see `kernel_claims.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memhub.abi import U64_MAX
from memhub.arguments import plain_arguments, take_buffer, take_integer
from memhub.core import requests
from memhub.core.deciding.cache_requests import flush_before
from memhub.core.deciding.kernel_advice import advise_call
from memhub.core.deciding.kernel_claims import check_claims
from memhub.core.deciding.kernel_health import follow_call, suffer_call, unless_alike
from memhub.core.decision import Decision
from memhub.core.drivers.served_kernel import KernelAnswer, KernelCall
from memhub.core.files import KERNEL_FILES, PATHS
from memhub.core.served import KernelCalled, Served, range_state
from memhub.errors import BadHandle, DeviceError, InvalidArgument, NotSupported, UnknownIoctl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.core.files import Caller, OpenFile
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine

#: Bytes of a write that a call carries; no file of a kernel looks at more.
WRITE_MOST: Final = 4096


@dataclass(frozen=True, slots=True)
class CallKernel(requests.Request[Any]):
    """A call to a machine's kernel through one of its files; the reply is the call's value.

    Attributes:
        handle: the open file.
        op: the call, as `KernelCall` has it.
        args: its arguments, as plain values.
        system: whether it is a system call that needs no file, made through the file's process.
    """

    handle: int
    op: str
    args: Mapping[str, Any] = field(default_factory=dict)
    system: bool = False


def redirect_request(machine: Machine, request: Any) -> Any:  # noqa: ANN401 - any request
    """What a request is on a machine whose kernel is another than FreeBSD.

    Reads, writes, seeks and ioctls of the kernel's files are calls to it. Linux's `/dev/mem` has
    no ioctl, so each of mem(4)'s is ENOTTY.
    """
    if machine.served is None:
        return request

    file, kind = machine.files.files[request.handle], type(request)
    if kind in _IOCTLS:
        return _refuse_ioctl(file, request)

    if file.caller.device in KERNEL_FILES and kind in _CALLS:
        return CallKernel(request.handle, *_CALLS[kind](request))

    return request


def _refuse_ioctl(file: OpenFile, request: Any) -> requests.RefuseIoctl:  # noqa: ANN401
    number = getattr(request, "number", None)
    if number is None:
        number = file.model.get if type(request) is requests.GetRanges else file.model.set[0]

    error = UnknownIoctl(f"{PATHS[file.caller.device]} of this kernel has no ioctl {number:#x}")

    return requests.RefuseIoctl(request.handle, number, error)


def _read_call(it: requests.Read) -> tuple[str, dict[str, Any]]:
    return "read", {"length": take_integer("length", it.length), **_offset_of(it)}


def _write_call(it: requests.Write) -> tuple[str, dict[str, Any]]:
    data = bytes(take_buffer("data", it.data))

    return "write", {"data": data[:WRITE_MOST].decode("latin-1"), **_offset_of(it)}


def _offset_of(it: requests.Read | requests.Write) -> dict[str, int]:
    if it.offset is None and type(it) in (requests.Read, requests.Write):
        return {}

    return {"offset": _signed(take_integer("offset", it.offset))}


def _seek_call(it: requests.Seek) -> tuple[str, dict[str, Any]]:
    offset, whence = take_integer("offset", it.offset), take_integer("whence", it.whence)

    return "seek", {"offset": _signed(offset), "whence": whence}


def _signed(offset: int) -> int:
    """An offset as the signed number that it is to the kernel."""
    return offset - (U64_MAX + 1) if U64_MAX >> 1 < offset <= U64_MAX else offset


_CALLS: Final[Mapping[type, Any]] = {
    requests.Read: _read_call,
    requests.Pread: _read_call,
    requests.Write: _write_call,
    requests.Pwrite: _write_call,
    requests.Seek: _seek_call,
}
_IOCTLS: Final = frozenset({requests.GetRanges, requests.SetRange, requests.RefuseIoctl})


# Deciding


def decide_call(machine: Machine, request: CallKernel, now: Instant) -> Decision:
    """A call through an open file."""
    file = machine.files.files[request.handle]
    caller = file.caller
    if machine.served is None:
        why = f"the kernel of {machine.name} is FreeBSD, which has no such calls"
        return Decision(None, NotSupported(why), changes=False)

    call = KernelCall(request.op, request.args, request.handle, caller.process.id)
    if wrong := _wrong_access(machine, file, request):
        return refuse_call(machine, caller, call, now, wrong)

    return answer_call(machine, caller, call, now)


def _wrong_access(machine: Machine, file: OpenFile, request: CallKernel) -> DeviceError | None:
    kernel, op = served_of(machine).kernel, request.op
    of_file = file.caller.device in KERNEL_FILES and not request.system
    known = kernel.file_ops if of_file else kernel.process_ops
    if op not in known:
        words = ", ".join(sorted(known)) or "none"
        return InvalidArgument(f"{op!r} is no call through {file.caller.path} (calls: {words})")

    if op == "read" and not file.readable:
        return BadHandle(f"{file.caller.path} is not open for reading")

    if op == "write" and not file.writable:
        return BadHandle(f"{file.caller.path} is not open for writing")

    return None


def refuse_call(
    machine: Machine, caller: Caller | None, call: KernelCall, now: Instant, error: DeviceError
) -> Decision:
    """The refusal of a call that does not reach the kernel, or must not take effect.

    Arguments that no record can hold are left out of its record.
    """
    answer = KernelAnswer(served_of(machine).state)
    try:
        call = replace(call, args=_plain(call.args))
    except InvalidArgument:
        call = replace(call, args={})

    return Decision(
        None, error, (call_fact(machine, caller, call, now, answer, error),), changes=False
    )


def answer_call(
    machine: Machine, caller: Caller | None, call: KernelCall, now: Instant
) -> Decision:
    """What a call comes to: the kernel's answer, if nobody's claim is in its way.

    Args:
        machine: the machine.
        caller: who calls through a file; None for a driver, whom no claim stops.
        call: the call.
        now: the present moment.
    """
    try:
        call = replace(call, args=_plain(call.args))
        _check_names(machine, call)
        answer, error, struck = ask_kernel(machine, call)
    except InvalidArgument as malformed:
        return refuse_call(machine, caller, call, now, malformed)

    if error is not None:
        error = advise_call(machine, caller, call, answer, error)

    fact = call_fact(machine, caller, call, now, answer, error)
    if caller is not None and fact.states is not None:
        try:
            check_claims(machine, caller, fact.kernels[1], fact.states)
        except DeviceError as busy:
            return refuse_call(machine, caller, call, now, busy)

    reply = answer.value.encode("latin-1") if call.op == "read" and not error else answer.value
    follows = follow_call(machine, fact, struck)

    done = Decision(reply, error, (fact, *follows), changes=fact.changes or bool(follows))

    return done if machine.caches is None else flush_before(machine, done, now)


class Asked(NamedTuple):
    """What a kernel was asked.

    Attributes:
        answer: its answer, with the registers that the CPUs have then.
        error: the error that it is.
        struck: the sicknesses of the machine that made registers other than stored.
    """

    answer: KernelAnswer
    error: DeviceError | None
    struck: frozenset[str]


def ask_kernel(machine: Machine, call: KernelCall) -> Asked:
    """The kernel's answer, and what the machine's hardware makes of it.

    Raises:
        InvalidArgument: EINVAL; it has no such call, or an argument is missing or too big.
    """
    served = served_of(machine)
    answer = ask_raw(served, call)
    error = None if answer.errno is None else served.kernel.explain(call, answer)
    suffered = suffer_call(machine.health, served.state.cpus, answer.state)
    if suffered.state is not answer.state:
        answer = answer._replace(state=unless_alike(served.state, suffered.state))

    return Asked(answer, error, suffered.struck)


def ask_raw(served: Served, call: KernelCall) -> KernelAnswer:
    """The kernel's answer as it means it.

    Raises:
        InvalidArgument: EINVAL; as `ask_kernel`.
    """
    try:
        return served.kernel.call(served.machine, served.state, call)
    except (ValueError, TypeError) as error:
        raise InvalidArgument(str(error)) from None


def _plain(args: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call, as a record can hold them.

    Raises:
        InvalidArgument: EINVAL; names the argument that it could not.
    """
    try:
        return plain_arguments(args)
    except ValueError as error:
        raise InvalidArgument(str(error)) from None


def _check_names(machine: Machine, call: KernelCall) -> None:
    """Refuse an argument that the call does not have: a misspelt one would be passed over.

    Raises:
        InvalidArgument: EINVAL; names it, and those that there are.
    """
    known = served_of(machine).kernel.arguments.get(call.op)
    unknown = [] if known is None else [it for it in call.args if it not in known]
    if unknown:
        there = ", ".join(sorted(known or ())) or "none"
        raise InvalidArgument(f"{call.op} has no argument {unknown[0]!r} (arguments: {there})")


def call_fact(
    machine: Machine,
    caller: Caller | None,
    call: KernelCall,
    now: Instant,
    answer: KernelAnswer,
    error: DeviceError | None,
) -> KernelCalled:
    """The fact of a call and its answer, on the machine as it is now."""
    served, table = served_of(machine), machine.table
    states = None
    generation = machine.generation
    if table is not None:
        states = (table.state, range_state(table, answer.state.msrs))
        generation += states[0] is not states[1]

    return KernelCalled(
        machine.name,
        machine.arch.name,
        caller,
        now,
        now.mono_ns,
        call,
        answer.value if error is None else None,
        error,
        answer.log,
        (served.state, answer.state),
        states,
        generation,
        served.meant_by(call),
    )


def served_of(machine: Machine) -> Served:
    """The kernel of a machine that has another than FreeBSD."""
    assert machine.served is not None

    return machine.served
