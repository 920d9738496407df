"""Which records change the table of a machine: those of facts that `audit/history` applies.

Each says what it changed in the same lists: `slots`, `before_…` and `after_…`. What else the log
has of tables is the same again (`held.machine`, at the head of a segment), or is about registers
alone (`hardware.…`).
"""

from __future__ import annotations

from typing import Any, Final

Table = Any
Column = Any

#: What a process, or a driver, changes.
SETTERS: Final = ("request.set", "kernel.call")

#: What puts a table back.
RETURNS: Final = ("undo", "device.restore")

#: MEMRANGE_SET and an undo that were refused have slots too; other records have those that changed.
_REFUSABLE: Final = ("request.set", "undo")


def changes_table(records: Table) -> Column:
    """Whether a record changes slots of a machine that has begun before."""
    changed = records.event.isin((*SETTERS, *RETURNS)) & records.slots.notnull()
    refused = records.event.isin(_REFUSABLE) & records.errno.notnull()

    return changed & ~refused & ~records.begins


def who_set(rows: Table, who: Column) -> Column:
    """Who set a range: nobody if its table was the firmware's, or was put back.

    Args:
        rows: with the column `event`.
        who: the name or the number of the record's process.
    """
    return rows.event.isin(SETTERS).ifelse(who, None)
