"""Which CPUs of a machine are out of step, and where it shows.

Each CPU is compared with CPU 0, as Linux compares them (`arch/x86/kernel/cpu/mtrr/generic.c`,
mtrr_state_warn: "your CPUs had inconsistent fixed MTRR settings"). CPU 0 is compared with what
the kernel's re-initialisation would make of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.core.asking.asked_hardware import ask_compare, ask_reinit
from memhub.core.deciding.kernel_hardware import expected_registers
from memhub.core.deciding.kernel_health import other_cpus
from memhub.core.decision import Decision
from memhub.core.drivers.driver import RangeState
from memhub.core.health.failure import is_suspended, suspended_error
from memhub.core.health.hardware_events import CpuDifference, CpusChecked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from memhub.core.asking.asked_driver import AskedDriver
    from memhub.core.effective.typemap import TypeMap
    from memhub.core.files import Principal
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine

    Registers = Mapping[int, int]

#: Stretches that a difference names at most.
STRETCHES: Final = 16


def decide_check(machine: Machine, now: Instant, by: Principal | None = None) -> Decision:
    """Compare the registers of all CPUs.

    Args:
        machine: the machine.
        now: the present moment.
        by: who asks.

    Returns:
        a CpuDifference for each CPU that is out of step, by number, and the fact for the log.

    Raises:
        DeviceError: EAGAIN; the machine is suspended, and no CPU reads its registers.
        NotSupported, NoRanges: the machine has no ranges.
    """
    machine.require_table()
    if is_suspended(machine):
        raise suspended_error(machine.name)

    found = tuple(find_differences(machine))
    fact = CpusChecked(machine.name, machine.arch.name, now, by, machine.generation, found)

    return Decision(found, None, (fact,), changes=False)


def find_differences(machine: Machine) -> Iterator[CpuDifference]:
    """The CPUs that are out of step; errors are those of `decide_check`."""
    table, health = machine.require_table(), machine.health
    if health is None and machine.served is None:
        return  # each has what CPU 0 has, and that is what the table makes

    state, driver = table.state, table.driver
    expected: Registers | None = None
    if machine.served is None:
        expected = ask_reinit(driver, state, machine.spec.msrs)
    else:
        expected = expected_registers(machine)

    one = None if expected is None else _compare(driver, state, 0, expected, state.msrs)
    if one is not None:
        yield one

    for cpu, found in other_cpus(machine).items():
        if (one := _compare(driver, state, cpu, state.msrs, found)) is not None:
            yield one


def _compare(
    driver: AskedDriver, state: RangeState, cpu: int, expected: Registers, found: Registers
) -> CpuDifference | None:
    kinds = ask_compare(driver, expected, found)
    if not kinds:
        return None

    registers = {it: (expected.get(it, 0), found.get(it, 0)) for it in kinds}
    maps = (driver.types(RangeState(state.slots, msrs)) for msrs in (expected, found))
    words = tuple(dict.fromkeys(kinds.values()))

    return CpuDifference(cpu, registers, words, tuple(_stretches(*maps)))


def _stretches(expected: TypeMap, found: TypeMap) -> Iterator[tuple[int, int, str, str]]:
    """Where two maps differ: first byte, length, and both types; the first few."""
    base: int | None = 0
    for _ in range(STRETCHES):
        end = min(expected.end, found.end)
        base = None if base is None else expected.first_difference(found, base, end)
        if base is None or base >= end:
            return

        types = expected.at(base), found.at(base)
        last = min(expected.stretch(base)[1], found.stretch(base)[1], end)
        if types[0] != types[1]:
            yield base, last - base, *types

        base = last
