"""Sick hardware under OpenBSD and DragonFly, whose drivers keep ranges in MTRRs too."""

from __future__ import annotations

import pytest

from memhub import Hub, MachineSpec, Sickness
from memhub.abi import MDF_WRITECOMBINE

SCREEN, MIB = 0xD0000000, 1 << 20
every_driver = pytest.mark.parametrize("arch", ["openbsd-amd64", "openbsd-i386", "dragonfly"])


@every_driver
async def test_a_store_that_is_lost_is_found_and_stored_again(arch: str) -> None:
    async with Hub([MachineSpec(name="pc", arch=arch)]) as hub:
        lost = [hub.hardware.add(Sickness(action="lost_store", slot=it)) for it in range(88, 96)]
        async with await hub.open("/dev/mem", "r+") as memory:
            await memory.set_range(SCREEN, 16 * MIB, MDF_WRITECOMBINE)
            assert (await memory.explain(SCREEN)).type == "UC"
            for it in lost:
                it.remove()

            # DragonFly has read its registers back, and knows of no range now
            kept = [it.mr_base for it in await memory.ranges() if it.mr_base == SCREEN]
            assert bool(kept) is (arch != "dragonfly")
            (found,) = hub.hardware.check_cpus() if kept else (None,)
            assert found is None or found.kinds == ("variable MTRR",)
            hub.hardware.reinit()
            assert (await memory.explain(SCREEN)).type == ("WC" if kept else "UC")
            assert hub.hardware.check_cpus() == ()


@every_driver
async def test_a_resume_that_forgets_finds_the_registers_of_power_on(arch: str) -> None:
    async with Hub([MachineSpec(name="pc", arch=arch)]) as hub:
        hub.hardware.add(Sickness(action="forgetful_resume", cpu=2))
        hub.hardware.suspend()
        hub.hardware.resume()
        (found,) = hub.hardware.check_cpus()
        assert found.cpu == 2
        assert set(found.kinds) == {"variable MTRR", "fixed MTRR", "MTRRdefType"}
        assert 0xFE not in found.registers  # MTRRcap is what it is
