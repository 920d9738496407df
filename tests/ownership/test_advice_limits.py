"""Advice in tables that are long, and beside masks with holes, whose types nobody can list."""

from __future__ import annotations

import pytest

from memhub import Cpu, Hub, MachineSpec
from mtrrcases import GIB, UC, WB, WC, firmware, pair
from ownership.test_advice import BLOCK, START, follow, refusal, types_of


async def test_a_long_table_is_searched_too() -> None:
    spec = MachineSpec(name="pc", arch="amd64", cpu=Cpu(phys_bits=36), options={"slots": 200})
    async with Hub([spec]) as hub:
        handle = await hub.open("/dev/mem")
        for place in (*range(0, 396, 2), 396, 397):
            await handle.set_range(START + place * 4096, 4096, WC)

        reason = await refusal(handle, 0, BLOCK, WB)
        assert reason.endswith(
            "; slots 198 and 199 can be one, 0xc018c000/0x2000 (write-combine): frees one"
        )
        assert await follow(handle, reason)
        await handle.set_range(0, BLOCK, WB)


@pytest.mark.parametrize(
    ("ranges", "told"),
    [
        (((START, BLOCK), (START + BLOCK, BLOCK)), "; slots 1 and 2 can be one, 0xc0000000/0x2"),
        (((START, GIB // 2), (START + BLOCK, BLOCK)), "; slot 2 decides no address's type"),
        (((START, BLOCK), (START + 2 * BLOCK, BLOCK)), "; no way to save one was found"),
    ],
)
async def test_beside_a_mask_with_many_holes_some_is_advised(
    ranges: tuple[tuple[int, int], ...], told: str
) -> None:
    """The first register matches every other page below 64 GiB, which nobody can list."""
    pairs = [(0x6, 0x55555800), *(pair(base, length, 0) for base, length in ranges)]
    spec = MachineSpec(
        name="pc", arch="i386", cpu=Cpu(phys_bits=36), msrs=firmware(*pairs, count=3)
    )
    async with Hub([spec]) as hub:
        handle = await hub.open("/dev/mem")
        before = await types_of(handle)
        reason = await refusal(handle, 0x10000000, BLOCK, UC)
        assert told in reason
        if await follow(handle, reason):
            assert await types_of(handle) == before
            await handle.set_range(0x10000000, BLOCK, UC)
