"""What drivers say of one CPU among several, beside the model of `test_sick_model.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from memhub.core.asking.asked_driver import AskedDriver
from memhub.core.asking.asked_hardware import (
    ask_compare,
    ask_fault,
    ask_fetch,
    ask_power_on,
    ask_registers_of,
    ask_store,
)
from memhub.core.drivers.driver import Cpu
from memhub.errors import DriverFailed
from memhub.x86.mtrr_driver import MtrrDriver
from mtrrcases import driver, firmware
from ownership.rig import ARCHES

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.core.drivers.driver import RangeDriver, RangeState


def asked(raw: RangeDriver) -> AskedDriver:
    return AskedDriver(raw, ARCHES["amd64-mtrr"], "pc")


@pytest.mark.parametrize("number", [0xFE, 0x277])
def test_power_on_keeps_the_count_of_pairs_and_the_pat_has_its_own_value(number: int) -> None:
    attached = {**firmware(fixed=6), 0x277: 1}
    found = ask_power_on(asked(driver()), attached)
    assert set(found) == {0xFE, 0x277}
    assert found[number] == {0xFE: 0x508, 0x277: 0x0007040600070406}[number]


def test_a_pair_that_is_valid_on_neither_cpu_is_no_difference() -> None:
    raw = asked(driver())
    assert ask_compare(raw, {0x200: 1}, {0x200: 6}) == {}
    valid = {0x201: 0x800}
    assert ask_compare(raw, {0x200: 1, **valid}, {0x200: 6}) == {
        0x200: "variable MTRR",
        0x201: "variable MTRR",
    }
    assert ask_compare(raw, {0x26F: 1, 0x2FF: 1, 0x1B: 1}, {}) == {
        0x1B: "register",
        0x26F: "fixed MTRR",
        0x2FF: "MTRRdefType",
    }


class Odd(MtrrDriver):
    """A driver that answers nonsense of its CPUs."""

    def store_on_cpu(self, state: RangeState) -> Any:
        return {0x200: -1}

    def fetch_from_cpu(self, state: RangeState) -> Any:
        return {99: None}

    def slot_registers(self, state: RangeState, slot: int) -> Any:
        return [0x200]

    def power_on_cpu(self, attached: Any) -> Any:
        raise ZeroDivisionError

    def why_fault(self, state: Any, number: int, value: int) -> Any:
        return None

    def compare_cpus(self, mine: Any, other: Any) -> Any:
        return {0x200: 5}


@pytest.mark.parametrize(
    ("method", "why"),
    [
        ("store_on_cpu", "register 0x200: -1 is not an unsigned 64-bit number"),
        ("fetch_from_cpu", "slot 99 is not an integer from 0 to 7"),
        ("slot_registers", "answered 512, which is not a register and its bits"),
        ("power_on_cpu", "ZeroDivisionError"),
        ("why_fault", "why a CPU faults, None, is not a text"),
        ("compare_cpus", "the kind of a register, 5, is not a text"),
    ],
)
def test_nonsense_is_named_and_refuses_with_eio(method: str, why: str) -> None:
    raw = asked(Odd(Cpu()))
    state = raw.attach(firmware())
    assert state is not None
    asks: dict[str, Callable[[], object]] = {
        "store_on_cpu": lambda: ask_store(raw, state),
        "fetch_from_cpu": lambda: ask_fetch(raw, state),
        "slot_registers": lambda: ask_registers_of(raw, state, 0),
        "power_on_cpu": lambda: ask_power_on(raw, {}),
        "why_fault": lambda: ask_fault(raw, state, 0x2FF, 0),
        "compare_cpus": lambda: ask_compare(raw, {0x200: 1}, {}),
    }
    with pytest.raises(DriverFailed, match=why) as failure:
        asks[method]()

    assert method in str(failure.value)
    assert raw.failures == 1
