"""The members of what FAULTS takes and gives: fault rules, sicknesses, and CPUs out of step.

`core/fault_rules` and `core/sickness` have their rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.abi import Errno
from memhub.core.faults.fault_rules import NO_ANSWERS, OPERATION_WORDS
from memhub.core.health.sickness import MOMENTS, SICK_ACTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RULE: Final[Mapping[str, tuple[str, str]]] = {
    "action": (
        "str",
        "`errno`, `delay`, `drop`, `short`, `cut`, `hang`, or a plugin's, as `acme.flip`",
    ),
    "name": ("str", "what it is called; numbered when it is added if missing or empty"),
    "machine": ("str", "only requests to this machine"),
    "op": ("[str]", "only these operations"),
    "base": ("int", "first byte of a window: only requests that touch a byte of it"),
    "length": ("int", "bytes of the window"),
    "process": ("str", "only requests of processes with this name"),
    "nth": ("int", "only the nth request that fits, from 1"),
    "times": ("int", "at most so many faults"),
    "probability": ("float", "of a fault for each request that fits, above 0 and up to 1"),
    "seed": ("int", "decides which; one seed gives one sequence"),
    "errno": ("str", "with `errno`: FreeBSD's name of the error; EIO if missing"),
    "delay": ("float", "with `delay`: by how many seconds"),
    "moved": ("int", "with `short`: the most bytes that move"),
    "options": ("object", "with an action of a plugin: its options, by name"),
}

#: What an answer says beside the rule.
COUNTS: Final[Mapping[str, tuple[str, str]]] = {
    "seen": ("int", "requests that fitted so far; only in answers"),
    "injected": ("int", "faults among them; only in answers"),
}

#: The words that some of them may have.
ENUMS: Final[Mapping[str, Sequence[str]]] = {
    "op": OPERATION_WORDS,
    "errno": [it.name for it in Errno if it not in NO_ANSWERS],
}

#: A sickness: numbers of 64 bits are texts in hexadecimal, with and without STRINGS.
SICKNESS: Final[Mapping[str, tuple[str, str]]] = {
    "action": ("str", f"what is wrong: {', '.join(f'`{it}`' for it in SICK_ACTIONS)}"),
    "name": ("str", "what it is called; numbered when it is added if missing or empty"),
    "machine": ("str", "the machine; missing is the default one when it is added"),
    "cpu": ("int", "which CPU, from 0; missing is all of them"),
    "slot": ("int", "a slot of the range table"),
    "register": ("int", "a register's number, in place of a slot"),
    "registers": ("{str}", "values by register number, both such as `0x2ff`"),
    "holes": ("str", "the bits of a mask register that are zero, such as `0x1000`"),
    "moment": ("str", "when firmware rewrites: `now`, `set` or `resume`"),
    "times": ("int", "how often it strikes at most"),
    "misses_stores": ("bool", "what is stored does not reach the CPU"),
    "reinit": ("bool", "re-initialisation at a resume reaches the CPU"),
}

#: What an answer says beside the sickness.
STRUCK: Final[Mapping[str, tuple[str, str]]] = {
    "count": ("int", "how often it has struck; only in answers"),
}

SICK_ENUMS: Final[Mapping[str, Sequence[str]]] = {"action": SICK_ACTIONS, "moment": MOMENTS}

#: What `check` says of a CPU.
OUT_OF_STEP: Final[Mapping[str, tuple[str, str]]] = {
    "cpu": ("int", "its number"),
    "registers": (
        "{[str]}",
        "by number, such as `0x2ff`: the value expected and the CPU's own, in hexadecimal",
    ),
    "kinds": (
        "[str]",
        "what is inconsistent: `fixed MTRR`, `variable MTRR`, `MTRRdefType` or `register`",
    ),
    "stretches": (
        "[[str]]",
        "where types differ, at most 16: first byte, length, type expected, type that the CPU sees",
    ),
}
