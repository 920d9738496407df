"""What Linux saves as a machine falls asleep, and stores again as it wakes up."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kernels.linux_kit import LINUX, text_of
from kernels.test_linux_hardware import sick, write
from kernels.test_linux_log import ARCHES, check_rebuilt
from memhub import AuditLog, Hub, MachineSpec
from memhub.audit import read_records
from memhub.plugin import Cpu
from memhub.rig.log_replay import replay_log

if TYPE_CHECKING:
    from pathlib import Path

K6 = MachineSpec(
    name="pc",
    arch="k6",
    kernel="linux-6.18",
    cpu=Cpu(vendor="AMD", signature=0x588, phys_bits=32, mtrr=False),
)


@pytest.mark.parametrize("release", ["linux-6.18", "linux-2.6.32"])
async def test_a_k6_stores_again_what_it_had_as_it_fell_asleep(release: str) -> None:
    first, second = (f"base=0x{it}00000 size=0x100000 type=write-combining\n" for it in (2, 4))
    async with Hub([replace(K6, kernel=release)]) as hub:
        await write(hub, first.encode())
        await write(hub, second.encode())
        await write(hub, b"disable=1\n")
        text = await text_of(hub)
        await hub.suspend()
        hub.hardware.add(sick("firmware_rewrite", registers={0xC0000085: 0}))
        await hub.resume()
        assert await text_of(hub) == text

        await hub.suspend()
        left = sick("firmware_rewrite", registers={0xC0000085: 0x401FF82 << 32}, moment="resume")
        hub.hardware.add(left)
        await hub.resume()  # the kernel had nothing in this half, and so leaves firmware's
        assert await text_of(hub) == text + (
            "reg01: base=0x004000000 (   64MB), size=    4MB, count=0: write-combining\n"
        )


@pytest.mark.parametrize("release", ["linux-6.18", "linux-2.6.32"])
@pytest.mark.parametrize("arch", ["amd64", "i386"])
async def test_linux_saves_the_fixed_ranges_that_firmware_left_as_it_falls_asleep(
    arch: str, release: str
) -> None:
    async with Hub([replace(LINUX, arch=arch, kernel=release)]) as hub:
        hub.hardware.add(sick("firmware_rewrite", registers={0x259: 0x0101010101010101}))
        await hub.suspend()
        await hub.resume()
        async with await hub.open("pc:/dev/mem") as file:
            assert (await file.explain(0xA0000)).type == "WC"


def test_a_sleep_in_the_log_leads_to_the_same_kernel_and_answers(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        hub = Hub([K6], log=log)
        hub.begin()
        hub.kernels.call("add", base=1 << 21, size=1 << 20, type=1)
        for act in (hub.hardware.suspend, hub.hardware.resume):
            act()
            check_rebuilt(path, hub.machines["pc"])

        hub.kernels.call("del", base=1 << 21, size=1 << 20, reg=-1)

    calls = [it["op"] for it in read_records(path) if it["event"] == "kernel.call"]
    assert calls == ["boot", "add", "suspend", "resume", "del"]
    assert [*replay_log(path, arches=ARCHES).differences] == []
