"""Sick hardware: what is wrong with the registers of a machine. Plain values.

`memhub.core.health.health` says what a sickness does to registers, `memhub.faults.hardware` adds
and ends them.
"""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from memhub.abi import U64_MAX
from memhub.arguments import check_keys, refuse_truths, take_integer, take_text

if TYPE_CHECKING:
    from collections.abc import Mapping

SickAction = Literal[
    "cpu_out_of_step",
    "lost_store",
    "mask_holes",
    "firmware_rewrite",
    "forgetful_resume",
    "stuck_slot",
]
Moment = Literal["now", "set", "resume"]

SICK_ACTIONS: Final[tuple[SickAction, ...]] = get_args(SickAction)
MOMENTS: Final[tuple[Moment, ...]] = get_args(Moment)

#: The highest number of a register, and of a CPU.
_REGISTER_MAX: Final = 0xFFFFFFFF
CPU_MAX: Final = 1023

#: The least and the most that a number may be.
_BOUNDS: Final = (
    ("cpu", 0, CPU_MAX),
    ("slot", 0, 65535),
    ("register", 0, _REGISTER_MAX),
    ("holes", 1, U64_MAX),
    ("times", 1, 1 << 53),
)

#: The numbers that a message shows in hexadecimal.
_HEX: Final = frozenset({"register", "holes"})

#: The fields that each action needs, and those that it may have beside `name` and `machine`.
_FIELDS: Final[Mapping[str, tuple[frozenset[str], frozenset[str]]]] = {
    "cpu_out_of_step": (frozenset({"cpu"}), frozenset({"registers", "misses_stores"})),
    "lost_store": (frozenset(), frozenset({"slot", "register", "cpu", "times"})),
    "mask_holes": (frozenset({"slot", "holes"}), frozenset({"cpu"})),
    "firmware_rewrite": (frozenset({"registers"}), frozenset({"cpu", "moment", "times"})),
    "forgetful_resume": (frozenset(), frozenset({"cpu", "reinit", "times"})),
    "stuck_slot": (frozenset({"slot"}), frozenset()),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sickness:
    """What is wrong with the registers of a machine.

    Attributes:
        action: `cpu_out_of_step`: a CPU has `registers` of its own, and with `misses_stores` keeps
            what it has, whatever is stored. `lost_store`: what is stored in a slot's registers, or
            in one register, is lost. `mask_holes`: bits of a slot's mask register read as zero.
            `firmware_rewrite`: firmware gives registers other values. `forgetful_resume`: a resume
            finds the registers as after power-on. `stuck_slot`: a slot stays as it is.
        name: what it is called in the log; numbered when it is added if empty.
        machine: a machine's name; None for the default one.
        cpu: which CPU, from 0, the one that answers requests; None for all of them. A CPU that is
            out of step is not number 0, by which the others are judged.
        slot: a slot of the range table.
        register: a register's number, in place of a slot.
        registers: values by register number.
        holes: the bits of a mask register that are zero.
        moment: when firmware rewrites: `now`, after each MEMRANGE_SET that takes effect (`set`),
            or at each resume, before the kernel writes its table (`resume`).
        times: how often it strikes at most.
        misses_stores: what is stored, at a MEMRANGE_SET and at re-initialisation, does not reach
            the CPU.
        reinit: whether the kernel's re-initialisation at the resume reaches the CPU.

    Raises:
        ValueError: a field is out of its bounds, does not fit the action, or is missing.
        TypeError: a field has the wrong type.
    """

    action: SickAction
    name: str = ""
    machine: str | None = None
    cpu: int | None = None
    slot: int | None = None
    register: int | None = None
    registers: Mapping[int, int] = field(default_factory=dict, hash=False)
    holes: int | None = None
    moment: Moment = "now"
    times: int | None = None
    misses_stores: bool = False
    reinit: bool = False

    def __post_init__(self) -> None:
        if take_text("action", self.action) not in SICK_ACTIONS:
            raise ValueError(f"action {self.action!r:.80} is none of {', '.join(SICK_ACTIONS)}")

        take_text("name", self.name)
        if self.machine is not None:
            take_text("machine", self.machine)

        for name in ("misses_stores", "reinit"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} {getattr(self, name)!r:.80} is not True or False")

        object.__setattr__(self, "registers", _take_registers(self.registers))
        self._take_numbers()
        self._check_keys()

    def _take_numbers(self) -> None:
        refuse_truths(self, [name for name, _, _ in _BOUNDS])
        for name, least, most in _BOUNDS:
            value = getattr(self, name)
            if value is not None:
                number = _take_number(name, value)
                object.__setattr__(self, name, number)
                if not least <= number <= most:
                    shown = (hex(number), hex(most)) if name in _HEX else (number, most)
                    raise ValueError(f"{name} {shown[0]} is not between {least} and {shown[1]}")

    def _check_keys(self) -> None:
        needed, more = _FIELDS[self.action]
        for it in fields(self):
            name = it.name
            said = self._says(it)
            if name in needed and not said:
                raise ValueError(f"action {self.action} needs {name}")

            if said and name not in {"action", "name", "machine", *needed, *more}:
                raise ValueError(f"action {self.action} has no {name}")

        if take_text("moment", self.moment) not in MOMENTS:
            raise ValueError(f"moment {self.moment!r:.80} is none of {', '.join(MOMENTS)}")

        if self.action == "lost_store" and (self.slot is None) == (self.register is None):
            raise ValueError("action lost_store needs either a slot or a register")

        if self.action == "cpu_out_of_step":
            if not self.cpu:
                raise ValueError("CPU 0 is the one by which the others are judged")

            if not (self.registers or self.misses_stores):
                raise ValueError("action cpu_out_of_step needs registers or misses_stores")

        if self.times is not None and self.action == "firmware_rewrite" and self.moment == "now":
            raise ValueError("times is for a firmware_rewrite that comes again: moment set, resume")

    def _says(self, it: Field[Any]) -> bool:
        """Whether a field has another value than the one by default."""
        value = getattr(self, it.name)

        return bool(value) if it.name == "registers" else value != it.default

    def strikes(self, cpu: int) -> bool:
        """Whether it is for this CPU."""
        return self.cpu is None or self.cpu == cpu

    def as_dict(self) -> dict[str, Any]:
        """The fields that say something, for JSON and TOML; 64-bit numbers are texts."""
        found: dict[str, Any] = {}
        for it in fields(self):
            if self._says(it):
                found[it.name] = getattr(self, it.name)

        if self.registers:
            found["registers"] = {f"{it:#x}": f"{value:#x}" for it, value in self.registers.items()}

        if self.holes is not None:
            found["holes"] = f"{self.holes:#x}"

        return found


def is_sickness(found: Mapping[str, Any]) -> bool:
    """Whether what `as_dict` of a rule or a sickness gave is of a sickness."""
    return found.get("action") in SICK_ACTIONS


def sickness_of_dict(found: Mapping[str, Any]) -> Sickness:
    """The sickness of what `Sickness.as_dict` gives.

    Raises:
        ValueError: a key is unknown, or `action` is missing; and as `Sickness`.
        TypeError: a value has the wrong type.
    """
    check_keys("a sickness", found, [it.name for it in fields(Sickness)], "action")

    return Sickness(**found)


def _take_number(name: str, value: object) -> int:
    """An integer, or a text that says one, as JSON and TOML have it."""
    if not isinstance(value, str):
        return take_integer(name, value)

    try:
        return int(value, 0)
    except ValueError:
        raise ValueError(f"{name} {value!r:.80} is not a number") from None


def _take_registers(given: object) -> Mapping[int, int]:
    """Values by register number."""
    items = getattr(given, "items", None)
    if items is None:
        raise TypeError(f"registers {given!r:.80} is not a mapping")

    found: dict[int, int] = {}
    for key, value in items():
        number = _take_number("register", key)
        what = _take_number(f"register {number:#x}", value)
        if not 0 <= number <= _REGISTER_MAX:
            raise ValueError(f"register {number:#x} is not between 0 and {_REGISTER_MAX:#x}")

        if not 0 <= what <= U64_MAX:
            raise ValueError(f"register {number:#x}: {what:#x} does not fit 64 bits")

        found[number] = what

    return found
