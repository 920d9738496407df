"""A request that finds no free register is told what would free one."""

from __future__ import annotations

import pytest

from kernels.linux_kit import LINUX
from kernels.test_linux_hardware import NETBSD
from memhub import Hub, MachineSpec
from memhub.abi import LP64
from memhub.errors import DeviceError
from memhub.faces.linux import MTRR64, pack_entry

MIB = 1 << 20
OLD = MachineSpec(name="pc", arch="amd64", kernel="linux-2.6.32")
#: Ranges that are no neighbours.
APART = [0x80000000 + (number << 26) for number in range(8)]


def fill(hub: Hub, bases: list[int]) -> None:
    for base in bases:
        hub.kernels.call("add", base=base, size=MIB, type=1)


@pytest.mark.parametrize("spec", [LINUX, OLD], ids=["6.18", "2.6.32"])
async def test_linux_is_told_of_two_ranges_that_can_be_one(spec: MachineSpec) -> None:
    async with Hub([spec]) as hub, await hub.open("pc:/proc/mtrr", "r+") as file:
        fill(hub, [0xD0000000, *APART[:5], 0xD0100000, 0xD0000000])  # the last one only counts
        before = hub.kernels.of().state
        advice = "no more MTRRs available; registers 1 and 7 can be one, 0xd0000000/0x200000 (WC): "
        for asked in (
            file.write(b"base=0xe0000000 size=0x100000 type=write-combining\n"),
            file.ioctl(MTRR64.numbers["ADD"], pack_entry(0xE0000000, MIB, 1, model=LP64)),
        ):
            with pytest.raises(DeviceError, match="ENOSPC") as caught:
                await asked

            assert caught.value.reason.endswith(advice + "frees one")

        assert hub.kernels.of().state.own["counts"] == before.own["counts"]
        with pytest.raises(DeviceError, match=r"0xd0000000/0x200000 .WC.: frees one"):
            hub.kernels.call("add", base=0xE0000000, size=MIB, type=1)


async def test_linux_is_told_of_a_range_that_decides_nothing() -> None:
    async with Hub([LINUX]) as hub:
        hub.kernels.call("add", base=0xE0000000, size=MIB, type=0)  # as the default type
        fill(hub, APART[:6])
        with pytest.raises(DeviceError, match="register 1 decides no address's type: removing it"):
            hub.kernels.call("add", base=0xF0000000, size=MIB, type=1)


async def test_what_another_process_holds_is_not_advised() -> None:
    async with Hub([LINUX]) as hub, await hub.open("pc:/proc/mtrr", "r+") as file:
        fill(hub, [0xD0000000, *APART[:5], 0xD0100000])
        async with hub.process("other") as other:
            held = await other.open("pc:/proc/mtrr")
            await held.claim(0xD0100000, MIB)
            with pytest.raises(DeviceError) as caught:
                await file.write(b"base=0xe0000000 size=0x100000 type=write-combining\n")

    assert caught.value.reason == "no more MTRRs available"


async def test_where_nothing_is_found_nothing_is_said() -> None:
    async with Hub([LINUX]) as hub:
        fill(hub, APART[:7])
        with pytest.raises(DeviceError) as caught:
            hub.kernels.call("add", base=0xF0000000, size=MIB, type=1)

    assert caught.value.reason == "no more MTRRs available"


async def test_netbsd_is_told_alike() -> None:
    async with Hub([NETBSD]) as hub, await hub.open("pc:/dev/mem") as memory:
        bases = [0xD0000000, *APART[:6], 0xD0100000]
        await memory.call_kernel("set", entries=[[it, MIB, 1, 4, 0] for it in bases])
        with pytest.raises(DeviceError, match="EBUSY") as caught:
            await memory.call_kernel("set", entries=[[0xE0000000, MIB, 1, 4, 0]])

        words = "can be one, 0xd0000000/0x200000 (WC): frees one"
        assert "all 8 ranges that can lie anywhere are in use; registers " in caught.value.reason
        assert caught.value.reason.endswith(words)
        with pytest.raises(DeviceError) as caught:  # a range in the way is no want of one
            await memory.call_kernel("set", entries=[[0xD0000000, MIB << 1, 1, 4, 0]])

        assert "can be one" not in caught.value.reason
