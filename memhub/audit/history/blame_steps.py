"""The steps to an address's type, as values that become text or JSON."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from memhub.audit.history.states import desc_facts, time_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from memhub.abi import RangeDesc
    from memhub.audit.history.travel import Record
    from memhub.core.drivers.driver import RangeState

    Facts = dict[str, Any]

#: How many of the latest steps are kept for each machine.
STEPS_MAX: Final = 1000
#: The calls to a kernel that nobody makes: each follows the record of what became of the hardware.
_OF_HARDWARE: Final = ("firmware", "suspend", "resume", "reinit")


def is_of_hardware(record: Record) -> bool:
    """Whether a record is a call to a kernel that neither a process nor a driver made."""
    return record["event"] == "kernel.call" and record.get("op") in _OF_HARDWARE


@dataclass(frozen=True, slots=True)
class Step:
    """One record on the way to an address's type.

    Attributes:
        record: the record, as it is in the log.
        types: the type before and after; the first is None where a machine starts, both are None
            where nothing was changed.
        slots: the slots that changed and that cover the address before or after, each with both
            descriptors; of a machine that starts, all that cover it.
        cpus: the CPUs whose own type changed, beside CPU 0, each with the type before and after.
        sickness: the sicknesses that had a part in it.
    """

    record: Record
    types: tuple[str | None, str | None]
    slots: Mapping[int, tuple[RangeDesc, RangeDesc]]
    cpus: Mapping[int, tuple[str | None, str | None]] = field(default_factory=dict)
    sickness: Sequence[str] | None = None

    @property
    def hardware(self) -> str:
        """What became of the hardware, in one word; empty where somebody asked for the change."""
        event = self.record["event"]
        if is_of_hardware(self.record):
            return str(self.record["op"])

        return event.removeprefix("hardware.") if event.startswith("hardware.") else ""

    def facts(self) -> Facts:
        """The step as JSON."""
        get = self.record.get
        names = ("event", "op", "process", "process_id", "pid", "owner", "base", "length",
                 "attributes", "errno", "reason")  # fmt: skip

        return {
            "seq": self.record["seq"],
            "time": time_text(self.record["wall_ns"]),
            **{name: get(name) for name in names},
            "sickness": self.sickness,
            "before": self.types[0],
            "after": self.types[1],
            "slots": [
                {"slot": slot, "before": desc_facts(old), "after": desc_facts(new)}
                for slot, (old, new) in self.slots.items()
            ],
            "cpus": [
                {"cpu": cpu, "before": old, "after": new} for cpu, (old, new) in self.cpus.items()
            ],
        }


@dataclass(slots=True)
class Blame:
    """Why an address of one machine has its type at a moment.

    Attributes:
        machine: its name.
        arch: its architecture's name.
        address: the physical address.
        seq: the last record before the moment.
        wall_ns: when that was.
        type: the effective type; None where the machine has none for the address.
        cpus: the CPUs that are out of step with CPU 0 and have another type, each with it.
        why: which descriptor or register decides it, as `explain` says; or why there is no type.
        implementation_defined: the architecture leaves this combination to the CPU.
        steps: what changed the address, and what was refused, from the machine's start or the
            snapshot with which the log begins, oldest first; the latest STEPS_MAX.
        omitted: how many older steps there are.
        note: what the log does not tell, or None.
        hardware: the latest record of what became of the hardware.
        restore: the record of a restore, or of a snapshot with which the log begins, of which more
            records follow, and the state before it.
    """

    machine: str
    arch: str
    address: int
    seq: int = 0
    wall_ns: int = 0
    type: str | None = None
    cpus: dict[int, str] = field(default_factory=dict)
    why: str = ""
    implementation_defined: bool = False
    steps: deque[Step] = field(default_factory=lambda: deque(maxlen=STEPS_MAX))
    omitted: int = 0
    note: str | None = None
    hardware: Record | None = None
    restore: tuple[Record, RangeState | None] | None = None

    def add(self, step: Step) -> None:
        """Keep one more step."""
        self.omitted += len(self.steps) == STEPS_MAX
        self.steps.append(step)

    def facts(self) -> Facts:
        """The answer as JSON; `note` is there where something is not known."""
        names = ("machine", "arch", "address", "seq", "type", "why", "implementation_defined")
        facts = {
            **{name: getattr(self, name) for name in names},
            "cpus": [{"cpu": cpu, "type": it} for cpu, it in self.cpus.items()],
            "time": time_text(self.wall_ns),
            "steps": [it.facts() for it in self.steps],
            "omitted": self.omitted,
        }

        return facts if self.note is None else facts | {"note": self.note}
