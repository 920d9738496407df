"""What a range driver may answer.

Each check raises Nonsense, with the value and the rule. `asked_driver.py` calls these; the rules
themselves are those of the docstrings in `driver.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from memhub import abi
from memhub.abi import U64_MAX, RangeDesc
from memhub.core.drivers.driver import RangeState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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
#: Registers that one answer may add, and slots of a table: a line of the log holds so many.
REGISTERS_MAX: Final = 4096
SLOTS_MAX: Final = 65536
#: Characters of a text for people; a longer one is cut.
_REASON_MAX: Final = 4096
#: Characters of a name.
WORD_MAX: Final = 256
_NAME_OF: Final[Callable[[type], str]] = vars(type)["__name__"].__get__


class Nonsense(Exception):
    """Raised when an answer breaks a rule; says which value and which rule."""


class DriverStopped(BaseException):
    """Raised inside a call of a driver that lasts too long, by a watchdog; says how long.

    No Exception, so that a driver which catches those is stopped all the same.
    """


def clip(text: str, most: int = _REASON_MAX) -> str:
    """A text in so many characters; one that is cut says how long it was."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"


def _render_value(value: object, how: Callable[[Any], str], otherwise: str) -> str:
    """A plain text of a value, whose own code this runs: only a watchdog or Ctrl-C ends it."""
    try:
        return str.encode(how(value), "utf-8", "backslashreplace").decode()
    except (DriverStopped, KeyboardInterrupt):
        raise
    except BaseException:  # noqa: BLE001 - its `__str__` or `__repr__` is a stranger's code too
        return otherwise


def kind_of(value: object) -> str:
    """The name of a value's class; a metaclass has no say in it."""
    return clip(str.__str__(_NAME_OF(type(value))), _SHOWN)


def show(value: object) -> str:
    """A value of a stranger's class, in at most 80 characters."""
    text = _render_value(value, ascii, f"a {kind_of(value)} that cannot be shown")

    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def say(value: object) -> str:
    """The text of a stranger's value, in words that UTF-8 can hold."""
    return clip(_render_value(value, str, "an error that cannot be shown"))


def name_class(driver: object) -> str:
    """The module and name of a driver's class, or of the function that makes it."""

    def ask(it: object) -> str:
        name = getattr(it, "__qualname__", None) or show(it)

        return ".".join(word for word in (getattr(it, "__module__", None), name) if word)

    return clip(_render_value(driver, ask, f"a {kind_of(driver)} without a name"), WORD_MAX)


def as_mapping(value: object, what: str, most: int) -> dict[Any, Any]:
    """A mapping of an answer, of so many entries at most, as one that does not change any more."""
    if not isinstance(value, Mapping):
        raise Nonsense(f"{what} {show(value)} is not a mapping")

    found = dict(islice(value.items(), most + 1))
    if len(found) > most:
        raise Nonsense(f"{what} has more than {most} entries")

    return found


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
        raise Nonsense(f"slot {slot} holds {show(desc)}, which is not a RangeDesc")

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


def check_state(state: object, attributes: int, given: int) -> RangeState:
    """The first state of a machine, which had so many registers before."""
    if type(state) is not RangeState:
        raise Nonsense(f"answered {show(state)}, which is not a RangeState")

    if type(state.slots) is not tuple:
        raise Nonsense(f"slots {show(state.slots)} are not a tuple")

    if len(state.slots) > SLOTS_MAX:
        raise Nonsense(f"has {len(state.slots)} slots, which is more than {SLOTS_MAX}")

    for slot, desc in enumerate(state.slots):
        check_row(slot, desc, attributes | abi.MDF_SETTABLE, ())

    msrs = as_mapping(state.msrs, "`msrs`", REGISTERS_MAX + given)
    for number, value in msrs.items():
        check_register(number, value)

    if type(state.settled) is not bool:
        raise Nonsense(f"`settled` {show(state.settled)} is not True or False")

    return replace(state, msrs=msrs)


def check_extent(bounds: object) -> tuple[int, int]:
    """The bounds of what a slot decides."""
    if type(bounds) is not tuple or len(bounds) != 2:
        raise Nonsense(f"answered {show(bounds)}, which is not a pair of bounds")

    lo, hi = bounds
    if not (type(lo) is type(hi) is int and 0 <= lo <= _EXTENT_MAX and 0 <= hi <= _EXTENT_MAX):
        raise Nonsense(f"answered {show(bounds)}, which are not addresses")

    return lo, hi


def check_types(answer: object) -> TypeMap:
    """The effective types of a state."""
    # A driver that answers one has loaded numpy; a hub without ranges does without.
    from memhub.core.effective.directmap import DirectTypeMap
    from memhub.core.effective.typemap import TypeMap

    # What a class of a plugin's own overrides would run where nothing guards it.
    if not (type(answer) is TypeMap or type(answer) is DirectTypeMap):
        raise Nonsense(f"answered {show(answer)}, which is not a TypeMap")

    return answer


def check_reason(answer: TypeAnswer) -> TypeAnswer:
    """The type of one address, with the reason that a driver's own function gives."""
    why = check_text("the reason of a type", answer.why)

    return answer if why == answer.why else replace(answer, why=why)


def check_text(what: str, text: object, most: int = _REASON_MAX) -> str:
    """A text for people, cut if it is long."""
    if type(text) is not str:
        raise Nonsense(f"{what}, {show(text)}, is not a text")

    try:
        text.encode()
    except UnicodeEncodeError:
        raise Nonsense(f"{what}, {show(text)}, is not a text that UTF-8 can hold") from None

    return clip(text, most)
