"""What a map says of a machine whose kernel is not FreeBSD: that has ranges of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memhub.core.machine import Machine


def kernel_notes(machine: Machine) -> tuple[str, ...]:
    """The ranges of another kernel; nothing of FreeBSD, whose ranges are the slots."""
    served = machine.served
    if served is None:
        return ()

    lines = served.kernel.ranges(served.machine, served.state)

    return (f"ranges of {machine.spec.kernel}: {'; '.join(lines) or 'none'}",)


def count_slots(machine: Machine, *, used: bool) -> int:
    """How many slots there are; those of page attributes are FreeBSD's, and no other kernel's.

    Args:
        machine: the machine.
        used: whether any of them is in use.
    """
    if machine.table is None or (machine.served is not None and not used):
        return 0

    return len(machine.table)
