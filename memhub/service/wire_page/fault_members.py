"""The members of a fault rule in FAULTS, in words; `core/fault_rules` has their rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.abi import Errno
from memhub.core.fault_rules import NO_ANSWERS, OPERATION_WORDS

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
