"""Calls to another kernel than FreeBSD to rows and back; arguments and changes are JSON text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from memhub.abi import Errno
from memhub.audit.rows.columns import error_columns, instant_of, msrs_of, stamp_columns
from memhub.audit.rows.ranges import desc_columns, msr_columns
from memhub.core.drivers.served_kernel import KernelCall
from memhub.core.holdings import Holdings
from memhub.core.kernel_items import change_kernel, kernel_change_item, kernel_state_of
from memhub.core.served import KernelCalled, range_state
from memhub.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from memhub.core.drivers.driver import RangeState
    from memhub.core.files import Caller
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine

    Row = dict[str, Any]

_NOBODY: Final = dict.fromkeys(("device", "process", "process_id", "pid", "uid"))


def _called(it: KernelCalled, ended: int) -> Row:
    where = {"machine": it.machine, "arch": it.arch, **_NOBODY}
    change = kernel_change_item(*it.kernels)
    row = {
        **stamp_columns("kernel.call", it.at),
        **(where if it.caller is None else it.caller.facts),
        "op": it.call.op,
        **error_columns(it.error),
        "duration_ns": ended - it.began_ns,
        "args": _text(dict(it.call.args)),
        "answer": None if it.error is not None else _text(it.value),
        "printed": [f"{level}: {text}" for level, text in it.log],
        "changed": _text(change) if change else None,
        "generation": it.generation,
    }
    if it.meant is not None:
        row["base"], row["length"] = it.meant

    if it.states is not None and it.states[0] is not it.states[1]:
        before, after = (state.msrs for state in it.states)
        msrs = {
            number: (before.get(number, 0), after.get(number, 0))
            for number in sorted({**before, **after})
            if before.get(number, 0) != after.get(number, 0)
        }
        row |= {**_slot_columns(*it.states), **msr_columns(msrs)}

    return row


def _slot_columns(before: RangeState, after: RangeState) -> Row:
    """The slots that became different, for readers that have no driver to ask."""
    pairs = [*zip(before.slots, after.slots, strict=True)]
    slots = [slot for slot, (old, new) in enumerate(pairs) if old != new]
    if not slots:
        return {}

    sides = (("before", before.slots), ("after", after.slots))
    columns = [desc_columns(side, [rows[slot] for slot in slots]) for side, rows in sides]

    return {"slots": slots, **columns[0], **columns[1]}


def _text(value: Any) -> str:  # noqa: ANN401 - what a kernel answers
    return orjson.dumps(value).decode()


#: Writers of these rows, by the kind of fact.
KERNEL_WRITERS: Final[Mapping[type, Callable[[Any, int], Row]]] = {KernelCalled: _called}


def read_call(
    row: Mapping[str, Any], machine: Machine, caller_of: Callable[..., Caller]
) -> KernelCalled:
    """The fact of a row.

    Args:
        row: the row.
        machine: the machine before it.
        caller_of: who asked, of a row and its machine.
    """
    served, table = machine.served, machine.table
    assert served is not None
    caller = None if row.get("handle") is None else caller_of(row, machine)
    change = None if row["changed"] is None else orjson.loads(row["changed"])
    after = served.state if change is None else change_kernel(served.state, change)
    states = None
    if table is not None:
        msrs = after.msrs if msrs_of(row) else table.state.msrs
        states = (table.state, range_state(table, msrs))

    errno = row["errno"]
    at = instant_of(row)

    return KernelCalled(
        machine.name,
        machine.arch.name,
        caller,
        at,
        row["mono_ns"] - row["duration_ns"],
        KernelCall(
            row["op"],
            orjson.loads(row["args"]),
            row.get("handle"),
            0 if caller is None else caller.process.id,
        ),
        None if row["answer"] is None else orjson.loads(row["answer"]),
        None if errno is None else DeviceError(row["reason"] or "", code=Errno[errno]),
        tuple(_line_of(line) for line in row["printed"]),
        (served.state, after),
        states,
        row["generation"],
        None if row.get("base") is None else (row["base"], row["length"]),
    )


def _line_of(line: str) -> tuple[str, str]:
    level, _, text = line.partition(": ")

    return level, text


def kernel_in(items: Sequence[Mapping[str, Any]], _machine: Machine, _at: Instant) -> Holdings:
    """The state of a kernel, of a `held.part` row."""
    (it,) = items

    return Holdings(kernel=kernel_state_of(it))
