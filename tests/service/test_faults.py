"""Fault rules of a service: what its clients see of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import anyio
import pytest

from memhub import FaultRule, Sickness
from memhub.abi import MDF_WRITECOMBINE
from memhub.clock import ManualClock
from memhub.errors import DeviceError, NotPermitted
from memhub.service.settings import RightsRule
from service.service_rig import MIB, WINDOW, lab, machine

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


async def test_an_errno_and_a_short_transfer_reach_the_client(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect("X") as client:
        mem = await client.open("/dev/mem", "r+")
        it.hub.faults.add(FaultRule("errno", op="set", errno="ENOSPC", process="X"))
        it.hub.faults.add(FaultRule("short", op=["read", "write"], moved=4))
        with pytest.raises(DeviceError, match="ENOSPC: fault rule 'fault-1' refuses this"):
            await mem.set_range(WINDOW, MIB, MDF_WRITECOMBINE)

        assert await mem.pwrite(b"abcdefgh", MIB) == 4
        assert await mem.pread(8, MIB) == b"abcd"
        found = [(r["rule"], r["op"], r["errno"]) for r in it.records("fault")]
        assert found == [
            ("fault-1", "set", "ENOSPC"),
            ("fault-2", "write", None),
            ("fault-2", "read", None),
        ]


async def test_a_delay_holds_up_one_request_and_not_its_connection(tmp_path: Path) -> None:
    clock, order = ManualClock(), list[str]()
    async with lab(tmp_path, clock=clock) as it, it.connect("X") as client:
        mem = await client.open("/dev/mem", "r+")
        it.hub.faults.add(FaultRule("delay", delay=3, times=2))
        big = b"y" * (3 * MIB)

        async def write() -> None:
            assert await mem.pwrite(big, 8 * MIB) == len(big)
            order.append("write")

        async def change() -> None:
            await mem.set_range(WINDOW, MIB, MDF_WRITECOMBINE)
            order.append("set")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            tasks.start_soon(change)
            with anyio.fail_after(10):
                while len(it.records("fault")) < 2:
                    await anyio.wait_all_tasks_blocked()

            assert await mem.pread(1, 8 * MIB) == b"\0"
            assert order == []
            clock.advance(3)

        assert sorted(order) == ["set", "write"]
        assert await mem.pread(len(big), 8 * MIB) == big
        assert [r["action"] for r in it.records("fault")] == ["delay", "delay"]


async def test_a_dropped_request_ends_when_its_client_gives_up(tmp_path: Path) -> None:
    async with lab(tmp_path, clock=ManualClock()) as it, it.connect("X") as client:
        mem = await client.open("/dev/mem", "r+")
        rule = it.hub.faults.add(FaultRule("drop", times=2))
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(mem.pwrite, b"lost", MIB)

            with anyio.fail_after(10):
                while rule.injected < 2:
                    await anyio.wait_all_tasks_blocked()

            tasks.cancel_scope.cancel()

        assert await mem.pread(4, MIB) == bytes(4)


async def test_a_cut_ends_the_connection_without_an_answer(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect("other") as other:
        still = await other.open("/dev/mem")
        it.hub.faults.add(FaultRule("cut", process="X", op="set"))
        async with it.connect("X") as client:
            mem = await client.open("/dev/mem", "r+")
            await mem.claim(MIB, 4096)
            with pytest.raises(OSError, match="connection"), anyio.fail_after(10):
                await mem.set_range(WINDOW, MIB, MDF_WRITECOMBINE)

        await it.settled(1)
        assert it.hub.claims() == []
        (gone,) = it.records("service.disconnect")
        assert gone["cause"] == "disconnect"
        assert gone["reason"] == "fault rule 'fault-1' cut the connection of X"
        assert await still.pread(1, 0) == b"\0"


async def test_a_long_transfer_is_cut_in_its_midst(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        it.hub.faults.add(FaultRule("cut", op="read", nth=3))
        async with it.connect("X") as client:
            mem = await client.open("/dev/mem")
            with pytest.raises(OSError, match="connection"), anyio.fail_after(10):
                await mem.pread(16 * MIB, 0)

        await it.settled(0)
        assert len(it.records("fault")) == 1


async def test_clients_with_the_right_add_list_and_remove_rules(tmp_path: Path) -> None:
    async with lab(tmp_path, machine(), machine("two")) as it, it.connect("X") as client:
        mem = await client.open("/dev/mem")
        rule = FaultRule(
            "errno",
            name="full",
            machine="pc",
            op=["read"],
            base=1 << 60,
            length=4096,
            errno="ENOSPC",
        )
        added = await client.add_fault(rule)
        assert added == {**rule.as_dict(), "seen": 0, "injected": 0}
        numbered = await client.add_fault(FaultRule("delay", machine="two", delay=0.5))
        assert numbered["name"] == "two-fault-1"
        assert await mem.pread(1, 0) == b"\0"
        assert [row["name"] for row in await client.list_faults()] == ["full", "two-fault-1"]
        assert (await client.remove_fault("full"))["injected"] == 0
        with pytest.raises(DeviceError, match="ENOENT: there is no fault rule 'full'"):
            await client.remove_fault("full")

        with pytest.raises(DeviceError, match="there is a fault rule 'two-fault-1' already"):
            await client.add_fault(FaultRule("drop", name="two-fault-1"))

        assert len(it.hub.faults) == 1


async def test_a_client_touches_the_rules_of_its_machines_alone(tmp_path: Path) -> None:
    rights = (
        RightsRule(uid=os.getuid(), machine="*", allow=frozenset({"read-memory"})),
        RightsRule(uid=os.getuid(), machine="pc", allow=frozenset({"inject-faults"})),
    )
    specs = machine(), machine("two")
    async with lab(tmp_path, *specs, rights=rights) as it, it.connect("X") as client:
        it.hub.faults.add(FaultRule("drop", machine="two", op="seek"))
        await client.add_fault(FaultRule("drop", name="mine", machine="pc", op="seek"))
        assert [row["name"] for row in await client.list_faults()] == ["mine"]
        for wrong in (FaultRule("drop"), FaultRule("drop", machine="two")):
            with pytest.raises(NotPermitted, match=r"no right to inject-faults on (every|two)"):
                await client.add_fault(wrong)

        for name in ("fault-1", "nothing"):
            with pytest.raises(NotPermitted):
                await client.remove_fault(name)

        assert len(it.hub.faults) == 2


async def test_a_mapping_is_refused_and_memory_that_is_mapped_is_not_met(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect("X") as client:
        mem = await client.open("/dev/mem", "r+")
        mapped = await mem.map(write=True)
        it.hub.faults.add(FaultRule("errno", op=["map", "read", "write"], errno="EACCES"))
        with pytest.raises(DeviceError, match="EACCES: fault rule 'fault-1' refuses this"):
            await mem.map()

        with mapped:
            mapped.write(MIB, b"abc")
            assert bytes(mapped.read(MIB, 3)) == b"abc"

        (record,) = it.records("fault")
        assert (record["op"], record["errno"]) == ("map", "EACCES")


async def test_a_client_makes_hardware_sick_checks_it_and_suspends_a_machine(
    tmp_path: Path,
) -> None:
    spec = machine(arch="amd64-mtrr", msrs={0xFE: 0x504, 0x2FF: 0x806})
    async with lab(tmp_path, spec) as it, it.connect("X") as client:
        mem = await client.open("/dev/mem")
        sickness = Sickness(action="cpu_out_of_step", cpu=1, misses_stores=True)
        assert (await client.add_fault(sickness))["name"] == "pc-sick-1"
        await client.add_fault(FaultRule("drop", op="seek"))
        await mem.set_range(WINDOW, MIB, MDF_WRITECOMBINE)
        assert await client.hardware.check_cpus() == it.hub.hardware.check_cpus() != ()
        assert [it["name"] for it in await client.list_faults()] == ["fault-1", "pc-sick-1"]
        assert (await client.remove_fault("pc-sick-1"))["action"] == "cpu_out_of_step"
        await client.hardware.reinit("pc")
        assert await client.hardware.check_cpus() == ()
        await client.hardware.suspend()
        with pytest.raises(DeviceError, match="EAGAIN: machine pc is suspended"):
            await mem.ranges()

        with pytest.raises(DeviceError, match="EAGAIN"):
            await mem.map()

        with pytest.raises(DeviceError, match="EINVAL: pc is suspended already"):
            await client.hardware.suspend("pc")

        await client.hardware.resume()
        await mem.ranges()
        assert [r["process"] for r in it.records("hardware.suspend")] == ["X"]


async def test_hardware_needs_the_right_on_its_machine(tmp_path: Path) -> None:
    rights = (RightsRule(uid=os.getuid(), machine="*", allow=frozenset({"read-ranges"})),)
    async with lab(tmp_path, rights=rights) as it, it.connect("X") as client:
        for ask in (
            lambda: client.add_fault(Sickness(action="stuck_slot", slot=0)),
            client.hardware.suspend,
            client.hardware.check_cpus,
        ):
            with pytest.raises(NotPermitted, match="inject-faults"):
                await ask()

        it.hub.hardware.add(Sickness(action="stuck_slot", slot=0))
        assert await client.list_faults() == []
        with pytest.raises(NotPermitted):
            await client.remove_fault("pc-sick-1")
