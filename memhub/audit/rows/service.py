"""Facts of the service to rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.audit.rows.columns import error_columns, process_columns, stamp_columns
from memhub.core import service_events as events

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Row = dict[str, Any]


def _client_connected(it: events.ClientConnected, _ended: int) -> Row:
    return {
        **stamp_columns("service.connect", it.at),
        **process_columns(it.process),
        "peer": it.peer,
    }


def _client_gone(it: events.ClientGone, _ended: int) -> Row:
    return {
        **stamp_columns("service.disconnect", it.at),
        **process_columns(it.process),
        "peer": it.peer,
        "cause": it.cause,
        "reason": it.reason,
        "duration_ns": it.at.mono_ns - it.began_ns,
    }


def _client_refused(it: events.ClientRefused, _ended: int) -> Row:
    return {
        **stamp_columns("service.reject", it.at),
        **it.who,
        "peer": it.peer,
        "op": it.op,
        **error_columns(it.error),
    }


def _memory_mapped(it: events.MemoryMapped, _ended: int) -> Row:
    return {
        **stamp_columns("memory.map", it.at),
        **it.caller.facts,
        "peer": it.peer,
        "op": "map",
        "flags": it.rights,
        **error_columns(it.error),
    }


#: Writers of these rows, by the kind of fact.
SERVICE_WRITERS: Final[Mapping[type, Callable[[Any, int], Row]]] = {
    events.ClientConnected: _client_connected,
    events.ClientGone: _client_gone,
    events.ClientRefused: _client_refused,
    events.MemoryMapped: _memory_mapped,
}
