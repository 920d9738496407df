"""What a call to another kernel than FreeBSD tells that lacks a register: what would free one.

Ranges that decide no address's type, and neighbours of one type that can be one range. Before it is
told, all of it is tried on the kernel, with the call that was refused at the end.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from memhub.core.deciding.kernel_claims import check_claims
from memhub.core.drivers.served_kernel import TYPE_NAMES, KernelRange
from memhub.core.effective.typemap import TypeMap
from memhub.core.served import range_state
from memhub.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from memhub.core.drivers.served_kernel import KernelAnswer, KernelCall, KernelState
    from memhub.core.files import Caller
    from memhub.core.machine import Machine


class _Saving(NamedTuple):
    """Ranges that can go, and the one to set then."""

    removed: tuple[KernelRange, ...]
    put: KernelRange | None


def advise_call(
    machine: Machine,
    caller: Caller | None,
    call: KernelCall,
    answer: KernelAnswer,
    error: DeviceError,
) -> DeviceError:
    """The error of a refused call; where no register is free, with what would free one.

    Args:
        machine: the machine; nothing of it changes.
        caller: who asks; None for a driver.
        call: what was asked.
        answer: the kernel's answer.
        error: the refusal.

    Returns:
        the same error, with more in its reason.
    """
    served = machine.served
    assert served is not None
    ranges = served.ranges() if served.kernel.lacks_register(answer) else None
    if ranges is None or machine.table is None or machine.health is not None:
        return error

    known = TYPE_NAMES.values()
    free = [it for it in ranges.used if not (it.fixed or it.owner) and it.type in known]
    found = next((it for it in _savings(free) if _works(machine, caller, call, it)), None)
    if found is not None:
        error.reason = f"{error.reason}; {_say(found)}"

    return error


def _savings(ranges: Sequence[KernelRange]) -> Iterator[_Saving]:
    for it in ranges:
        yield _Saving((it,), None)

    for low, high in pairwise(sorted(ranges, key=lambda it: it.base)):
        if low.base + low.length == high.base and low.type == high.type:
            put = low._replace(length=low.length + high.length)
            yield _Saving((low, high), put)


def _works(machine: Machine, caller: Caller | None, call: KernelCall, it: _Saving) -> bool:
    """Whether it can be done, keeps every type and what others hold, and lets the call pass."""
    served, table = machine.served, machine.table
    assert served is not None
    assert table is not None
    state: KernelState = served.state
    for step in served.kernel.calls_to_replace(it.removed, it.put):
        answer = served.kernel.call(served.machine, state, step)
        if answer.errno is not None:
            return False

        state = answer.state

    after = range_state(table, state.msrs)
    try:
        types = table.driver.types(after)
        if caller is not None:
            check_claims(machine, caller, state, (table.state, after))
    except DeviceError:
        return False  # another process holds one of them, or the driver failed

    if type(types) is not TypeMap or type(table.types) is not TypeMap:
        return False

    if state is served.state or table.types.first_difference(types) is not None:
        return False

    return served.kernel.call(served.machine, state, call).errno is None


def _say(it: _Saving) -> str:
    numbers = [str(one.register) for one in sorted(it.removed)]
    if it.put is None:
        return f"register {numbers[0]} decides no address's type: removing it frees one"

    both, put = " and ".join(numbers), f"{it.put.base:#x}/{it.put.length:#x} ({it.put.type})"

    return f"registers {both} can be one, {put}: frees one"
