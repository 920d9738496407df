"""The `[[faults]]` tables: the fault rules and sicknesses that a hub begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.config.sickness import read_sickness
from memhub.config.values import choice, count, integer, length_above_zero, seconds, text, u64
from memhub.core.faults.fault_options import is_added
from memhub.core.faults.fault_rules import ACTIONS, OPERATION_WORDS, FaultRule
from memhub.core.health.sickness import SICK_ACTIONS, Sickness
from memhub.fault_kinds import load_fault_kinds

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from memhub.config.reader import Table

_OPERATIONS: Final = choice({it: it for it in OPERATION_WORDS}, "an operation")
_OWN_ACTION: Final = choice({it: it for it in (*ACTIONS, *SICK_ACTIONS)}, "an action")
_COUNT: Final = count(1, 1 << 53)


def _read_action(value: object) -> str:
    """An action of memhub, or of a plugin."""
    word = text(value)

    return word if is_added(word) else _OWN_ACTION(word)


def read_faults(table: Table, machines: Collection[str]) -> tuple[FaultRule | Sickness, ...]:
    """Read `[[faults]]`; `machines` are the names that the rules may use."""
    rules: list[FaultRule | Sickness] = []
    for row in table.tables("faults"):
        action = row.need("action", _read_action, "errno")
        rule = read_sickness(row, action) if action in SICK_ACTIONS else _read_rule(row, action)
        if rule is None:
            continue

        if rule.machine is not None and rule.machine not in machines:
            known = ", ".join(machines)
            row.wrong("machine", f"{rule.machine!r} is not a machine of this file ({known})")

        if rule.name and rule.name in {it.name for it in rules}:
            row.wrong("name", f"{rule.name!r} is the name of an earlier rule")

        rules.append(rule)

    return tuple(rules)


def _read_rule(row: Table, action: str) -> FaultRule | None:
    """One rule; None where a value of it is wrong, which has been reported."""
    found: dict[str, Any] = {name: row.take(name, it, None) for name, it in _FIELDS.items()}
    found["action"] = action
    found["op"] = row.array("op", _OPERATIONS)
    options = row.table("options")
    if options is not None:
        found["options"] = options.entries(lambda value: value)

    row.finish()
    if not row.sound:
        return None

    try:
        rule = FaultRule(**{name: value for name, value in found.items() if value is not None})
        if is_added(action):
            load_fault_kinds().kind_of(rule)

        return rule
    except ValueError as error:
        row.wrong("", str(error))

    return None


def _parse_probability(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"{value!r} is not a number above 0 and up to 1")

    return float(value)


_FIELDS: Final[Mapping[str, Callable[[object], Any]]] = {
    "name": text,
    "machine": text,
    "process": text,
    "base": u64,
    "length": length_above_zero,
    "nth": _COUNT,
    "times": _COUNT,
    "probability": _parse_probability,
    "seed": count(0, 1 << 53),
    "errno": text,
    "delay": seconds,
    "moved": integer(0, (1 << 64) - 1),
}
