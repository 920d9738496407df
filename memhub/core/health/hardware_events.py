"""What becomes true of the registers of a machine's CPUs beside its requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, TypeAlias

from memhub.core.health.failure import Marked, note_refusing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.core.drivers.driver import RangeState
    from memhub.core.files import Principal
    from memhub.core.health.health import Health
    from memhub.core.instant import Instant
    from memhub.core.ranges.range_table import RangeTable

#: Registers that a message names of one CPU.
_NAMED: Final = 4

HardwareOp = Literal["sicken", "cure", "store", "reinit", "suspend", "resume"]


class HardwareChanged(NamedTuple):
    """Something became wrong with a machine's registers, or right; or it was suspended or resumed.

    Attributes:
        machine: its name.
        arch: its architecture's name.
        at: when.
        op: what happened; `store` follows a MEMRANGE_SET, or an undo, that did not leave all
            registers as it should.
        by: who asked for it; None where the hub's embedder did, or nobody.
        sickness: the names of the sicknesses concerned: the one that began or ended, or those
            that struck.
        health: what is wrong, before and after.
        states: the range state before and after; None without ranges.
        generation: the table's generation after it.
    """

    machine: str
    arch: str
    at: Instant
    op: HardwareOp
    by: Principal | None
    sickness: tuple[str, ...]
    health: tuple[Health | None, Health | None]
    states: tuple[RangeState, RangeState] | None
    generation: int


class CpuDifference(NamedTuple):
    """How a CPU is out of step.

    Attributes:
        cpu: its number. The others are judged by CPU 0, which is itself judged by what
            re-initialisation would make of it.
        registers: by number, what is expected and what the CPU has.
        kinds: what Linux calls what is inconsistent: `fixed MTRR`, `variable MTRR`,
            `MTRRdefType`; else `register`.
        stretches: first byte, length, the type that is expected and the one that the CPU sees;
            the first of them, by address.
    """

    cpu: int
    registers: Mapping[int, tuple[int, int]]
    kinds: tuple[str, ...]
    stretches: tuple[tuple[int, int, str, str], ...]

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON; 64-bit numbers are texts."""
        return {
            "cpu": self.cpu,
            "registers": {
                f"{number:#x}": [f"{it:#x}" for it in pair]
                for number, pair in self.registers.items()
            },
            "kinds": list(self.kinds),
            "stretches": [
                [f"{base:#x}", f"{length:#x}", *types] for base, length, *types in self.stretches
            ],
        }


def difference_of_dict(found: Mapping[str, Any]) -> CpuDifference:
    """The opposite of `as_dict`.

    Raises:
        KeyError: a member is missing.
        TypeError, ValueError, AttributeError: one has another form.
    """
    return CpuDifference(
        found["cpu"],
        {
            int(number, 0): (int(expected, 0), int(has, 0))
            for number, (expected, has) in found["registers"].items()
        },
        tuple(found["kinds"]),
        tuple(
            (int(base, 0), int(length, 0), one, other)
            for base, length, one, other in found["stretches"]
        ),
    )


class CpusChecked(NamedTuple):
    """The registers of a machine's CPUs were compared; it changes nothing."""

    machine: str
    arch: str
    at: Instant
    by: Principal | None
    generation: int
    found: tuple[CpuDifference, ...]


#: The facts of the hardware.
HardwareFact: TypeAlias = HardwareChanged | CpusChecked


def describe_differences(found: tuple[CpuDifference, ...]) -> str:
    """What a comparison found, in words as Linux's; empty where nothing is out of step."""
    parts = []
    for it in found:
        kinds = " and ".join(it.kinds)
        where = "the table" if not it.cpu else "CPU 0"
        numbers = ", ".join(f"{number:#x}" for number in list(it.registers)[:_NAMED])
        more = len(it.registers) - _NAMED
        numbers += f" and {more} more" if more > 0 else ""
        parts.append(f"CPU {it.cpu} has other {kinds} settings than {where}: {numbers}")

    return "; ".join(parts)


class Sickened(Marked, Protocol):
    """The part of a machine that a change of its hardware changes; see `Machine`."""

    table: RangeTable | None


def apply_change(machine: Sickened, it: HardwareChanged) -> None:
    """Make a change of the hardware true."""
    _take_over(machine, it, 1, it.generation)


def unapply_change(machine: Sickened, it: HardwareChanged) -> None:
    """Take it back."""
    changed = it.states is not None and it.states[0].msrs != it.states[1].msrs
    _take_over(machine, it, 0, it.generation - changed)


def _take_over(machine: Sickened, it: HardwareChanged, side: int, generation: int) -> None:
    machine.health = it.health[side]
    note_refusing(machine)
    if it.states is not None and it.states[0] is not it.states[1]:
        assert machine.table is not None
        slots, before = it.states[side].slots, it.states[1 - side].slots
        changed = [slot for slot, row in enumerate(slots) if row is not before[slot]]
        machine.table.swap(it.states[side], generation, changed)
