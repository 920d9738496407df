"""Fault rules that cannot be are refused with the value and the rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from memhub import FaultRule, Sickness
from memhub.abi import MDF_WRITECOMBINE
from memhub.errors import DeviceError
from memhub.faults import Delayed
from service.service_rig import MIB, WINDOW
from service.service_rig import lab as service_lab
from shell.kit import MTRR, K, M, lab

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"probability": "0.5"}, "probability '0.5' is not a number$"),
        ({"nth": True}, "nth True is a truth value, where a number is due"),
        ({"probability": True}, "probability True is a truth value"),
        ({"nth": 0}, "nth 0 is not between 1 and 9007199254740992"),
        ({"times": 1 << 60}, "times 1152921504606846976 is not between 1 and 9007199254740992"),
        ({"seed": -1}, "seed -1 is not between 0 and 9007199254740992"),
        ({"base": -1, "length": 1}, "base -0x1 is not between 0 and 0xffffffffffffffff"),
        ({"base": (1 << 64) - 1, "length": 2}, r"the window 0xf{16}\+0x2 ends past 2\^64"),
        ({"moved": 3}, "action errno has no moved: only action short needs moved"),
        ({"op": "get", "base": M, "length": K}, "op get names no address: no window of base and"),
        ({"op": ["open", "map"], "base": 0, "length": 1}, "op map, open names no address"),
        ({"op": ["seek", "ioctl"], "base": 0, "length": 1}, "op ioctl, seek names no address"),
    ],
)
def test_a_wrong_rule_is_refused(more: dict[str, Any], says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        FaultRule("errno", **more)


def test_a_window_beside_operations_of_which_some_have_addresses_fits() -> None:
    FaultRule("errno", op=["get", "set"], base=M, length=K)
    FaultRule("errno", base=M, length=K)
    FaultRule("errno", base=(1 << 64) - K, length=K)
    with pytest.raises(ValueError, match=r"action short needs moved$"):
        FaultRule("short")


@pytest.mark.parametrize("name", ["cpu", "slot", "times"])
def test_a_sickness_has_numbers_and_no_truth_values(name: str) -> None:
    fields: dict[str, Any] = {"action": "lost_store", "slot": 3, name: True}
    with pytest.raises(TypeError, match=f"{name} True is a truth value, where a number is due"):
        Sickness(**fields)


def test_counts_of_a_sickness_are_decimal() -> None:
    with pytest.raises(ValueError, match="times 0 is not between 1 and 9007199254740992"):
        Sickness(action="lost_store", slot=1, times=0)


async def test_a_rule_that_is_none_is_not_removed(tmp_path: Path) -> None:
    async with lab(tmp_path, MTRR) as it:
        it.hub.faults.add(FaultRule("drop"))
        with pytest.raises(KeyError, match=r"no fault rule 'fault-9' \(rules: fault-1\)"):
            it.hub.faults.remove("fault-9")


async def test_what_is_dropped_or_delayed_is_told_by_its_rule(tmp_path: Path) -> None:
    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x:
        mem = await x.open("mtrr:/dev/mem", "r+")
        it.hub.faults.add(FaultRule("drop", op="read"))
        it.hub.faults.add(FaultRule("delay", delay=1, op="write"))
        with pytest.raises(Delayed, match="fault rule 'fault-1' drops this request, which is nev"):
            mem.pread_nowait(1, M)

        with pytest.raises(Delayed, match="fault rule 'fault-2' delays this"):
            mem.pwrite_nowait(b"x", M)


async def test_the_nth_request_is_counted_among_those_that_no_earlier_rule_decided(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x:
        mem = await x.open("mtrr:/dev/mem", "r+")
        first = it.hub.faults.add(FaultRule("errno", op="read", nth=1, errno="EIO"))
        second = it.hub.faults.add(FaultRule("errno", op="read", nth=1, errno="EPERM"))
        for code in ("EIO", "EPERM"):
            with pytest.raises(DeviceError, match=code):
                await mem.pread(1, M)

        await mem.pread(1, M)
        assert (first.seen, second.seen) == (3, 2)


async def test_a_client_of_a_service_adds_rules_alone(tmp_path: Path) -> None:
    async with service_lab(tmp_path) as it, it.connect("X") as client:
        with pytest.raises(TypeError, match="rule 'x' is not a FaultRule"):
            await client.add_fault("x")  # type: ignore[arg-type]

        mem = await client.open("/dev/mem", "r+")
        await mem.set_range(WINDOW, MIB, MDF_WRITECOMBINE)
