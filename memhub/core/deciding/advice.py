"""What ENOSPC tells beside the slots that are in use: what would free one.

It is looked for where a request is refused, and nowhere else. A saving that the caller can make
comes first; one that needs another process names it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.core.deciding.savings import SEARCHED_MAX, Savings, is_plain
from memhub.core.drivers.range_refusals import span, type_words
from memhub.core.ranges.views import busy_slots
from memhub.errors import DriverFailed, NoSpace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memhub.core.deciding.savings import Saving
    from memhub.core.files import Principal
    from memhub.core.machine import Machine
    from memhub.core.requests import SetRange
    from memhub.errors import DeviceError

_NUMBERS: Final = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
#: Ranges that are named, at most.
_NAMED_MAX: Final = 4


def advise(
    machine: Machine, process: Principal, request: SetRange, error: DeviceError
) -> DeviceError:
    """The refusal of a SET; where no slot is free, with what would free one.

    Args:
        machine: the machine; nothing of it changes.
        process: who asked.
        request: what was asked.
        error: the refusal; the obstacles of a NoSpace are the slots in use.

    Returns:
        the same refusal, with more in its reason.
    """
    if type(error) is not NoSpace:
        return error

    slots = [it.slot for it in error.obstacles if it.kind == "slot" and it.slot is not None]
    if not slots or machine.commits.commits or machine.health is not None:
        return error

    try:
        words = _find_words(machine, process, request, slots)
    except DriverFailed:
        return error

    reason = f"{error.reason}; {words}" if words else error.reason

    return NoSpace(reason, code=error.code, obstacles=error.obstacles, moved=error.moved)


def _find_words(machine: Machine, process: Principal, request: SetRange, slots: list[int]) -> str:
    rows = machine.require_table().state.slots
    busy = {*busy_slots(machine.claims, machine.commits, process)}
    plain = [it for it in slots if is_plain(rows[it])]
    own = [it for it in plain if it not in busy]
    search = Savings(machine, process, request, slots)
    found, proved = search.find(process, own)
    if found is None and own != plain:
        found, proved = search.find(None, plain)
        if found is not None and busy.isdisjoint(found.removed):
            found = None  # only own slots, but on the way there another's bytes change their type

    if found is None:
        return _say_none(proved=proved) if len(slots) <= SEARCHED_MAX else ""

    return _say(machine, found, busy)


def _say(machine: Machine, saving: Saving, busy: set[int]) -> str:
    """A saving in words: `slots 90 and 91 can be one, 0xd0000000/0x2000000 (…): frees one`."""
    freed = len(saving.removed) - len(saving.put)
    count = _number(freed)
    if saving.put:
        named = ", ".join(f"{span(it)} ({type_words(it.mr_flags)})" for it in saving.put)
        named = "" if len(saving.put) > _NAMED_MAX else f", {named}"
        said = f"{_slot_words(saving.removed)} can be {_number(len(saving.put))}{named}"
        said = f"{said}: frees {count}"
    else:
        said = f"{_slot_words(saving.removed)} decides no address's type: removing it frees {count}"

    held = [(it, machine.claims.holder(it)) for it in saving.removed if it in busy]
    holders = ", ".join(f"slot {slot} is held by {it.process.name}" for slot, it in held if it)

    return f"{said}, but {holders}" if holders else said


def _say_none(*, proved: bool) -> str:
    if not proved:
        return "no way to save one was found"

    return "nothing can be saved: no fewer ranges give these types"


def _slot_words(slots: Iterable[int]) -> str:
    names = [str(it) for it in slots]
    if len(names) == 1:
        return f"slot {names[0]}"

    return f"slots {', '.join(names[:-1])} and {names[-1]}"


def _number(count: int) -> str:
    return _NUMBERS[count] if count < len(_NUMBERS) else str(count)
