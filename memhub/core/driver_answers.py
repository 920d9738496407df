"""What a range driver may answer, and the error of one that answers otherwise.

Each check raises Nonsense, with the value and the rule. `asked_driver.py` calls these; the rules
themselves are those of the docstrings in `driver.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from memhub import abi, errors
from memhub.abi import U64_MAX, RangeDesc
from memhub.core.driver import RangeState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memhub.core.driver import Arch
    from memhub.core.effective.typemap import TypeAnswer, TypeMap

REGISTER_MAX: Final = 0xFFFFFFFF
#: The flags that any slot may have, beside its attributes and those that it was given.
SLOT_FLAGS: Final = (
    abi.MDF_UNKNOWN
    | abi.MDF_ACTIVE
    | abi.MDF_FIRMWARE
    | abi.MDF_FIXBASE
    | abi.MDF_FIXLEN
    | abi.MDF_FIXACTIVE
    | abi.MDF_BOGUS
)
#: What `extent` may answer at most: the end of the longest range at the last address.
_EXTENT_MAX: Final = 1 << 65
_SHOWN: Final = 80
#: What only a hub can know, so that no driver may raise it.
_OF_THE_HUB: Final = (
    errors.BadHandle,
    errors.Cancelled,
    errors.DriverFailed,
    errors.LogFailed,
    errors.StaleClaim,
    errors.TimedOut,
    errors.WouldDeadlock,
)
_TEXTS: Final = frozenset({"kind", "type", "owner", "process"})


class Nonsense(Exception):
    """Raised when an answer breaks a rule; says which value and which rule."""


class DriverStopped(BaseException):
    """Raised inside a call of a driver that lasts too long, by a watchdog; says how long.

    No Exception, so that a driver which catches those is stopped all the same.
    """


def show(value: object) -> str:
    """A value of a stranger's class, in at most 80 characters."""
    try:
        text = ascii(value)
    except Exception:  # noqa: BLE001 - its `__repr__` is a stranger's code too
        text = f"a {type(value).__name__} that cannot be shown"

    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def describe_error(error: BaseException) -> str:
    """An exception of a stranger's class, in words that UTF-8 can hold."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - its `__str__` is a stranger's code too
        text = "an error that cannot be shown"

    return f"{type(error).__name__}: {text}".encode("utf-8", "backslashreplace").decode()


def make_failure(
    arch: Arch, machine: str, driver: object, method: str, error: BaseException
) -> errors.DriverFailed:
    """The EIO of a driver that failed.

    Args:
        arch: its architecture.
        machine: the machine's name.
        driver: its class, or the function that makes it.
        method: the method, or nothing.
        error: what it raised, or what is wrong with its answer.
    """
    said = isinstance(error, Nonsense | DriverStopped)
    what = str(error) if said else f"failed with {describe_error(error)}"

    return errors.DriverFailed(f"{name_call(arch, machine, driver, method)}, {what}")


def name_call(arch: Arch, machine: str, driver: object, method: str) -> str:
    """A method of a driver, in words: its plugin, class, architecture and machine."""
    plugin = f"{arch.plugin}: " if arch.plugin else ""
    module = getattr(driver, "__module__", None)
    name = getattr(driver, "__qualname__", None) or show(driver)
    words = ".".join(it for it in (module, name, method) if it)

    return f"{plugin}{words}, the driver of {arch.name} on {machine}"


def as_mapping(value: object, what: str) -> dict[Any, Any]:
    """A mapping of an answer, as one that does not change any more."""
    if not isinstance(value, Mapping):
        raise Nonsense(f"{what} {show(value)} is no mapping")

    return dict(value)


def check_row(slot: int, desc: object, attributes: int, given: Iterable[RangeDesc]) -> None:
    """One slot of an answer.

    Args:
        slot: its index.
        desc: what it holds.
        attributes: the attributes that the architecture has.
        given: descriptors that the driver was given: a request may have odd flags, or wrap at 64
            bits, and some kernels keep it as it comes.
    """
    if type(desc) is not RangeDesc:
        raise Nonsense(f"slot {slot} holds {show(desc)}, which is no RangeDesc")

    if type(desc.mr_owner) is not bytes:
        raise Nonsense(f"slot {slot}: mr_owner {show(desc.mr_owner)} is not bytes")

    known, spans = attributes | SLOT_FLAGS, set()
    for it in given:
        known |= it.mr_flags
        spans.add((it.mr_base, it.mr_len))

    if odd := desc.mr_flags & ~known:
        words = " ".join(abi.flag_words(odd)) or "no known ones"
        raise Nonsense(
            f"slot {slot}: flags {odd:#x} ({words}) are none of the architecture's and were not "
            "asked for"
        )

    if desc.mr_end > U64_MAX + 1 and (desc.mr_base, desc.mr_len) not in spans:
        raise Nonsense(f"slot {slot}: {desc.mr_base:#x} + {desc.mr_len:#x} does not fit 64 bits")


def check_slot(slot: object, count: int) -> None:
    """The index of a slot."""
    if type(slot) is not int or not 0 <= slot < count:
        raise Nonsense(f"slot {show(slot)} is not an integer from 0 to {count - 1}")


def check_written(wrote: object, count: int) -> None:
    """The slots that a Change says it writes."""
    if type(wrote) is not tuple:
        raise Nonsense(f"`wrote` {show(wrote)} is not a tuple")

    for slot in wrote:
        check_slot(slot, count)

    if len(set(wrote)) != len(wrote):
        raise Nonsense(f"`wrote` {show(wrote)} names a slot twice")


def check_register(number: object, value: object) -> None:
    """One register."""
    if type(number) is not int or not 0 <= number <= REGISTER_MAX:
        raise Nonsense(f"register {show(number)} is not an integer from 0 to 0xffffffff")

    if type(value) is not int or not 0 <= value <= U64_MAX:
        raise Nonsense(f"register {number:#x}: {show(value)} is not an unsigned 64-bit number")


def check_state(state: object, attributes: int) -> RangeState:
    """The first state of a machine."""
    if type(state) is not RangeState:
        raise Nonsense(f"answered {show(state)}, which is no RangeState")

    if type(state.slots) is not tuple:
        raise Nonsense(f"slots {show(state.slots)} are not a tuple")

    for slot, desc in enumerate(state.slots):
        check_row(slot, desc, attributes | abi.MDF_SETTABLE, ())

    for number, value in as_mapping(state.msrs, "`msrs`").items():
        check_register(number, value)

    if type(state.settled) is not bool:
        raise Nonsense(f"`settled` {show(state.settled)} is not True or False")

    return state


def check_extent(bounds: object) -> tuple[int, int]:
    """The bounds of what a slot decides."""
    if type(bounds) is not tuple or len(bounds) != 2:
        raise Nonsense(f"answered {show(bounds)}, which is no pair of bounds")

    lo, hi = bounds
    if not (type(lo) is type(hi) is int and 0 <= lo <= _EXTENT_MAX and 0 <= hi <= _EXTENT_MAX):
        raise Nonsense(f"answered {show(bounds)}, which are no addresses")

    return lo, hi


def check_types(answer: object) -> TypeMap:
    """The effective types of a state."""
    # A driver that answers one has loaded numpy; a hub without ranges does without.
    from memhub.core.effective.typemap import TypeMap

    if not isinstance(answer, TypeMap):
        raise Nonsense(f"answered {show(answer)}, which is no TypeMap")

    return answer


def check_reason(answer: TypeAnswer) -> TypeAnswer:
    """The type of one address, with the reason that a driver's own function gives."""
    _check_text("the reason of a type", answer.why)

    return answer


def check_refusal(error: errors.DeviceError, count: int) -> None:
    """The refusal of a request, which goes to the log and to clients as it is.

    Args:
        error: what the driver raised.
        count: how many slots there are.
    """
    name = type(error).__name__
    if isinstance(error, _OF_THE_HUB):
        raise Nonsense(f"raised {name}, which is not for a driver to raise: {error.reason}")

    _check_text(f"the reason of {name}", error.reason)
    if type(error.code) is not abi.Errno:
        raise Nonsense(f"raised {name} with the code {show(error.code)}, which is no Errno")

    if type(error.obstacles) is not tuple:
        raise Nonsense(f"raised {name} with obstacles {show(error.obstacles)}, which are no tuple")

    for obstacle in error.obstacles:
        _check_obstacle(obstacle, count)

    if error.moved != 0:
        raise Nonsense(f"raised {name} with `moved` {show(error.moved)}, which is not 0")


def _check_obstacle(obstacle: object, count: int) -> None:
    if type(obstacle) is not errors.Obstacle:
        raise Nonsense(f"named {show(obstacle)} as an obstacle, which is no Obstacle")

    if obstacle.slot is not None:
        check_slot(obstacle.slot, count)

    for it in fields(obstacle):
        value = getattr(obstacle, it.name)
        if it.name in _TEXTS and (value is not None or it.name == "kind"):
            _check_text(f"{it.name} of an obstacle", value)
        elif value is not None and it.name not in _TEXTS and not _is_amount(it.name, value):
            raise Nonsense(f"{it.name} of an obstacle, {show(value)}, is not a number")


def _is_amount(name: str, value: object) -> bool:
    if name == "since" and type(value) is float:
        return 0 <= value < 1e12

    return type(value) is int and 0 <= value <= U64_MAX


def _check_text(what: str, text: object) -> None:
    if type(text) is not str:
        raise Nonsense(f"{what}, {show(text)}, is not a text")

    try:
        text.encode()
    except UnicodeEncodeError:
        raise Nonsense(f"{what}, {show(text)}, is not a text that UTF-8 can hold") from None
