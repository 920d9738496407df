"""A machine starts, or is taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memhub.core.driver import RangeState
    from memhub.core.machine import Machine
    from memhub.core.ranges.commits import Instant

    Record = dict[str, Any]

from memhub.audit.records.parts import columns, stamp


def attach(machine: Machine, now: Instant, state: RangeState | None, config: str) -> Record:
    """A machine starts: its whole table and its registers."""
    slots = state.slots if state is not None else ()
    msrs = state.msrs if state is not None else {}
    return {
        **stamp("device.attach", now),
        "machine": machine.name,
        "arch": machine.arch.name,
        "phys_bits": machine.spec.cpu.phys_bits,
        "slots": list(range(len(slots))),
        **columns("after", slots),
        "msrs": list(msrs),
        "after_msr": list(msrs.values()),
        "config": config,
        "generation": 0,
    }


def detach(machine: Machine, now: Instant, generation: int) -> Record:
    """A machine is taken away."""
    return {
        **stamp("device.detach", now),
        "machine": machine.name,
        "arch": machine.arch.name,
        "generation": generation,
    }
