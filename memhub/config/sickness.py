"""A row of `[[faults]]` that makes a machine's hardware sick."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.config.values import boolean, choice, count, integer, parse_integer, text, u64
from memhub.core.health.sickness import CPU_MAX, MOMENTS, Sickness

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.config.reader import Table


def read_sickness(row: Table, action: str) -> Sickness | None:
    """One sickness; None where a value of it is wrong, which has been reported.

    Args:
        row: the table, whose `action` has been read.
        action: that.
    """
    found: dict[str, Any] = {name: row.take(name, it, None) for name, it in _FIELDS.items()}
    found["registers"] = _read_registers(row)
    row.finish()
    if not row.sound:
        return None

    try:
        said = {name: value for name, value in found.items() if value is not None}
        return Sickness(action=action, **said)  # type: ignore[arg-type]
    except ValueError as error:
        row.wrong("", str(error))

    return None


def _read_registers(row: Table) -> dict[int, int] | None:
    table = row.table("registers")
    if table is None:
        return None

    found = {}
    for key, value in table.entries(u64).items():
        try:
            found[parse_integer(key)] = value
        except ValueError as error:
            table.wrong(key, f"the register's number {error}")

    return found


_FIELDS: Final[Mapping[str, Callable[[object], Any]]] = {
    "name": text,
    "machine": text,
    "cpu": count(0, CPU_MAX),
    "slot": count(0, 65535),
    "register": integer(0, 0xFFFFFFFF),
    "holes": integer(1, (1 << 64) - 1),
    "moment": choice({it: it for it in MOMENTS}, "a moment"),
    "times": count(1, 1 << 53),
    "misses_stores": boolean,
    "reinit": boolean,
}
