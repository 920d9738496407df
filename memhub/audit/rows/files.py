"""Facts of machines and open files to rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.audit.rows.columns import (
    error_columns,
    process_columns,
    stamp_columns,
)
from memhub.audit.rows.ranges import desc_columns
from memhub.core import events
from memhub.core.deciding.open_close import MODES
from memhub.core.health.failure import MachineFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.core.drivers.driver import RangeState

    Row = dict[str, Any]


#: What a file was opened for, reading and writing, and the open(2) mode of it.
ACCESS_FLAGS: Final = {(True, False): 0, (False, True): 1, (True, True): 2}


def _attached(it: events.Attached, _ended: int) -> Row:
    return {
        **stamp_columns("device.attach", it.at),
        **table_columns(it.machine, it.arch, it.phys_bits, it.state),
        "config": it.config,
        "generation": it.generation,
    }


def table_columns(machine: str, arch: str, phys_bits: int, state: RangeState | None) -> Row:
    """The whole table of a machine, and its registers."""
    slots = state.slots if state is not None else ()
    msrs = state.msrs if state is not None else {}

    return {
        "machine": machine,
        "arch": arch,
        "phys_bits": phys_bits,
        "slots": list(range(len(slots))),
        **desc_columns("after", slots),
        "msrs": list(msrs),
        "after_msr": list(msrs.values()),
    }


def _detached(it: events.Detached, _ended: int) -> Row:
    return {
        **stamp_columns("device.detach", it.at),
        "machine": it.machine,
        "arch": it.arch,
        "generation": it.generation,
    }


def _failed(it: MachineFailed, _ended: int) -> Row:
    return {
        **stamp_columns("device.fail", it.at),
        "machine": it.machine,
        "arch": it.arch,
        "count": it.failure.failures,
        "errno": "EIO",
        "reason": it.failure.reason,
        "generation": it.generation,
    }


def _opened(it: events.Opened, ended: int) -> Row:
    file = it.file

    return {
        **stamp_columns("request.open", it.at),
        **file.caller.facts,
        "op": "open",
        "flags": ACCESS_FLAGS[file.readable, file.writable],
        "undo": file.undo,
        "model": file.model.name,
        **error_columns(None),
        "duration_ns": ended - it.at.mono_ns,
    }


def _open_refused(it: events.OpenRefused, ended: int) -> Row:
    return {
        **stamp_columns("request.open", it.at),
        **process_columns(it.process),
        "machine": it.machine,
        "arch": it.arch,
        "device": it.device,
        "op": "open",
        "flags": MODES.get(it.mode, (0, 0, -1))[2],
        **error_columns(it.error),
        "duration_ns": ended - it.at.mono_ns,
    }


def _closed(it: events.Closed, ended: int) -> Row:
    return {
        **stamp_columns("request.close", it.at),
        **it.file.caller.facts,
        "op": "close",
        "cause": it.cause,
        **error_columns(None),
        "duration_ns": ended - it.at.mono_ns,
    }


#: Writers of these rows, by the kind of fact.
FILE_WRITERS: Final[Mapping[type, Callable[[Any, int], Row]]] = {
    events.Attached: _attached,
    events.Detached: _detached,
    MachineFailed: _failed,
    events.Opened: _opened,
    events.OpenRefused: _open_refused,
    events.Closed: _closed,
}
