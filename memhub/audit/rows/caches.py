"""Facts of caches and of the bus to rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.audit.rows.columns import error_columns, process_columns, stamp_columns
from memhub.core.caches import facts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Row = dict[str, Any]

_NOBODY: Final = {"process": None, "process_id": None, "pid": None, "uid": None}


def _flushed(it: facts.LinesFlushed, ended: int) -> Row:
    return {
        **stamp_columns("request.flush", it.at),
        **it.caller.facts,
        "op": it.op,
        **_span_columns(it.base, it.length),
        **error_columns(it.error),
        "duration_ns": ended - it.at.mono_ns,
    }


def _accessed(it: facts.BusAccessed, _ended: int) -> Row:
    return {
        **stamp_columns("bus.access", it.at),
        "machine": it.machine,
        "arch": it.arch,
        "op": it.op,
        **_span_columns(it.base, it.length),
        **error_columns(it.error),
    }


def _reached(it: facts.LinesReached, _ended: int) -> Row:
    arrivals = it.arrivals

    return {
        **stamp_columns("bus.lines", it.at),
        "machine": it.machine,
        "arch": it.arch,
        **(_NOBODY if it.process is None else process_columns(it.process)),
        "line_bases": [arrival.address for arrival in arrivals],
        "line_lengths": [arrival.length for arrival in arrivals],
        "line_causes": [arrival.cause for arrival in arrivals],
    }


def _span_columns(base: int, length: int) -> Row:
    return {
        "base": base if 0 <= base < 1 << 64 else None,
        "length": length if 0 <= length < 1 << 64 else None,
    }


#: Writers of these rows, by the kind of fact.
CACHE_WRITERS: Final[Mapping[type, Callable[[Any, int], Row]]] = {
    facts.LinesFlushed: _flushed,
    facts.BusAccessed: _accessed,
    facts.LinesReached: _reached,
}
