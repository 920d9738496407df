"""Fault rules meet opening, and explain_array as they meet explain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from memhub import FaultRule
from memhub.clock import ManualClock
from memhub.errors import ConnectionCut, DeviceError
from memhub.service.local import LocalClient
from shell.kit import MTRR, M, lab

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


async def test_an_errno_refuses_an_open_which_has_no_other_record(tmp_path: Path) -> None:
    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x:
        with it.hub.faults.add(FaultRule("errno", op="open", errno="ENXIO", times=1)) as fault:
            with pytest.raises(DeviceError, match="ENXIO: fault rule 'fault-1' refuses this"):
                await x.open("/dev/mem")

            assert fault.injected == 1
            (record,) = it.news()
            assert (record["event"], record["op"], record["process"]) == ("fault", "open", "X")
            await (await x.open("/dev/mem")).aclose()


async def test_a_delayed_open_opens_when_its_time_has_come(tmp_path: Path) -> None:
    clock = ManualClock()
    async with lab(tmp_path, MTRR, clock=clock) as it, it.hub.process("X") as x:
        it.hub.faults.add(FaultRule("delay", op="open", delay=2))
        opened = list[int]()

        async def use() -> None:
            async with await x.open("/dev/mem"):
                opened.append(clock.mono_ns())

        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(use)
                await anyio.wait_all_tasks_blocked()
                assert len(it.hub.machines["mtrr"].files) == 0
                clock.advance(2)

        assert opened == [2_000_000_000]


async def test_a_cut_at_an_open_closes_what_the_process_had(tmp_path: Path) -> None:
    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x:
        mem = await x.open("/dev/mem")
        it.hub.faults.add(FaultRule("cut", op="open", process="X"))
        with pytest.raises(ConnectionCut):
            await x.open("/dev/kmem")

        it.hub.engine.tick()
        assert len(it.hub.machines["mtrr"].files) == 0
        await mem.aclose()


async def test_an_open_that_another_process_makes_is_not_met(tmp_path: Path) -> None:
    async with lab(tmp_path, MTRR) as it, it.hub.process("Y") as y:
        it.hub.faults.add(FaultRule("errno", op="open", process="X"))
        await (await y.open("/dev/mem")).aclose()


async def test_a_rule_that_names_no_operation_does_not_meet_an_open(tmp_path: Path) -> None:
    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x:
        it.hub.faults.add(FaultRule("errno"))
        async with await x.open("/dev/mem") as mem:
            with pytest.raises(DeviceError):
                await mem.ranges()


async def test_explain_array_is_met_by_the_window_of_its_addresses(tmp_path: Path) -> None:
    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x:
        mem = await x.open("/dev/mem")
        it.hub.faults.add(FaultRule("errno", op="explain", base=4 * M, length=M))
        await mem.explain_array([M, 3 * M])
        await mem.explain_array([])
        with pytest.raises(DeviceError, match="EIO: fault rule 'fault-1' refuses this"):
            await mem.explain_array([M, 5 * M])


def test_a_delayed_open_blocks_a_caller_that_blocks() -> None:
    clock = ManualClock()
    rule = FaultRule("delay", op="open", delay=1.5)
    with LocalClient([MTRR], clock=clock, sleep=clock.advance, faults=[rule]) as client:
        client.open("/dev/mem").close()
        assert clock.mono_ns() == 1_500_000_000
