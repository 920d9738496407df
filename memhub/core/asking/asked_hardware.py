"""The range driver of a machine asked about the registers of its CPUs, each answer checked.

As in `asked_driver.py`, whatever goes wrong is DriverFailed (EIO).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.core.asking import driver_answers
from memhub.core.asking.driver_answers import REGISTERS_MAX, SLOTS_MAX, Nonsense, as_mapping, show
from memhub.core.drivers.driver import RangeState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.abi import RangeDesc
    from memhub.core.asking.asked_driver import AskedDriver

    Registers = Mapping[int, int]

#: Registers that hold one slot, at most.
_HOLD_MAX = 16


def ask_store(driver: AskedDriver, state: RangeState) -> Registers:
    """The registers of a CPU after it has stored the whole table."""
    return _ask_registers(driver, "store_on_cpu", state, lambda: driver.raw.store_on_cpu(state))


def ask_reinit(driver: AskedDriver, state: RangeState, attached: Registers) -> Registers:
    """The registers of a CPU after the kernel's re-initialisation."""
    return _ask_registers(
        driver, "reinit_cpu", state, lambda: driver.raw.reinit_cpu(state, attached)
    )


def ask_power_on(driver: AskedDriver, attached: Registers) -> Registers:
    """The registers of a CPU after power-on."""
    nothing = RangeState(())

    return _ask_registers(
        driver, "power_on_cpu", nothing, lambda: driver.raw.power_on_cpu(attached)
    )


def _ask_registers(
    driver: AskedDriver, method: str, state: RangeState, call: Callable[[], Registers]
) -> Registers:
    """Those of a state, with those that an answer changes."""

    def ask() -> Registers:
        most = REGISTERS_MAX + len(state.msrs)
        msrs = as_mapping(call(), "the registers", most)
        for number, value in msrs.items():
            driver_answers.check_register(number, value)

        return {**state.msrs, **msrs}

    return driver.guard(method, len(state.slots), ask)


def ask_fetch(driver: AskedDriver, state: RangeState) -> Mapping[int, RangeDesc]:
    """The slots that become different where the registers are read."""

    def ask() -> Mapping[int, RangeDesc]:
        rows = as_mapping(driver.raw.fetch_from_cpu(state), "the slots", SLOTS_MAX)
        for slot, desc in rows.items():
            driver_answers.check_slot(slot, len(state.slots))
            given = (state.slots[slot],)
            driver_answers.check_row(slot, desc, driver.arch.attributes, given)

        return rows

    return driver.guard("fetch_from_cpu", len(state.slots), ask)


def ask_registers_of(
    driver: AskedDriver, state: RangeState, slot: int
) -> tuple[tuple[int, int], ...]:
    """The registers that hold a slot, each with its bits; a mask register is the last."""

    def ask() -> tuple[tuple[int, int], ...]:
        found = tuple(driver.raw.slot_registers(state, slot))
        for pair in found:
            if type(pair) is not tuple or len(pair) != 2:
                raise Nonsense(f"answered {show(pair)}, which is not a register and its bits")

            driver_answers.check_register(*pair)

        if len(found) > _HOLD_MAX:
            raise Nonsense(f"answered {len(found)} registers, which is more than {_HOLD_MAX}")

        return found

    return driver.guard("slot_registers", len(state.slots), ask)


def ask_fault(driver: AskedDriver, state: RangeState, number: int, value: int) -> str:
    """Why a CPU does not take a value of a register; empty where it does."""

    def ask() -> str:
        why = driver.raw.why_fault(state, number, value)

        return driver_answers.check_text("why a CPU faults", why)

    return driver.guard("why_fault", len(state.slots), ask)


def ask_compare(driver: AskedDriver, mine: Registers, other: Registers) -> Mapping[int, str]:
    """The registers in which two CPUs differ so that it matters, each with its kind."""

    def ask() -> Mapping[int, str]:
        most = len(mine) + len(other)
        found = as_mapping(driver.raw.compare_cpus(mine, other), "the registers", most)
        for number, kind in found.items():
            driver_answers.check_register(number, 0)
            driver_answers.check_text("the kind of a register", kind)

        return found

    return driver.guard("compare_cpus", 0, ask)
