"""Files of another kernel than FreeBSD: opened, closed, and what a close gives back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.abi import Errno
from memhub.core.deciding.kernel_claims import check_claims
from memhub.core.deciding.kernel_health import follow_call
from memhub.core.deciding.kernel_requests import ask_kernel, call_fact, served_of
from memhub.core.drivers.served_kernel import KernelAnswer, KernelCall
from memhub.core.files import KERNEL_FILES, PATHS
from memhub.core.served import range_state
from memhub.errors import DeviceError, InvalidArgument, NoSuchDevice

if TYPE_CHECKING:
    from collections.abc import Collection

    from memhub.core.drivers.driver import RangeState
    from memhub.core.drivers.served_kernel import KernelState
    from memhub.core.files import Caller, Device, OpenFile
    from memhub.core.health.hardware_events import HardwareChanged
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine
    from memhub.core.requests import Open
    from memhub.core.served import KernelCalled
    from memhub.core.snapshots import MachineSnapshot


def check_kernel_file(machine: Machine, device: Device, request: Open) -> None:
    """Refuse a device that the machine's kernel does not have.

    Raises:
        NoSuchDevice: ENOENT.
        InvalidArgument: EINVAL; `undo` of a file through which that kernel is called.
    """
    path, name, served = PATHS[device], machine.spec.kernel_name, machine.served
    of_kernel = device in KERNEL_FILES
    if of_kernel:
        there = served is not None and path in served.kernel.files
    else:
        there = served is None or device != "kmem"

    if not there:
        raise NoSuchDevice(f"{machine.name} has no {path}: its kernel is {name}")

    if request.undo and served is not None and (of_kernel or served.kernel.process_ops):
        raise InvalidArgument(f"{path} of {name} has no undo: {served.kernel.undo_rule}")


def open_kernel_file(machine: Machine, file: OpenFile, now: Instant) -> KernelCalled:
    """The fact that the kernel opens one of its files.

    Raises:
        DeviceError: the kernel refuses.
    """
    caller = file.caller
    call = _open_call(caller)
    answer, error, _ = ask_kernel(machine, call)
    if error is not None:
        raise error

    return call_fact(machine, caller, call, now, answer, None)


def _open_call(caller: Caller) -> KernelCall:
    args: dict[str, Any] = {"admin": caller.process.privileged}
    if caller.device != "mtrr":  # whose opens have no path in earlier logs
        args["path"] = PATHS[caller.device]

    return KernelCall("open", args, caller.handle, caller.process.id)


def close_kernel_file(
    machine: Machine, file: OpenFile, now: Instant
) -> tuple[KernelCalled | HardwareChanged, ...]:
    """The fact that the kernel closes one of its files, and what follows.

    What the close would give back stays where that would change what another process has claimed.
    """
    caller, served = file.caller, served_of(machine)
    handle, process = caller.handle, caller.process.id
    kept = [
        register
        for register in served.kernel.held_by(served.state, handle)
        if not _may_give_back(machine, caller, register)
    ]
    call = KernelCall("close", {"keep": kept} if kept else {}, handle, process)

    return _call_by_itself(machine, caller, call, now)


def _call_by_itself(
    machine: Machine, caller: Caller, call: KernelCall, now: Instant
) -> tuple[KernelCalled | HardwareChanged, ...]:
    """A call that nothing can refuse, and what follows it."""
    answer, _, struck = ask_kernel(machine, call)
    fact = call_fact(machine, caller, call, now, answer, None)

    return (fact, *follow_call(machine, fact, struck))


def _may_give_back(machine: Machine, caller: Caller, register: int) -> bool:
    served = served_of(machine)
    if machine.table is None or machine.claims.only_holder(caller.process):
        return True

    held = served.kernel.held_by(served.state, caller.handle)
    others = [it for it in held if it != register]
    call = KernelCall("close", {"keep": others}, caller.handle, caller.process.id)
    answer = ask_kernel(machine, call).answer
    try:
        states = (machine.table.state, range_state(machine.table, answer.state.msrs))
        check_claims(machine, caller, answer.state, states)
    except DeviceError as error:
        if error.code is not Errno.EBUSY:
            raise

        return False

    return True


def exit_process(
    machine: Machine, file: OpenFile, now: Instant
) -> tuple[KernelCalled | HardwareChanged, ...]:
    """The fact that a process has ended to the kernel, as it closes its last file, if it does.

    Args:
        machine: the machine.
        file: that last file.
        now: the present moment.
    """
    served = machine.served
    if served is None or not served.kernel.exit_op:
        return ()

    caller = file.caller
    call = KernelCall(served.kernel.exit_op, {}, caller.handle, caller.process.id)

    return _call_by_itself(machine, caller, call, now)


def kernel_after(
    machine: Machine, snapshot: MachineSnapshot, there: Collection[int]
) -> KernelState | None:
    """The kernel's state after a machine has gone back to a snapshot.

    The kernel closes the files that were open then and are not now, processes that have none of
    theirs left end to it, and what has been opened since is as it was just opened.

    Args:
        machine: the machine.
        snapshot: where it goes back to.
        there: the files that were open then and are open now.
    """
    served, state = machine.served, snapshot.kernel
    if served is None or state is None:
        return None

    for number in state.files:
        if number not in there:
            close = KernelCall("close", file=number)
            state = served.kernel.call(served.machine, state, close).state

    for process in _processes_gone(snapshot, there) if served.kernel.exit_op else ():
        end = KernelCall(served.kernel.exit_op, process=process)
        state = served.kernel.call(served.machine, state, end).state

    ours = (it.caller for it in machine.files if it.caller.device in KERNEL_FILES)
    for caller in ours:
        if caller.handle not in state.files:
            state = served.kernel.call(served.machine, state, _open_call(caller)).state

    return state


def _processes_gone(snapshot: MachineSnapshot, there: Collection[int]) -> list[int]:
    """The processes of which no file that was open then is open now."""
    callers = [it.caller for it in snapshot.files]
    left = {it.process.id for it in callers if it.handle in there}

    return sorted({it.process.id for it in callers} - left)


def registers_after(
    machine: Machine, snapshot: MachineSnapshot, there: Collection[int]
) -> RangeState:
    """The range state after a machine has gone back to a snapshot that has ranges."""
    assert snapshot.table is not None
    kernel, state = kernel_after(machine, snapshot, there), snapshot.table.state
    if kernel is None or machine.table is None:
        return state

    return range_state(machine.table, kernel.msrs, state)


def boot_fact(machine: Machine, now: Instant) -> KernelCalled:
    """The fact that the kernel has booted, with what it printed, and what it went on with."""
    served, call = served_of(machine), KernelCall("boot")
    answer = KernelAnswer(served.state, log=served.boot_log)
    fact = call_fact(machine, None, call, now, answer, None)

    return fact._replace(kernels=(served.booted, served.state), states=None)
