"""An UPDATE that leaves its slot free claims nothing."""

from __future__ import annotations

from memhub import Hub, MachineSpec
from memhub.abi import MDF_UNCACHEABLE


async def test_a_powerpc_range_of_length_0_keeps_nobody_from_its_slot() -> None:
    """The kernel's driver takes it and leaves the slot free, so the next range goes there."""
    async with Hub([MachineSpec(name="mac", arch="powerpc")]) as hub:
        one, other = await hub.open("/dev/mem"), await hub.open("/dev/mem")

        assert (await one.set_range(0x1000, 0, MDF_UNCACHEABLE)).claimed == ()
        taken = await other.set_range(0x2000, 0x1000, MDF_UNCACHEABLE)

        assert taken.claimed == (0,)
        one.close()
        other.close()
