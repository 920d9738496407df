"""Faults that rules injected, to rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.audit.rows.columns import error_columns, stamp_columns
from memhub.core.faults.fault_rules import FaultInjected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Row = dict[str, Any]


def _fault_injected(it: FaultInjected, _ended: int) -> Row:
    rule = it.rule
    row = {
        **stamp_columns("fault", it.at),
        **it.caller.facts,
        "op": it.op,
        "rule": rule.name,
        "action": rule.action,
        "count": it.number,
        **error_columns(it.error),
    }
    if it.span is not None:
        row["base"], row["length"] = it.span

    does = rule if it.does is None else it.does
    if does.delay is not None:
        row["delay_ns"] = round(does.delay * 1e9)

    if does.moved is not None:
        row["moved"] = does.moved

    return row


#: Writers of these rows, by the kind of fact.
FAULT_WRITERS: Final[Mapping[type, Callable[[Any, int], Row]]] = {FaultInjected: _fault_injected}
