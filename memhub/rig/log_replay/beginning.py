"""A machine of a replay that holds something when it begins: a fork, or one in mid-life."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from memhub.audit.rows import holdings_in
from memhub.audit.rows.columns import descs_of
from memhub.core.holdings import give_holdings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.core.machine import Machine
    from memhub.rig.log_replay.asking import Life
    from memhub.rig.log_replay.steps import LogStep

    Row = Mapping[str, Any]

#: What does not depend on slots and registers.
_CARRIED: Final = frozenset({"files", "losses", "numbers"})


def begin_held(life: Life, step: LogStep) -> set[int]:
    """Let the machine of a life hold what the log says that it held; numbers are those of the log.

    Another machine than that of the log holds the files and the claims of bytes, and not what
    depends on slots and registers: claims of slots, what is to be put back, and what is wrong with
    the hardware.

    Args:
        life: the life, which has just begun.
        step: what the machine is and holds.

    Returns:
        the numbers of the claims that it does not hold.
    """
    (machine,) = life.engine.machines.values()
    alike = _is_as_told(machine, step.row)
    left_out: set[int] = set()
    for part in step.parts:
        known = part if alike else _carried(part, left_out)
        if known is not None:
            give_holdings(machine, holdings_in(known, machine))

    life.held = True
    life.files = {file.caller.handle: file.caller.handle for file in machine.files}
    life.fences = {fence: fence for fence in machine.claims.claims}
    life.fences |= {
        lost.fence: lost.fence for mine in machine.claims.lost.values() for lost in mine.values()
    }
    life.engine.files.take_over(life.engine.machines.values())
    life.engine.deadlines.note(machine.due_ns)

    return left_out


def _carried(part: Row, left_out: set[int]) -> Row | None:
    """What another machine can hold of a part; the claims that it cannot hold are left out."""
    if part["part"] != "claims":
        return part if part["part"] in _CARRIED else None

    carried = []
    for item in orjson.loads(part["held"]):
        if item["kind"] == "range":
            carried.append({**item, "slots": []})
        else:
            left_out.add(item["fence"])

    return {**part, "held": orjson.dumps(carried).decode()}


def _is_as_told(machine: Machine, row: Row) -> bool:
    """Whether a machine has the slots that a log tells of."""
    if machine.arch.name != row["arch"]:
        return False

    return machine.table is None or machine.table.state.slots == descs_of("after", row)
