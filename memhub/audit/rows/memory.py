"""Facts of transfers to rows."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from memhub.audit.rows.columns import stamp_columns
from memhub.core import events
from memhub.core.restored import MemoryLoaded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Row = dict[str, Any]


def _read(it: events.MemoryRead, ended: int) -> Row:
    base, length, error = it.base, it.length, it.error

    return {
        "event": "request.read",
        "wall_ns": it.at.wall_ns,
        "mono_ns": it.at.mono_ns,
        **it.caller.facts,
        "op": it.op,
        "base": base if 0 <= base < 1 << 64 else None,
        "length": length if 0 <= length < 1 << 64 else None,
        "moved": it.moved,
        "errno": None if error is None else error.code.name,
        "reason": None if error is None else error.reason,
        "duration_ns": ended - it.began_ns,
    }


def _written(it: events.MemoryWritten, ended: int) -> Row:
    base, length, error = it.base, it.length, it.error

    return {
        "event": "request.write",
        "wall_ns": it.at.wall_ns,
        "mono_ns": it.at.mono_ns,
        **it.caller.facts,
        "op": it.op,
        "base": base if 0 <= base < 1 << 64 else None,
        "length": length if 0 <= length < 1 << 64 else None,
        "moved": it.moved,
        "digest": sha256(it.data[: it.moved]).hexdigest() if it.pieces else None,
        "errno": None if error is None else error.code.name,
        "reason": None if error is None else error.reason,
        "duration_ns": ended - it.began_ns,
    }


def _loaded(it: MemoryLoaded, _ended: int) -> Row:
    row = {
        **stamp_columns("memory.load", it.at),
        "machine": it.machine,
        "arch": it.arch,
        "op": "replace" if it.cleared else "load",
        "base": it.base,
        "length": it.length,
        "moved": it.moved,
        "reason": it.source,
    }

    return row if it.lost is None else {**row, "count": it.lost}


#: Writers of these rows, by the kind of fact.
MEMORY_WRITERS: Final[Mapping[type, Callable[[Any, int], Row]]] = {
    events.MemoryRead: _read,
    events.MemoryWritten: _written,
    MemoryLoaded: _loaded,
}
