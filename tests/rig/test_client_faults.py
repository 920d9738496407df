"""A rig's clients inject faults by the same words on a hub and over a service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from memhub import DeviceSpec, FaultRule, MachineSpec, Sickness
from memhub.errors import DeviceError

if TYPE_CHECKING:
    from memhub.rig.clients import Clients

RULE = FaultRule("errno", op="set", errno="ENOSPC")
SICK = Sickness(action="stuck_slot", slot=89)
OUT_OF_STEP = Sickness(action="cpu_out_of_step", cpu=1, registers={0x2FF: 0})
WINDOW = (0xD0000000, 1 << 20)


@pytest.mark.memhub(over="each")
def test_a_client_that_blocks_adds_lists_and_removes(memhub_client: Clients) -> None:
    xorg = memhub_client("Xorg")
    assert xorg.add_fault(RULE)["name"] == "fault-1"
    assert xorg.add_fault(SICK)["name"] == "pc-sick-1"
    with pytest.raises(DeviceError, match="ENOSPC: fault rule 'fault-1' refuses this"):
        xorg.open().set_range(*WINDOW, "uncacheable")

    assert [(it["name"], it["action"]) for it in xorg.list_faults()] == [
        ("fault-1", "errno"),
        ("pc-sick-1", "stuck_slot"),
    ]
    assert xorg.remove_fault("fault-1")["injected"] == 1
    xorg.remove_fault("pc-sick-1")
    assert xorg.list_faults() == []
    with pytest.raises(DeviceError, match="ENOENT: there is no fault rule 'pc-sick-1'"):
        xorg.remove_fault("pc-sick-1")


@pytest.mark.memhub(over="each")
@pytest.mark.anyio
async def test_a_client_that_awaits_does_so_too(memhub_client: Clients) -> None:
    async with memhub_client("Xorg") as xorg:
        await xorg.add_fault(RULE)
        await xorg.add_fault(SICK)
        mem = await xorg.open()
        with pytest.raises(DeviceError, match="ENOSPC: fault rule 'fault-1' refuses this"):
            await mem.set_range(*WINDOW, "uncacheable")

        assert [it["name"] for it in await xorg.list_faults()] == ["fault-1", "pc-sick-1"]
        assert (await xorg.remove_fault("fault-1"))["injected"] == 1
        await xorg.remove_fault("pc-sick-1")
        with pytest.raises(DeviceError, match="ENOENT: there is no fault rule 'pc-sick-1'"):
            await xorg.remove_fault("pc-sick-1")


@pytest.mark.memhub(over="each")
def test_a_client_that_blocks_suspends_resumes_and_checks(memhub_client: Clients) -> None:
    xorg = memhub_client("Xorg")
    mem, hardware = xorg.open(), xorg.hardware
    hardware.suspend()
    with pytest.raises(DeviceError, match="EAGAIN"):
        mem.set_range(*WINDOW, "uncacheable")

    with pytest.raises(DeviceError, match="EINVAL: pc is suspended"):
        hardware.suspend("pc")

    hardware.resume("pc")
    xorg.add_fault(OUT_OF_STEP)
    assert [it.cpu for it in hardware.check_cpus()] == [1]
    xorg.remove_fault("pc-sick-1")
    hardware.reinit()
    assert hardware.check_cpus("pc") == ()
    with pytest.raises(DeviceError, match="ENOENT: there is no machine 'mac'"):
        hardware.resume("mac")


@pytest.mark.memhub(over="each")
@pytest.mark.anyio
async def test_a_client_that_awaits_does_too(memhub_client: Clients) -> None:
    async with memhub_client("Xorg") as xorg:
        mem, hardware = await xorg.open(), xorg.hardware
        await hardware.suspend("pc")
        with pytest.raises(DeviceError, match="EAGAIN"):
            await mem.set_range(*WINDOW, "uncacheable")

        await hardware.resume()
        await xorg.add_fault(OUT_OF_STEP)
        assert [it.cpu for it in await hardware.check_cpus()] == [1]
        await xorg.remove_fault("pc-sick-1")
        await hardware.reinit("pc")
        assert await hardware.check_cpus() == ()


class TestDevices:
    """Transfers that a device model answers."""

    COM1 = 0xFE000000

    @pytest.fixture
    def memhub_machine(self) -> MachineSpec:
        uart = DeviceSpec(name="com1", kind="uart-16550", base=self.COM1)
        return MachineSpec(name="pc", arch="amd64", devices=(uart,))

    @pytest.mark.memhub(over="each")
    def test_are_short_once_for_each_request(self, memhub_client: Clients) -> None:
        xorg = memhub_client("Xorg")
        mem = xorg.open()
        assert mem.pwrite(b"\x00\x11", self.COM1 + 6) == 2
        xorg.add_fault(FaultRule("short", op=("read", "write"), moved=1, nth=1))
        xorg.add_fault(FaultRule("short", op="write", moved=1))
        assert len(mem.pread(2, self.COM1 + 6)) == 1
        assert mem.pread(2, self.COM1 + 6)[1:] == b"\x11"
        assert mem.pwrite(b"\x00\x22", self.COM1 + 6) == 1
        assert mem.pread(2, self.COM1 + 6)[1:] == b"\x11"
        assert [(it["seen"], it["injected"]) for it in xorg.list_faults()] == [(4, 1), (1, 1)]

    @pytest.mark.memhub(over="each")
    def test_are_counted_once(self, memhub_client: Clients) -> None:
        xorg = memhub_client("Xorg")
        mem = xorg.open()
        xorg.add_fault(FaultRule("errno", op="read", nth=2))
        assert len(mem.pread(1, self.COM1 + 7)) == 1
        with pytest.raises(DeviceError, match="EIO: fault rule 'fault-1' refuses this"):
            mem.pread(1, self.COM1 + 7)

        assert len(mem.pread(1, self.COM1 + 7)) == 1
